// Entry for libFuzzer and for the mutation driver: whatever the text, reading a recipe of ours ends in a recipe that says
// the same after a way through its message, or in a message that begins with the file's name; and what mergekit's form can
// say of it is written, or refused with a reason.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/codec/recipe_codec.h"
#include "common/config/yaml_message.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "worker/merge/mergekit_yaml.h"

using namespace merganser;

namespace {

std::string Bytes(const v1::Recipe& recipe) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);  // maps in order
  recipe.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  v1::Recipe proto;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<SourceMap> source = ReadYaml(text, "fuzz.yaml", &proto);
  if (!source.ok()) {
    if (!absl::StartsWith(source.status().message(), "fuzz.yaml:")) std::abort();
    return 0;
  }
  const absl::StatusOr<Recipe> recipe = FromProto(proto);
  if (!recipe.ok()) {
    if (!absl::StartsWith(source->Locate(recipe.status()).message(), "fuzz.yaml:")) std::abort();
    return 0;
  }
  const absl::StatusOr<Recipe> again = FromProto(ToProto(*recipe));
  if (!again.ok()) std::abort();
  // By their bytes: what is no number is not equal to itself.
  if (Bytes(ToProto(*again)) != Bytes(ToProto(*recipe))) std::abort();
  std::vector<std::string> names = {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"};
  for (const char* layer : {"model.layers.0.", "model.layers.1.", "model.layers.2."}) {
    for (const char* name : {"mlp.down_proj.weight", "mlp.up_proj.weight", "self_attn.q_proj.weight"})
      names.push_back(std::string(layer) + name);
  }
  const absl::StatusOr<MergekitYaml> mergekit = WriteMergekitYaml(*recipe, names, {{"mlp.down_proj.weight"}, false, false});
  if (mergekit.ok() ? mergekit->yaml.has_value() != mergekit->reason.empty() : mergekit.status().message().empty())
    std::abort();
  return 0;
}
