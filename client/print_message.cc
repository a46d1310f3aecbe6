#include "client/print_message.h"

#include <cerrno>
#include <cstdio>

#include "client/message_json.h"
#include "common/config/yaml_message.h"

namespace merganser {

namespace {
int first_error = 0;
}  // namespace

void Print(absl::string_view text) {
  errno = 0;
  // What does not fit the buffer is written at once, and the flush no longer knows why that failed.
  const bool failed = std::fwrite(text.data(), 1, text.size(), stdout) != text.size();
  if (failed && first_error == 0) first_error = errno;
  FlushStdout();
}

int FlushStdout() {
  errno = 0;
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (failed && first_error == 0) first_error = errno != 0 ? errno : EIO;
  return first_error;
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
