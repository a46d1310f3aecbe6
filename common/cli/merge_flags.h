// Flags that say where and when candidates are merged: of the worker and of the verbs that merge in memory.
#ifndef MERGANSER_COMMON_CLI_MERGE_FLAGS_H_
#define MERGANSER_COMMON_CLI_MERGE_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"

namespace merganser {

inline constexpr int64_t kMergeResidentMibMax = int64_t{1} << 30;

// --merge and --merge-resident-mib, into `place` and `resident_mib`. Other values are refused when they are parsed.
inline void AddMergeFlags(CLI::App* app, std::string* place, std::optional<int64_t>* resident_mib) {
  app->add_option(
         "--merge", *place,
         "Where candidates are merged: host (by the CPU), device (in its memory), or auto: the device if it is a GPU")
      ->check(CLI::IsMember({"auto", "host", "device"}))
      ->capture_default_str();
  app->add_option("--merge-resident-mib", *resident_mib,
                  "Most MiB of sources that stay in the device's memory, where it merges; the others stream; default: what "
                  "is free")
      ->type_name("MIB")
      ->check(CLI::Range(int64_t{0}, kMergeResidentMibMax));
}

// --merge-ahead, of what evaluates one candidate after another, into `choice`. Other values are refused when they are
// parsed.
inline void AddMergeAheadFlag(CLI::App* app, std::string* choice) {
  app->add_option(
         "--merge-ahead", *choice,
         "Merge the next candidate while one is evaluated: on (takes the memory of a second copy of the merged "
         "weights, where the merge is, and is left while that is not free), off, or auto: on if the device is a GPU")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_MERGE_FLAGS_H_
