#include "common/cli/usage_error.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/closest_name.h"

namespace merganser {
namespace {

std::vector<std::string> VerbsOf(const CLI::App& app) {
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) verbs.push_back(verb->get_name());
  return verbs;
}

// How far the verbs on a line can be followed.
struct Typed {
  const CLI::App* verb;     // the deepest that is known
  std::string command;      // as it is typed: "merganser store"
  std::string unknown;      // the word where a verb of it should be; "": none
  bool lacks_verb = false;  // it has verbs, and the line ends before one
};

Typed Follow(const CLI::App& app, int argc, const char* const* argv) {
  Typed typed{&app, app.get_name(), "", false};
  std::vector<std::string> verbs = VerbsOf(app);
  for (int i = 1; i < argc && !verbs.empty(); ++i) {
    const std::string word = argv[i];
    if (word.empty() || word[0] == '-') continue;
    if (std::find(verbs.begin(), verbs.end(), word) == verbs.end()) {
      typed.unknown = word;
      return typed;
    }
    typed.verb = typed.verb->get_subcommand(word);
    absl::StrAppend(&typed.command, " ", word);
    verbs = VerbsOf(*typed.verb);
  }
  typed.lacks_verb = !verbs.empty();
  return typed;
}

// The names of `app` and of the programs and verbs that it belongs to: a flag may stand behind the verb.
std::vector<std::string> FlagsOf(const CLI::App* app) {
  std::vector<std::string> flags;
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back(absl::StrCat("--", name));
    }
  }
  return flags;
}

// The first flag on the line that the verb does not know; "": none.
std::string UnknownFlag(const Typed& typed, int argc, const char* const* argv) {
  const std::vector<std::string> known = FlagsOf(typed.verb);
  for (int i = 1; i < argc && std::string(argv[i]) != "--"; ++i) {
    const std::string word = argv[i], flag = word.substr(0, word.find('='));
    if (flag.rfind("--", 0) == 0 && std::find(known.begin(), known.end(), flag) == known.end()) return flag;
  }
  return "";
}

// What CLI11 says, in our words where it speaks of counts or only lists the choices.
std::string Worded(const std::string& said) {
  static const std::string kOften = ": At Most 1 required but received ", kChoices = " not in {";
  if (const size_t at = said.find(kOften); at != std::string::npos) {
    return absl::StrCat(said.substr(0, at), " is given ", said.substr(at + kOften.size()), " times; it takes one value");
  }
  const size_t at = said.find(kChoices);
  if (at == std::string::npos || !absl::EndsWith(said, "}")) return said;
  const std::string value = said.substr(said.rfind(": ", at) + 2, at - said.rfind(": ", at) - 2);
  const std::string list = said.substr(at + kChoices.size(), said.size() - at - kChoices.size() - 1);
  const std::vector<std::string> choices = absl::StrSplit(list, ',');
  return ClosestName(value, choices).empty() ? said : absl::StrCat(said, DidYouMean(value, choices));
}

}  // namespace

std::string UsageError(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv,
                       const ForeignVerbs& foreign) {
  const Typed typed = Follow(app, argc, argv);
  const std::string list = absl::StrCat(" (`", typed.command, " --help` lists them)");
  if (!typed.unknown.empty()) {
    const auto own = foreign.find(typed.unknown);
    return absl::StrCat("'", typed.unknown, "' is no verb",
                        typed.verb == &app ? "" : absl::StrCat(" of `", typed.command, "`"),
                        typed.verb == &app && own != foreign.end() ? absl::StrCat("; did you mean '", own->second, "'?")
                                                                   : DidYouMean(typed.unknown, VerbsOf(*typed.verb)),
                        list);
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr || typed.lacks_verb) {
    if (const std::string flag = UnknownFlag(typed, argc, argv); !flag.empty()) {
      return absl::StrCat("'", flag, "' is no flag of `", typed.command, "`", DidYouMean(flag, FlagsOf(typed.verb)), list);
    }
  }
  return absl::StrCat(Worded(error.what()), " (see `", typed.command, " --help`)");
}

bool ExplainParseError(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv,
                       const ForeignVerbs& foreign) {
  if (error.get_exit_code() == 0) return app.exit(error) == 0;
  const Typed typed = Follow(app, argc, argv);
  if (typed.lacks_verb && typed.unknown.empty() && UnknownFlag(typed, argc, argv).empty() &&
      dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) {
    const size_t last = typed.command.rfind(' ');
    std::fputs(typed.verb->help(last == std::string::npos ? "" : typed.command.substr(0, last)).c_str(), stderr);
  } else {
    std::fprintf(stderr, "error: %s\n", UsageError(app, error, argc, argv, foreign).c_str());
  }
  return false;
}

}  // namespace merganser
