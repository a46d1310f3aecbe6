#include "common/cli/man_page.h"

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/version.h"

namespace merganser {
namespace {

// Text for roff: hyphens stay hyphens, and no line is taken for a request.
std::string Roff(absl::string_view text) {
  std::string out;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!out.empty()) out += '\n';
    if (!line.empty() && (line[0] == '.' || line[0] == '\'')) out += "\\&";
    absl::StrAppend(&out, absl::StrReplaceAll(line, {{"\\", "\\e"}, {"-", "\\-"}}));
  }
  return out;
}

// A blank line is a request for space in some macro packages.
std::string Paragraphs(absl::string_view text) {
  std::string out;
  for (const absl::string_view line : absl::StrSplit(absl::StripAsciiWhitespace(text), '\n')) {
    absl::StrAppend(&out, absl::StripAsciiWhitespace(line).empty() ? ".PP" : Roff(line), "\n");
  }
  return out;
}

std::string Verbatim(absl::string_view text) {
  return absl::StrCat(".PP\n.nf\n", Roff(absl::StripTrailingAsciiWhitespace(text)), "\n.fi\n");
}

std::string Flags(const CommandLine& command) {
  std::string out;
  for (const CommandLineArgument& argument : command.arguments) {
    absl::StrAppend(&out, ".TP\n\\fI", Roff(argument.name), "\\fR\n", Paragraphs(argument.help));
  }
  for (const CommandLineFlag& flag : command.flags) {
    std::string head;
    for (const std::string& name : flag.names) absl::StrAppend(&head, head.empty() ? "" : ", ", "\\fB", Roff(name), "\\fR");
    if (!flag.value.empty()) absl::StrAppend(&head, " \\fI", Roff(flag.value), "\\fR");
    std::string help = flag.help;
    const bool more = !flag.choices.empty() || !flag.default_value.empty();
    if (more && !help.empty() && !absl::EndsWith(help, ".")) help += '.';
    if (!flag.choices.empty()) absl::StrAppend(&help, "\nOne of: ", absl::StrJoin(flag.choices, ", "), ".");
    if (!flag.default_value.empty()) absl::StrAppend(&help, "\nDefault: ", flag.default_value, ".");
    absl::StrAppend(&out, ".TP\n", head, "\n", Paragraphs(help.empty() ? " " : help));
  }
  return out;
}

std::string Usage(absl::string_view program, const CommandLine& command) {
  std::string out = absl::StrCat("\\fB", Roff(program), "\\fR");
  if (!command.flags.empty()) absl::StrAppend(&out, " [\\fIoptions\\fR]");
  if (!command.verbs.empty()) absl::StrAppend(&out, " \\fIVERB\\fR ...");
  for (const CommandLineArgument& argument : command.arguments) {
    absl::StrAppend(&out, argument.required ? " \\fI" : " [\\fI", Roff(argument.name), argument.required ? "\\fR" : "\\fR]");
  }
  return out;
}

// A subsection per verb of `command`, and of the verbs below it; `name` is how `command` is typed.
std::string Verbs(const std::string& name, const std::string& above, const CommandLine& command) {
  std::string out;
  for (const CommandLine& verb : command.verbs) {
    const std::string title = absl::StrCat(above, verb.name), typed = absl::StrCat(name, " ", verb.name);
    absl::StrAppend(&out, ".SS ", Roff(title), "\n", Usage(typed, verb), "\n.PP\n",
                    Paragraphs(absl::StrCat(verb.purpose, ".")), Flags(verb));
    if (!verb.footer.empty()) absl::StrAppend(&out, Verbatim(verb.footer));
    absl::StrAppend(&out, Verbs(typed, absl::StrCat(title, " "), verb));
  }
  return out;
}

}  // namespace

std::string ManPage(const CommandLine& program) {
  // The first sentence is the line that whatis(1) shows.
  std::string purpose = program.purpose;
  if (absl::StartsWith(purpose, absl::StrCat(program.name, ": "))) purpose = purpose.substr(program.name.size() + 2);
  const std::string first = purpose.substr(0, purpose.find_first_of(":.\n"));
  std::string out = absl::StrCat(".TH ", absl::AsciiStrToUpper(Roff(program.name)), " 1 \"\" \"Merganser ", kVersion,
                                 "\" \"User Commands\"\n.SH NAME\n", Roff(program.name), " \\- ", Roff(first),
                                 "\n.SH SYNOPSIS\n", Usage(program.name, program), "\n.SH DESCRIPTION\n", Verbatim(purpose));
  absl::StrAppend(&out, ".SH OPTIONS\n", Flags(program));
  if (!program.verbs.empty()) absl::StrAppend(&out, ".SH VERBS\n");
  absl::StrAppend(&out, Verbs(program.name, "", program));
  if (!program.footer.empty()) absl::StrAppend(&out, ".SH NOTES\n", Verbatim(program.footer));
  return out;
}

bool PrintedManPage(const CLI::App& app, int argc, const char* const* argv) {
  if (argc != 2 || absl::string_view(argv[1]) != "--man-page") return false;
  const std::string page = ManPage(DescribeCommandLine(app));
  std::fwrite(page.data(), 1, page.size(), stdout);
  return true;
}

}  // namespace merganser
