// The chat templates that mergekit's YAML may name instead of giving their text.
#ifndef MERGANSER_WORKER_MERGE_NAMED_CHAT_TEMPLATES_H_
#define MERGANSER_WORKER_MERGE_NAMED_CHAT_TEMPLATES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// "alpaca", "chatml", "exaone", "llama3", "mistral".
std::vector<std::string> ChatTemplateNames();

// Its Jinja text: the prompts of the format's makers. "" for other names.
std::string NamedChatTemplate(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_NAMED_CHAT_TEMPLATES_H_
