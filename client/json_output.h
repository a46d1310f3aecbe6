// What a verb tells programs, on stdout: JSON, or the same as YAML.
#ifndef MERGANSER_CLIENT_JSON_OUTPUT_H_
#define MERGANSER_CLIENT_JSON_OUTPUT_H_

#include <string>

#include "client/message_json.h"

namespace merganser {

// The value as block YAML with its keys in order, ending in '\n'; lists of plain values stand on one line. Texts that a
// reader could take for something else, or that have more than letters, digits and ._/-@+ in them, are quoted.
std::string DumpYaml(const Json& json);

// True if `format` is "json" or "yaml", and `json` has been printed so; false for "table": the caller prints for people.
bool PrintJson(const std::string& format, const Json& json);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_JSON_OUTPUT_H_
