// Flags of the verbs that run models on this machine.
#ifndef MERGANSER_CLIENT_LOCAL_OPTIONS_H_
#define MERGANSER_CLIENT_LOCAL_OPTIONS_H_

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_replace.h"
#include "common/cli/merge_flags.h"
#include "common/cli/number_checks.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// --allow-commands, of the verbs that run a job's benchmarks.
inline void AddCommandOption(CLI::App* verb, LocalOptions* options) {
  verb->add_flag("--allow-commands", options->allow_commands,
                 "Benchmarks may run programs: the file's own (use: command), as you; what models write (humaneval, mbpp, "
                 "code), in a sandbox");
}

// --merge and --merge-resident-mib, of the verbs that merge candidates in memory.
inline void AddMergeOptions(CLI::App* verb, LocalOptions* options) {
  AddMergeFlags(verb, &options->merge, &options->merge_resident_mib);
}

// --threads, and with `with_device` --device, --compute and --cuda-graphs, into `options`.
inline void AddLocalOptions(CLI::App* verb, LocalOptions* options, bool with_device = true) {
  if (with_device) verb->add_option("--device", options->device, "auto, cpu or cuda:N")->capture_default_str();
  if (with_device) {
    verb->add_option("--compute", options->compute, "auto, fp32, bf16 (on the CPU: bf16 products, fp32 sums) or fp16 (GPU)")
        ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}))
        ->capture_default_str();
    verb->add_flag("--cuda-graphs", options->cuda_graphs, kCudaGraphsHelp);
  }
  verb->add_option("--threads", options->threads, "CPU threads; 0: all")->check(NonNegativeNumber())->capture_default_str();
}

// An error of LocalLibrary about the model of a verb that takes it as its argument MODEL: the library names a job's field.
inline absl::Status AtModelArgument(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrReplaceAll(status.message(), {{"models.model.path: ", "MODEL: "}}));
}

}  // namespace merganser

#endif  // MERGANSER_CLIENT_LOCAL_OPTIONS_H_
