#include "common/cli/address_check.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

TEST(AddressCheckTest, TakesHostAndPort) {
  for (const char* address : {"127.0.0.1:50051", "localhost:0", "coordinator-0.fleet:65535", "[::1]:9090", ":9090",
                              "unix:/run/mg", "dns:///fleet:50051"}) {
    EXPECT_EQ(AddressError(address), "") << address;
  }
}

TEST(AddressCheckTest, RefusesAnAddressWithoutAPort) {
  EXPECT_EQ(AddressError("127.0.0.1"), "'127.0.0.1' is not HOST:PORT: the port is missing");
  EXPECT_EQ(AddressError(""), "'' is not HOST:PORT: the port is missing");
  EXPECT_EQ(AddressError("host:"), "'host:': '' is not a port (0 to 65535)");
}

TEST(AddressCheckTest, RefusesWhatIsNoPort) {
  EXPECT_EQ(AddressError("127.0.0.1:65536"), "'127.0.0.1:65536': '65536' is not a port (0 to 65535)");
  EXPECT_EQ(AddressError("host:http"), "'host:http': 'http' is not a port (0 to 65535)");
  EXPECT_EQ(AddressError("host:-1"), "'host:-1': '-1' is not a port (0 to 65535)");
  EXPECT_EQ(AddressError("host:99999999999"), "'host:99999999999': '99999999999' is not a port (0 to 65535)");
}

TEST(AddressCheckTest, AnIpV6AddressStandsInBrackets) { EXPECT_THAT(AddressError("::1:9090"), HasSubstr("in brackets")); }

TEST(AddressCheckTest, AnEmptyOneIsTakenOnlyWhereItMeansNone) {
  const auto error = [](bool may_be_empty) {
    CLI::App app;
    std::string http = "127.0.0.1:9090";
    app.add_option("--http", http)->check(HostPort(may_be_empty));
    const char* const words[] = {"duck", "--http", ""};
    try {
      app.parse(3, words);
    } catch (const CLI::ParseError& e) {
      return std::string(e.what());
    }
    return http;
  };
  EXPECT_EQ(error(true), "");
  EXPECT_THAT(error(false), HasSubstr("is not HOST:PORT"));
}

}  // namespace
}  // namespace merganser
