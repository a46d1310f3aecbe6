#include "common/cli/merge_flags.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Parsed {
  std::string place = "auto";
  std::optional<int64_t> resident_mib;
  std::string ahead = "auto";
  std::string error;  // "" if the command line is accepted
};

// As a command line is given, last argument first.
Parsed Parse(std::vector<std::string> reversed) {
  Parsed parsed;
  CLI::App app;
  AddMergeFlags(&app, &parsed.place, &parsed.resident_mib);
  AddMergeAheadFlag(&app, &parsed.ahead);
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& e) {
    parsed.error = e.what();
  }
  return parsed;
}

TEST(MergeFlagsTest, DeviceMergesIfItIsAGpuAndKeepsWhatFitsUnlessTold) {
  const Parsed parsed = Parse({});
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.place, "auto");
  EXPECT_EQ(parsed.resident_mib, std::nullopt);
}

TEST(MergeFlagsTest, PlaceAndBoundAreTaken) {
  const Parsed parsed = Parse({"0", "--merge-resident-mib", "device", "--merge"});
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.place, "device");
  EXPECT_EQ(parsed.resident_mib, 0);
  EXPECT_EQ(Parse({"1073741824", "--merge-resident-mib"}).resident_mib, kMergeResidentMibMax);
}

TEST(MergeFlagsTest, OtherPlacesAreRefusedByName) {
  EXPECT_THAT(Parse({"devise", "--merge"}).error, AllOf(HasSubstr("--merge"), HasSubstr("devise"), HasSubstr("device")));
}

TEST(MergeFlagsTest, MergingAheadIsAutoOnOrOff) {
  EXPECT_EQ(Parse({}).ahead, "auto");
  EXPECT_EQ(Parse({"on", "--merge-ahead"}).ahead, "on");
  EXPECT_THAT(Parse({"yes", "--merge-ahead"}).error, AllOf(HasSubstr("--merge-ahead"), HasSubstr("yes"), HasSubstr("off")));
}

TEST(MergeFlagsTest, BoundsThatAreNoneAreRefusedByName) {
  for (const char* value : {"-1", "1073741825", "much"})
    EXPECT_THAT(Parse({value, "--merge-resident-mib"}).error, HasSubstr("--merge-resident-mib")) << value;
}

}  // namespace
}  // namespace merganser
