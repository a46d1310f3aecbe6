#include "client/write_checkpoint.h"

#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/byte_progress.h"
#include "client/exit_code.h"
#include "client/interrupt.h"
#include "client/output.h"
#include "client/print_message.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/evaluate/export.h"

namespace merganser {

absl::StatusOr<int> WriteCheckpoint(ExportRequest request, const LocalOptions& options) {
  Interrupt interrupt("stopping; nothing is left behind");
  const std::filesystem::path parent = std::filesystem::path(request.out_dir).parent_path();
  std::error_code error;
  if (!parent.empty() && !std::filesystem::create_directories(parent, error) && error) {
    return ErrnoStatus(error.value(), "cannot make", parent.string());
  }
  ByteProgress progress(std::cerr, DescribeTerminal(STDERR_FILENO));
  const absl::Duration start = Clock::Real().Monotonic();
  request.progress = [&](int64_t done, int64_t total) { progress.Update(done, total, Clock::Real().Monotonic() - start); };
  const absl::StatusOr<ExportFacts> facts = ExportRecipe(request, options, interrupt.token());
  progress.Clear();
  if (interrupt.signal() != 0 && !facts.ok()) return exit_code::FromSignal(interrupt.signal());
  MG_RETURN_IF_ERROR(facts.status());
  std::cerr << FormatCount(facts->parameters) << " parameters, " << FormatBytes(facts->bytes) << " in "
            << DurationText(absl::Seconds(facts->seconds)) << std::endl;
  if (!facts->no_mergekit_yaml.empty()) std::cerr << "no mergekit.yaml: " << facts->no_mergekit_yaml << std::endl;
  Print(absl::StrCat(facts->out_dir, "\n"));
  return exit_code::kOk;
}

}  // namespace merganser
