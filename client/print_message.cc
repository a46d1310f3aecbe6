#include "client/print_message.h"

#include <cstdio>

#include "client/message_json.h"
#include "common/config/yaml_message.h"

namespace merganser {

void Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

bool PrintMessage(const std::string& format, const google::protobuf::Message& message) {
  if (format == "json") {
    Print(DumpJson(MessageJson(message)));
  } else if (format == "yaml") {
    Print(WriteYaml(message));
  } else {
    return false;
  }
  return true;
}

}  // namespace merganser
