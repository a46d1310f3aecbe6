#include "common/cli/completion.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace merganser {
namespace {

// The verb whose table lists the possible values of an argument; empty: files.
std::string Lister(const CommandLineArgument& argument) {
  if (argument.name.rfind("JOB", 0) == 0 && argument.name.find('.') == std::string::npos)
    return "jobs";  // also JOB/CANDIDATE
  if (argument.name == "WORKER") return "workers";
  return "";
}

// The table's first column, without its header.
std::string ListCommand(const CommandLine& program, absl::string_view verb) {
  return absl::StrCat("timeout 2 ", program.name, " ", verb, " 2>/dev/null | awk 'NR > 1 {print $1}'");
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

std::vector<std::string> VerbNames(const CommandLine& program) {
  std::vector<std::string> names;
  for (const CommandLine& verb : program.verbs) names.push_back(verb.name);
  return names;
}

std::string FlagWords(const CommandLine& command) {
  std::vector<std::string> words;
  for (const CommandLineFlag& flag : command.flags) words.insert(words.end(), flag.names.begin(), flag.names.end());
  return absl::StrJoin(words, " ");
}

// `verb` as it is typed ("store verify" below the pattern "verify" of "store"), each line begun by `indent`.
std::string BashVerb(const CommandLine& program, const CommandLine& verb, const std::string& indent) {
  if (!verb.verbs.empty()) {
    std::string out =
        absl::StrCat(indent, verb.name, ")\n", indent, "  flags='", FlagWords(verb), "'\n", indent, "  case $below in\n",
                     indent, "    \"\") values='", absl::StrJoin(VerbNames(verb), " "), "' ;;\n");
    for (const CommandLine& below : verb.verbs) absl::StrAppend(&out, BashVerb(program, below, indent + "    "));
    return absl::StrCat(out, indent, "  esac\n", indent, "  ;;\n");
  }
  std::string out =
      absl::StrCat(indent, verb.name, ")\n", indent, "  flags='", FlagWords(verb), "'\n", indent, "  case $prev in\n");
  for (const CommandLineFlag& flag : verb.flags) {
    if (flag.value.empty()) continue;
    const std::string names = absl::StrJoin(flag.names, "|");
    if (flag.choices.empty()) {
      absl::StrAppend(&out, indent, "    ", names, ") return ;;\n");
    } else {
      absl::StrAppend(&out, indent, "    ", names, ") COMPREPLY=($(compgen -W '", absl::StrJoin(flag.choices, " "),
                      "' -- \"$cur\")); return ;;\n");
    }
  }
  absl::StrAppend(&out, indent, "  esac\n");
  if (!verb.arguments.empty() && !Lister(verb.arguments[0]).empty()) {
    absl::StrAppend(&out, indent, "  [[ $cur != -* ]] && values=$(", ListCommand(program, Lister(verb.arguments[0])), ")\n");
  } else if (!verb.arguments.empty() && verb.arguments[0].name == "SHELL") {
    absl::StrAppend(&out, indent, "  values='bash zsh fish'\n");
  }
  return absl::StrCat(out, indent, "  ;;\n");
}

std::string Bash(const CommandLine& program) {
  std::string out = absl::StrCat("# bash completion of ", program.name, R"(: source it, or install it under completions/
_)",
                                 program.name, R"(() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= below= flags= values= i
  # bash makes words of their own of the = in --flag=value.
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] && continue
    if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else below=${COMP_WORDS[i]}; break; fi
  done
  COMPREPLY=()
  case $verb in
    "")
      flags=')",
                                 FlagWords(program), R"('
      values=')",
                                 absl::StrJoin(VerbNames(program), " "), R"('
      ;;
)");
  for (const CommandLine& verb : program.verbs) absl::StrAppend(&out, BashVerb(program, verb, "    "));
  return absl::StrCat(out, R"(  esac
  if [[ $cur == -* ]]; then values=$flags; fi
  COMPREPLY=($(compgen -W "$values" -- "$cur"))
}
complete -o bashdefault -o default -F _)",
                      program.name, " ", program.name, "\n");
}

// Inside '...' of zsh and fish, and for zsh inside the [] and between the colons of an _arguments specification.
std::string Quoted(const std::string& text) { return absl::StrReplaceAll(FirstLine(text), {{"'", "'\\''"}}); }
std::string FishQuoted(const std::string& text) {
  return absl::StrReplaceAll(FirstLine(text), {{"\\", "\\\\"}, {"'", "\\'"}});
}
std::string ZshQuoted(const std::string& text) {
  return absl::StrReplaceAll(Quoted(text), {{"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

std::string ZshVerb(const CommandLine& verb) {
  if (!verb.verbs.empty()) {
    std::string out = absl::StrCat("        ", verb.name, ") _arguments -C '1:verb:(", absl::StrJoin(VerbNames(verb), " "),
                                   ")' '*::argument:->below'\n          [[ $state == below ]] && case $words[1] in\n");
    for (const CommandLine& below : verb.verbs) absl::StrAppend(&out, ZshVerb(below));
    return absl::StrCat(out, "          esac ;;\n");
  }
  std::vector<std::string> lines;
  for (const CommandLineFlag& flag : verb.flags) {
    for (const std::string& name : flag.names) {
      std::string value;
      if (!flag.value.empty()) {
        value = absl::StrCat(":", flag.value, ":",
                             flag.choices.empty() ? "_files" : absl::StrCat("(", absl::StrJoin(flag.choices, " "), ")"));
      }
      // A long flag's value may also follow a "=".
      const bool joined = !flag.value.empty() && name.size() > 2;
      lines.push_back(absl::StrCat("'*", name, joined ? "=" : "", "[", ZshQuoted(flag.help), "]", value, "'"));
    }
  }
  for (const CommandLineArgument& argument : verb.arguments) {
    const std::string lister = Lister(argument);
    std::string action = "_files";
    if (!lister.empty()) action = absl::StrCat("->", lister);
    if (argument.name == "SHELL") action = "(bash zsh fish)";
    lines.push_back(absl::StrCat("'*:", ZshQuoted(argument.name), ":", action, "'"));
  }
  return absl::StrCat("        ", verb.name, ") _arguments \\\n          ", absl::StrJoin(lines, " \\\n          "),
                      " ;;\n");
}

std::string Zsh(const CommandLine& program) {
  std::string out = absl::StrCat("#compdef ", program.name, "\n_", program.name,
                                 "() {\n  local state line\n  local -a verbs values\n  verbs=(\n");
  for (const CommandLine& verb : program.verbs) {
    absl::StrAppend(&out, "    '", verb.name, ":", Quoted(verb.purpose), "'\n");
  }
  absl::StrAppend(&out, R"(  )
  _arguments -C '1:verb:->verb' '*::argument:->argument'
  case $state in
    verb) _describe verb verbs ;;
    argument)
      case $words[1] in
)");
  for (const CommandLine& verb : program.verbs) absl::StrAppend(&out, ZshVerb(verb));
  absl::StrAppend(&out, "      esac\n      case $state in\n");
  for (const char* lister : {"jobs", "workers"}) {
    absl::StrAppend(&out, "        ", lister, ") values=(${(f)\"$(", ListCommand(program, lister),
                    ")\"}); compadd -a values ;;\n");
  }
  return absl::StrCat(out, R"(      esac ;;
  esac
}
if [[ $funcstack[1] == _)",
                      program.name, " ]]; then _", program.name, " \"$@\"; else compdef _", program.name, " ", program.name,
                      "; fi\n");
}

// The verbs of `command`, which are offered where `none` holds (none is typed yet), then what belongs to each of them, where
// `typed` and its name hold.
std::string FishVerbs(const CommandLine& program, const CommandLine& command, const std::string& none,
                      const std::string& typed) {
  std::string out;
  for (const CommandLine& verb : command.verbs) {
    absl::StrAppend(&out, "complete -c ", program.name, " -n '", none, "' -f -a ", verb.name, " -d '",
                    FishQuoted(verb.purpose), "'\n");
  }
  for (const CommandLine& verb : command.verbs) {
    const std::string seen = absl::StrCat(typed, "__fish_seen_subcommand_from ", verb.name);
    if (!verb.verbs.empty()) {
      const std::string below = absl::StrJoin(VerbNames(verb), " ");
      absl::StrAppend(&out, FishVerbs(program, verb, absl::StrCat(seen, "; and not __fish_seen_subcommand_from ", below),
                                      absl::StrCat(seen, "; and ")));
    }
    const std::string head = absl::StrCat("complete -c ", program.name, " -n '", seen, "'");
    for (const CommandLineFlag& flag : verb.flags) {
      absl::StrAppend(&out, head);
      for (const std::string& name : flag.names) {
        absl::StrAppend(&out, name.size() == 2 ? " -s " : " -l ", name.substr(name.size() == 2 ? 1 : 2));
      }
      if (!flag.choices.empty()) {
        absl::StrAppend(&out, " -x -a '", absl::StrJoin(flag.choices, " "), "'");
      } else if (!flag.value.empty()) {
        absl::StrAppend(&out, " -r");
      }
      absl::StrAppend(&out, " -d '", FishQuoted(flag.help), "'\n");
    }
    for (const CommandLineArgument& argument : verb.arguments) {
      const std::string lister = Lister(argument);
      if (!lister.empty()) {
        absl::StrAppend(&out, head, " -f -a \"(", absl::StrReplaceAll(ListCommand(program, lister), {{"$", "\\$"}}),
                        ")\"\n");
      } else if (argument.name == "SHELL") {
        absl::StrAppend(&out, head, " -f -a 'bash zsh fish'\n");
      }
    }
  }
  return out;
}

std::string Fish(const CommandLine& program) {
  return absl::StrCat("# fish completion of ", program.name, "\n", FishVerbs(program, program, "__fish_use_subcommand", ""));
}

}  // namespace

std::string CompletionScript(const CommandLine& program, Shell shell) {
  switch (shell) {
    case Shell::kBash:
      return Bash(program);
    case Shell::kZsh:
      return Zsh(program);
    case Shell::kFish:
      return Fish(program);
  }
  return "";
}

}  // namespace merganser
