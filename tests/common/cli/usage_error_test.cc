#include "common/cli/usage_error.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

// What is said of `words` behind the program's name; "" if the parser takes them.
std::string Said(const std::vector<const char*>& words) {
  CLI::App app("Swims.", "duck");
  app.require_subcommand(1);
  app.fallthrough();
  bool loud = false;
  app.add_flag("--loud", loud, "Quacks");
  std::string job;
  CLI::App* const list = app.add_subcommand("list", "Lists");
  list->add_option("JOB", job, "Id")->required();
  list->add_option("--format", job, "How")->check(CLI::IsMember({"table", "json"}));
  CLI::App* const nest = app.add_subcommand("nest", "Nests");
  nest->require_subcommand(1);
  nest->add_subcommand("build", "Builds one")->add_option("--of", job, "Of what");
  std::vector<const char*> argv = {"duck"};
  argv.insert(argv.end(), words.begin(), words.end());
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error, static_cast<int>(argv.size()), argv.data(), {{"ls", "list"}});
  }
  return "";
}

TEST(UsageErrorTest, NamesTheNearestVerb) {
  EXPECT_EQ(Said({"lits", "job"}), "'lits' is no verb; did you mean 'list'? (`duck --help` lists them)");
}

TEST(UsageErrorTest, NamesTheNearestVerbOfAVerb) {
  EXPECT_EQ(Said({"nest", "biuld"}),
            "'biuld' is no verb of `duck nest`; did you mean 'build'? (`duck nest --help` lists them)");
}

TEST(UsageErrorTest, NamesTheNearestFlagOfTheVerbThatWasTyped) {
  EXPECT_EQ(Said({"list", "--fromat", "json"}),
            "'--fromat' is no flag of `duck list`; did you mean '--format'? (`duck list --help` lists them)");
  EXPECT_THAT(Said({"nest", "build", "--off=reed"}),
              HasSubstr("'--off' is no flag of `duck nest build`; did you mean '--of'?"));
}

TEST(UsageErrorTest, NamesTheOwnVerbForWhatOtherProgramsCallIt) {
  EXPECT_EQ(Said({"ls"}), "'ls' is no verb; did you mean 'list'? (`duck --help` lists them)");
  EXPECT_THAT(Said({"nest", "ls"}), HasSubstr("'ls' is no verb of `duck nest`; known: build"));
}

TEST(UsageErrorTest, NamesAFlagOfTheProgramThatIsMisspeltWhereNoVerbFollows) {
  EXPECT_EQ(Said({"--loudd"}), "'--loudd' is no flag of `duck`; did you mean '--loud'? (`duck --help` lists them)");
}

TEST(UsageErrorTest, NamesTheNearestChoice) {
  EXPECT_EQ(Said({"list", "job", "--format", "jsno"}),
            "--format: jsno not in {table,json}; did you mean 'json'? (see `duck list --help`)");
  EXPECT_EQ(Said({"list", "job", "--format", "wide"}), "--format: wide not in {table,json} (see `duck list --help`)");
}

TEST(UsageErrorTest, SaysThatAFlagIsGivenTwice) {
  EXPECT_EQ(Said({"list", "job", "--format", "json", "--format", "json"}),
            "--format is given 2 times; it takes one value (see `duck list --help`)");
}

TEST(UsageErrorTest, SaysWhatIsMissingAndWhereToRead) {
  EXPECT_EQ(Said({"list"}), "JOB is required (see `duck list --help`)");
}

TEST(UsageErrorTest, TakesFlagsOfTheProgramBehindItsVerb) { EXPECT_EQ(Said({"list", "job", "--loud"}), ""); }

}  // namespace
}  // namespace merganser
