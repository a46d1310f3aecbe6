#include "worker/command/command_file.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kFileBytesMax = 1 << 20;
constexpr double kTimeoutMax = 30 * 24 * 3600.0;
constexpr int64_t kOutputMax = int64_t{1} << 28;

// One field at a time; the first error stays. yaml-cpp throws: nothing gets out of here.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  absl::StatusOr<CommandFile> Read(absl::string_view text) {
    YAML::Node root;
    try {
      root = YAML::Load(std::string(text));
    } catch (const YAML::Exception& e) {
      return absl::InvalidArgumentError(absl::StrCat(file_, ":", e.mark.line + 1, ": ", e.msg));
    }
    if (!root.IsMap()) return absl::InvalidArgumentError(absl::StrCat(file_, ": no map with 'run'"));
    const std::vector<std::pair<std::string, std::function<void(const YAML::Node&)>>> fields = {
        {"run", [&](const YAML::Node& n) { Run(n); }},
        {"model", [&](const YAML::Node& n) { Model(n); }},
        {"timeout",
         [&](const YAML::Node& n) { command_.program.timeout = absl::Seconds(Number(n, "timeout", 0.001, kTimeoutMax)); }},
        {"env", [&](const YAML::Node& n) { Env(n); }},
        {"output_bytes",
         [&](const YAML::Node& n) {
           command_.program.output_bytes_max = static_cast<int64_t>(Number(n, "output_bytes", 1, kOutputMax));
         }},
        {"max_length",
         [&](const YAML::Node& n) { command_.max_length = static_cast<int64_t>(Number(n, "max_length", 2, 1 << 24)); }},
        {"metrics", [&](const YAML::Node& n) { command_.metrics = Texts(n, "metrics"); }},
    };
    std::vector<std::string> names;
    for (const auto& [name, read] : fields) names.push_back(name);
    for (const auto& entry : root) {
      const std::string key = entry.first.Scalar();
      bool known = false;
      for (const auto& [name, read] : fields) {
        if (name != key) continue;
        known = true;
        read(entry.second);
      }
      if (!known) Fail(entry.first, key, absl::StrCat("no such field", DidYouMean(key, names)));
    }
    if (command_.program.argv.empty()) Fail(root, "run", "missing: the program and its arguments");
    if (!status_.ok()) return status_;
    std::error_code error;
    command_.program.directory = std::filesystem::absolute(file_, error).parent_path().string();
    return command_;
  }

 private:
  void Fail(const YAML::Node& node, const std::string& field, absl::string_view what) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat(file_, ":", node.Mark().line + 1, ": ", field, ": ", what));
    }
  }

  std::vector<std::string> Texts(const YAML::Node& node, const std::string& field) {
    std::vector<std::string> texts;
    bool right = node.IsSequence() && node.size() > 0;
    for (size_t i = 0; right && i < node.size(); ++i) {
      right = node[i].IsScalar() && !node[i].Scalar().empty();
      if (right) texts.push_back(node[i].Scalar());
    }
    if (!right) Fail(node, field, "must be a list of texts");
    return texts;
  }

  double Number(const YAML::Node& node, const std::string& field, double low, double high) {
    double value = 0;
    if (!node.IsScalar() || !YAML::convert<double>::decode(node, value) || !std::isfinite(value)) {
      Fail(node, field, "must be a number");
    } else if (value < low || value > high) {
      Fail(node, field, absl::StrCat(value, " is not in [", low, ", ", high, "]"));
    }
    return value;
  }

  void Run(const YAML::Node& node) {
    if (node.IsScalar() && !node.Scalar().empty()) {
      command_.program.argv = {"/bin/sh", "-c", node.Scalar()};
    } else {
      command_.program.argv = Texts(node, "run");
    }
  }

  void Model(const YAML::Node& node) {
    const std::string model = node.IsScalar() ? node.Scalar() : "";
    if (model == "endpoint" || model == "checkpoint") {
      command_.model = model == "endpoint" ? CommandModel::kEndpoint : CommandModel::kCheckpoint;
    } else {
      Fail(node, "model", absl::StrCat("'", model, "' is neither endpoint nor checkpoint"));
    }
  }

  void Env(const YAML::Node& node) {
    if (!node.IsMap()) return Fail(node, "env", "must be a map of names and texts");
    for (const auto& entry : node) {
      const std::string name = entry.first.Scalar();
      if (!entry.second.IsScalar() || name.empty() || name.find('=') != std::string::npos) {
        return Fail(entry.first, absl::StrCat("env.", name), "must be a name and a text");
      }
      command_.program.env[name] = entry.second.Scalar();
    }
  }

  const std::string file_;
  CommandFile command_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<CommandFile> ParseCommandFile(absl::string_view text, const std::string& file) {
  try {
    return Reader(file).Read(text);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", e.what()));
  }
}

absl::StatusOr<CommandFile> ReadCommandFile(const std::string& path) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  return ParseCommandFile(text, path);
}

}  // namespace merganser
