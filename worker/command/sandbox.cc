#include "worker/command/sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/command/program.h"
#include "worker/command/sandbox_runner.h"

namespace merganser {
namespace {

// A folder that goes with the object.
class ProgramFolder {
 public:
  ProgramFolder() {
    std::error_code error;
    std::filesystem::path base = std::filesystem::temp_directory_path(error);
    std::string name = ((error ? std::filesystem::path("/tmp") : base) / "merganser-program-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ProgramFolder(const ProgramFolder&) = delete;
  ProgramFolder& operator=(const ProgramFolder&) = delete;
  ~ProgramFolder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }  // "": it could not be made

 private:
  std::string path_;
};

Program Runner(const std::string& python, const std::string& folder, const SandboxLimits& limits, const std::string& token) {
  const nlohmann::json asked = {{"cpu", static_cast<int64_t>(std::ceil(absl::ToDoubleSeconds(limits.timeout)))},
                                {"memory", limits.memory_bytes},
                                {"file", limits.file_bytes},
                                {"token", token}};
  Program program;
  program.argv = {python, "-I", "-c", kSandboxRunner, asked.dump()};
  program.directory = folder;
  program.inherit_env = false;
  program.env = {{"HOME", folder}, {"LANG", "C.UTF-8"}, {"PATH", "/usr/bin:/bin"}, {"TMPDIR", folder}};
  program.timeout = limits.timeout;
  return program;
}

// The last line of a traceback, or of whatever else the error ends with.
std::string LastLine(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  constexpr size_t kShown = 200;
  return std::string(text.substr(text.find_last_of('\n') + 1).substr(0, kShown));
}

// What `name` cannot give up; `python` is set to the interpreter itself, for `name` may be a script that looks for one.
absl::StatusOr<std::vector<std::string>> Probe(const std::string& name, std::string* python) {
  const ProgramFolder folder;
  if (folder.path().empty()) return absl::ResourceExhaustedError(absl::StrCat("no temporary folder: ", strerror(errno)));
  Program which;
  which.argv = {name, "-c", "import sys; print(sys.executable)"};
  which.timeout = absl::Minutes(1);
  const absl::StatusOr<ProgramOutcome> found = RunProgram(which, {});
  if (!found.ok()) return absl::FailedPreconditionError(found.status().message());
  *python = std::string(absl::StripAsciiWhitespace(found->output));
  SandboxLimits limits;
  limits.timeout = absl::Minutes(1);
  const absl::StatusOr<ProgramOutcome> probe = RunProgram(Runner(*python, folder.path(), limits, ""), {});
  if (!probe.ok()) return absl::FailedPreconditionError(LastLine(probe.status().message()));
  const nlohmann::json json = nlohmann::json::parse(probe->output, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return absl::FailedPreconditionError(absl::StrCat("it wrote '", LastLine(probe->output), "'"));
  std::vector<std::string> gaps;
  for (const auto& gap : json) gaps.push_back(gap.get<std::string>());
  return gaps;
}

}  // namespace

absl::StatusOr<Sandbox> Sandbox::Create() {
  MG_ASSIGN_OR_RETURN(const std::string first, FindProgram("python3", ""));
  absl::Status status;
  // A Python in root's home is no use to `nobody`; the system's is.
  for (const std::string& name : {first, std::string("/usr/bin/python3")}) {
    Sandbox sandbox;
    const absl::StatusOr<std::vector<std::string>> gaps = Probe(name, &sandbox.python_);
    if (gaps.ok()) {
      sandbox.gaps_ = *gaps;
      return sandbox;
    }
    status.Update(
        absl::Status(gaps.status().code(), absl::StrCat(name, " cannot run programs apart: ", gaps.status().message())));
  }
  return status;
}

absl::StatusOr<SandboxOutcome> Sandbox::Run(const std::string& program, const SandboxLimits& limits,
                                            std::stop_token stop) const {
  const ProgramFolder folder;
  if (folder.path().empty()) return absl::ResourceExhaustedError(absl::StrCat("no temporary folder: ", strerror(errno)));
  MG_RETURN_IF_ERROR(WriteFileAtomically(folder.path() + "/program.py", program));
  const std::string token = RandomToken();
  const absl::StatusOr<ProgramOutcome> ran = RunProgram(Runner(python_, folder.path(), limits, token), stop);
  if (ran.ok()) {
    if (ran->output == token) return SandboxOutcome{true, ""};
    return SandboxOutcome{false, "it left before its end"};
  }
  switch (ran.status().code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnavailable:
      return SandboxOutcome{false, LastLine(ran.status().message())};
    case absl::StatusCode::kDeadlineExceeded:
      return SandboxOutcome{false, absl::StrCat("took longer than ", absl::FormatDuration(limits.timeout))};
    default:
      return ran.status();
  }
}

}  // namespace merganser
