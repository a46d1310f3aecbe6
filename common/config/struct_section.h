// A map that was read as google.protobuf.Struct (ReadYaml of a google.protobuf.Value), looked at key by key.
#ifndef MERGANSER_COMMON_CONFIG_STRUCT_SECTION_H_
#define MERGANSER_COMMON_CONFIG_STRUCT_SECTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"

namespace merganser {

// A key that is null counts as one that is not there. Getters return InvalidArgument "PATH.KEY: what" for a value of another
// type. The map must outlive the section.
class StructSection {
 public:
  // `path`: of the map in its file, "" for the whole. InvalidArgument for a key that is none of `known`, with the nearest.
  static absl::StatusOr<StructSection> Of(const google::protobuf::Struct& fields, std::string path,
                                          const std::vector<std::string>& known);

  std::string PathOf(absl::string_view key) const;
  // nullptr if it is not there.
  const google::protobuf::Value* Find(const std::string& key) const;

  absl::StatusOr<std::string> Text(const std::string& key, const std::string& otherwise = "") const;
  absl::StatusOr<std::vector<std::string>> Texts(const std::string& key) const;  // empty if it is not there
  absl::StatusOr<std::optional<bool>> Bool(const std::string& key) const;
  absl::StatusOr<double> Number(const std::string& key, double otherwise) const;
  // In [low, 2^31 - 1].
  absl::StatusOr<std::optional<int64_t>> Whole(const std::string& key, int64_t low) const;

 private:
  StructSection(const google::protobuf::Struct* fields, std::string path) : fields_(fields), path_(std::move(path)) {}

  const google::protobuf::Struct* fields_;
  std::string path_;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_CONFIG_STRUCT_SECTION_H_
