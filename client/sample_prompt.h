// A prompt to try a merge with.
#ifndef MERGANSER_CLIENT_SAMPLE_PROMPT_H_
#define MERGANSER_CLIENT_SAMPLE_PROMPT_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/run_files.h"

namespace merganser {

// `text` as one word of bash, zsh and ksh: 'text', or $'...' where it has quotes, backslashes or control characters.
std::string ShellWord(const std::string& text);

// The first prompt that the winner answered rightly in its held-out record (the best candidate's where nothing is held
// out), as the benchmark's template has it, as a shell word; "..." where there is none of at most 400 bytes, where the job
// file does not say the template, or where the models see. `record` reads a record by its key.
std::string SamplePrompt(const JobSummary& job, const std::vector<Candidate>& candidates,
                         const std::function<absl::StatusOr<std::string>(const std::string& key)>& record);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_SAMPLE_PROMPT_H_
