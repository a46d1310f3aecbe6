#include "worker/engine/torch_status.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <exception>
#include <new>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace merganser {
namespace {

std::string Text(absl::string_view what, const c10::Error& error) {
  return absl::StrCat(what, ": ", error.what_without_backtrace());
}

// CUDA's own allocations (pinned memory, graphs, kernels that are loaded late, libraries) fail with errors of a general
// kind, after which the device works as before.
bool TellsOfMemory(const c10::Error& error) {
  const absl::string_view text = error.msg();
  return absl::StrContains(text, "CUDA error: out of memory") || absl::StrContains(text, "_STATUS_ALLOC_FAILED");
}

}  // namespace

absl::Status CatchTorchStatus(absl::string_view what, absl::FunctionRef<absl::Status()> body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(Text(what, error));
  } catch (const c10::NotImplementedError& error) {
    return absl::UnimplementedError(Text(what, error));
  } catch (const c10::IndexError& error) {
    return absl::InvalidArgumentError(Text(what, error));
  } catch (const c10::ValueError& error) {
    return absl::InvalidArgumentError(Text(what, error));
  } catch (const c10::TypeError& error) {
    return absl::InvalidArgumentError(Text(what, error));
  } catch (const c10::Error& error) {
    if (TellsOfMemory(error)) return absl::ResourceExhaustedError(Text(what, error));
    MG_LOG(ERROR) << "torch error what=\"" << what << "\" text=\"" << error.what() << "\"";
    return absl::InternalError(Text(what, error));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const std::exception& error) {
    MG_LOG(ERROR) << "exception what=\"" << what << "\" text=\"" << error.what() << "\"";
    return absl::InternalError(absl::StrCat(what, ": ", error.what()));
  }
}

absl::Status CatchTorch(absl::string_view what, absl::FunctionRef<void()> body) {
  return CatchTorchStatus(what, [&] {
    body();
    return absl::OkStatus();
  });
}

}  // namespace merganser
