#include "common/cli/command_line.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace merganser {
namespace {

// CLI11 says "TEXT:{table,json}" for a text that is one of a set, and "TEXT:FILE" for one that a validator knows more about.
void ReadType(const std::string& type, CommandLineFlag* flag) {
  const size_t open = type.find('{'), close = type.rfind('}');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    flag->choices = absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
  }
  flag->value = type.substr(0, type.find(':'));
}

CommandLineFlag Flag(const CLI::Option& option) {
  CommandLineFlag flag;
  for (const std::string& name : option.get_snames()) flag.names.push_back(absl::StrCat("-", name));
  for (const std::string& name : option.get_lnames()) flag.names.push_back(absl::StrCat("--", name));
  if (option.get_items_expected_max() > 0) {
    ReadType(option.get_type_name(), &flag);
    flag.default_value = option.get_default_str();
  }
  flag.help = option.get_description();
  return flag;
}

}  // namespace

CommandLine DescribeCommandLine(const CLI::App& app) {
  CommandLine line;
  line.name = app.get_name();
  line.purpose = app.get_description();
  line.footer = std::string(absl::StripPrefix(app.get_footer(), "\n"));
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->get_positional()) {
      line.arguments.push_back({option->get_name(/*positional=*/true), option->get_required(), option->get_description()});
    } else {
      line.flags.push_back(Flag(*option));
    }
  }
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    line.verbs.push_back(DescribeCommandLine(*verb));
  }
  return line;
}

}  // namespace merganser
