// One message, or a list of them, on stdout in the format that the user asked for.
#ifndef MERGANSER_CLIENT_PRINT_MESSAGE_H_
#define MERGANSER_CLIENT_PRINT_MESSAGE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace merganser {

// To stdout, at once. A write that fails is told of at the end, by FlushStdout.
void Print(absl::string_view text);

// The errno of the first write to stdout that failed; 0: all that was printed has been written.
int FlushStdout();

// True if `format` is "json" or "yaml", and `message` has been printed so; false for "table": the
// caller prints for people.
bool PrintMessage(const std::string& format, const google::protobuf::Message& message);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_PRINT_MESSAGE_H_
