// A checkpoint's chat template: messages to the one string that the model was tuned on.
//
// Threading: immutable after Load; Render may run on any number of threads at once.
#ifndef MERGANSER_WORKER_TEXT_CHAT_TEMPLATE_H_
#define MERGANSER_WORKER_TEXT_CHAT_TEMPLATE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "worker/text/template.h"

namespace merganser {

class ChatTemplate {
 public:
  // The template of `checkpoint_dir`: chat_template.jinja, else chat_template.json, else
  // tokenizer_config.json (of a list of named ones, "default").
  //   NotFound         the checkpoint has none (the message names the places)
  //   InvalidArgument  a broken file or template, or a list without "default" (the message has the names
  //                    there are)
  static absl::StatusOr<ChatTemplate> Load(const std::string& checkpoint_dir);

  // The prompt for `messages_json`, a JSON array of {"role", "content", …}; members that are null
  // are dropped. With `add_generation_prompt` it ends where the assistant's answer begins. The
  // members of `extra_json`, a JSON object, are further variables (tools, enable_thinking, …).
  // `now` as in Template::Render. The result spells its own BOS: encode it with add_special_tokens
  // = false. InvalidArgument: not a list of objects, or the template refused them (its own message
  // is kept).
  absl::StatusOr<std::string> Render(absl::string_view messages_json, bool add_generation_prompt,
                                     absl::string_view extra_json = "{}", absl::Time now = absl::Now()) const;

  // As the checkpoint has it, Jinja.
  const std::string& source() const { return source_; }

 private:
  ChatTemplate(std::string source, Template compiled, std::map<std::string, std::string> special_tokens);

  std::string source_;
  Template template_;
  std::map<std::string, std::string> special_tokens_;  // "bos_token" -> "<s>"
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_CHAT_TEMPLATE_H_
