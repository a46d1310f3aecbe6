#include "common/cli/command_line.h"

#include <string>

#include "common/cli/completion.h"
#include "common/cli/man_page.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A program with what completions care about.
class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() : app_("Swims: and dives.\nIt does not fly.", "duck") {
    CLI::App* const list = app_.add_subcommand("list", "Lists what's there");
    list->add_option("JOB", job_, "Id or name")->required();
    list->add_option("-o,--format", format_, "How")->check(CLI::IsMember({"table", "json"}))->capture_default_str();
    list->add_flag("--all", all_, "Also [those] that: ended");
    list->add_option("--secret", secret_, "Not for people")->group("");
    list->footer("\nExamples:\n  duck list job-1\n");
    app_.add_subcommand("dive", "Dives");
    CLI::App* const nest = app_.add_subcommand("nest", "Nests");
    nest->add_subcommand("build", "Builds one")
        ->add_option("--of", format_, "Of what")
        ->check(CLI::IsMember({"reed", "moss"}));
  }
  CommandLine Described() const { return DescribeCommandLine(app_); }

  CLI::App app_;
  std::string job_, format_ = "table", secret_;
  bool all_ = false;
};

TEST_F(CommandLineTest, SaysWhatTheParserKnows) {
  const CommandLine program = Described();
  EXPECT_EQ(program.name, "duck");
  ASSERT_EQ(program.verbs.size(), 3u);
  EXPECT_EQ(program.verbs[2].verbs[0].name, "build");
  const CommandLine& list = program.verbs[0];
  EXPECT_EQ(list.footer, "Examples:\n  duck list job-1\n");
  ASSERT_EQ(list.arguments.size(), 1u);
  EXPECT_EQ(list.arguments[0].name, "JOB");
  EXPECT_TRUE(list.arguments[0].required);
  ASSERT_EQ(list.flags.size(), 3u) << "help, format, all; --secret is hidden";
  EXPECT_THAT(list.flags[1].names, ElementsAre("-o", "--format"));
  EXPECT_EQ(list.flags[1].value, "TEXT");
  EXPECT_THAT(list.flags[1].choices, ElementsAre("table", "json"));
  EXPECT_EQ(list.flags[1].default_value, "table");
  EXPECT_EQ(list.flags[2].value, "") << "a flag takes no value";
}

TEST_F(CommandLineTest, ManPageHoldsEveryVerbAndFlag) {
  const std::string page = ManPage(Described());
  EXPECT_THAT(page, HasSubstr(".TH DUCK 1"));
  EXPECT_THAT(page, HasSubstr("duck \\- Swims\n"));
  EXPECT_THAT(page, HasSubstr(".SS list\n\\fBduck list\\fR [\\fIoptions\\fR] \\fIJOB\\fR\n"));
  EXPECT_THAT(
      page,
      HasSubstr(".TP\n\\fB\\-o\\fR, \\fB\\-\\-format\\fR \\fITEXT\\fR\nHow.\nOne of: table, json.\nDefault: table.\n"));
  EXPECT_THAT(page, HasSubstr(".SS nest build\n\\fBduck nest build\\fR [\\fIoptions\\fR]\n"));
  EXPECT_THAT(page, HasSubstr("\\fB\\-\\-of\\fR"));
  EXPECT_THAT(page, Not(HasSubstr("secret")));
}

TEST(ManPageTest, NoLineOfTextIsTakenForARequest) {
  CommandLine program;
  program.name = "duck";
  program.purpose = "Swims\n.so far\n'tis all \\ it does";
  EXPECT_THAT(ManPage(program), HasSubstr("\\&.so far\n\\&'tis all \\e it does"));
}

TEST_F(CommandLineTest, ScriptsKnowVerbsChoicesAndWhereJobsAreListed) {
  for (const Shell shell : {Shell::kBash, Shell::kZsh, Shell::kFish}) {
    const std::string script = CompletionScript(Described(), shell);
    EXPECT_THAT(script, HasSubstr("list"));
    EXPECT_THAT(script, HasSubstr("dive"));
    EXPECT_THAT(script, HasSubstr("table json"));
    EXPECT_THAT(script, HasSubstr("build"));
    EXPECT_THAT(script, HasSubstr("reed moss"));
    EXPECT_THAT(script, HasSubstr("timeout 2 duck jobs 2>/dev/null"));
    EXPECT_THAT(script, Not(HasSubstr("secret")));
  }
}

TEST_F(CommandLineTest, HelpIsQuotedForEachShell) {
  EXPECT_THAT(CompletionScript(Described(), Shell::kZsh), HasSubstr("'*--all[Also \\[those\\] that\\: ended]'"));
  EXPECT_THAT(CompletionScript(Described(), Shell::kZsh), HasSubstr("'list:Lists what'\\''s there'"));
  EXPECT_THAT(CompletionScript(Described(), Shell::kFish), HasSubstr("-d 'Lists what\\'s there'"));
}

}  // namespace
}  // namespace merganser
