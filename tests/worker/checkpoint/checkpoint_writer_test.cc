#include "worker/checkpoint/checkpoint_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/worker/checkpoint/test_files.h"
#include "worker/checkpoint/checkpoint.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kDonor[] = MG_SOURCE_DIR "/examples/ja-math/base";

// Exports of the example's base model into parent_/out.
class CheckpointWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    donor_ = *Checkpoint::Open(kDonor);
    for (const TensorView& tensor : donor_->tensors()) tensors_.push_back({tensor.name, tensor.dtype, tensor.shape});
    options_.donor_dir = kDonor;
    options_.out_dir = parent_ + "/out";
  }

  CheckpointWriter::TensorSource Donor() const {
    return [this](const TensorHeader& tensor, const CheckpointWriter::Append& append) -> absl::Status {
      const auto data = donor_->Find(tensor.name)->data;
      const absl::Status first = append(data.first(data.size() / 2));
      return first.ok() ? append(data.subspan(data.size() / 2)) : first;
    };
  }
  absl::Status Write() const { return CheckpointWriter(options_).Write(tensors_, Donor()); }

  const std::string parent_ = NewFolder();
  std::shared_ptr<const Checkpoint> donor_;
  std::vector<TensorHeader> tensors_;
  CheckpointWriterOptions options_;
};

void ExpectSameTensors(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_TRUE(CheckHomologous(a, b).ok());
  for (size_t i = 0; i < a.tensors().size(); ++i) EXPECT_EQ(a.tensors()[i].data, b.tensors()[i].data);
}

TEST_F(CheckpointWriterTest, WritesADirectoryThatOpensWithTheSameBytes) {
  options_.text_files = {{"recipe.yaml", "models: []\n"}};
  ASSERT_TRUE(Write().ok()) << Write();
  const auto written = Checkpoint::Open(options_.out_dir);
  ASSERT_TRUE(written.ok()) << written.status();
  ExpectSameTensors(*donor_, **written);
  EXPECT_THAT(Names(options_.out_dir),
              ElementsAre("config.json", "generation_config.json", "model.safetensors", "recipe.yaml",
                          "special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"));
  EXPECT_EQ(ReadText(options_.out_dir + "/tokenizer.json"), ReadText(std::string(kDonor) + "/tokenizer.json"));
  EXPECT_EQ(ReadText(options_.out_dir + "/recipe.yaml"), "models: []\n");
  EXPECT_THAT(Names(parent_), ElementsAre("out"));
}

TEST_F(CheckpointWriterTest, ShardsAreListedInAnIndex) {
  options_.max_shard_bytes = 600'000;
  ASSERT_TRUE(Write().ok());
  const auto written = Checkpoint::Open(options_.out_dir);
  ASSERT_TRUE(written.ok()) << written.status();
  ExpectSameTensors(*donor_, **written);
  EXPECT_THAT(Names(options_.out_dir), Contains("model-00001-of-00004.safetensors"));
  EXPECT_THAT(Names(options_.out_dir), testing::Not(Contains("model.safetensors")));
  const auto index = nlohmann::json::parse(ReadText(options_.out_dir + "/model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], donor_->TotalBytes());
  EXPECT_EQ(index["weight_map"].size(), tensors_.size());
  EXPECT_LE(fs::file_size(options_.out_dir + "/model-00001-of-00004.safetensors"), 610'000u);
}

TEST_F(CheckpointWriterTest, TensorLargerThanAShardGetsItsOwn) {
  options_.max_shard_bytes = 1;
  ASSERT_TRUE(Write().ok());
  EXPECT_THAT(Names(options_.out_dir),
              Contains(absl::StrCat("model-000", tensors_.size(), "-of-000", tensors_.size(), ".safetensors")));
}

TEST_F(CheckpointWriterTest, ConfigTellsTheNewDtypeUnderTheDonorsKey) {
  options_.dtype = DType::kF32;
  options_.config_patch = R"({"use_cache": null, "tie_word_embeddings": true})";
  ASSERT_TRUE(Write().ok());
  const auto config = nlohmann::json::parse(ReadText(options_.out_dir + "/config.json"));
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_FALSE(config.contains("dtype"));
  EXPECT_FALSE(config.contains("use_cache"));
  EXPECT_EQ(config["tie_word_embeddings"], true);
}

TEST_F(CheckpointWriterTest, NonEmptyDirectoryIsKept) {
  fs::create_directories(options_.out_dir);
  WriteText(options_.out_dir + "/config.json", "mine");
  EXPECT_TRUE(absl::IsAlreadyExists(Write())) << Write();
  EXPECT_EQ(ReadText(options_.out_dir + "/config.json"), "mine");
  EXPECT_THAT(Names(parent_), ElementsAre("out"));
}

TEST_F(CheckpointWriterTest, EmptyDirectoryIsFilled) {
  fs::create_directories(options_.out_dir);
  EXPECT_TRUE(Write().ok());
}

TEST_F(CheckpointWriterTest, OverwriteReplacesTheWholeCheckpoint) {
  ASSERT_TRUE(Write().ok());
  WriteText(options_.out_dir + "/stale.txt", "old");
  options_.overwrite = true;
  const absl::Status status = Write();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_FALSE(fs::exists(options_.out_dir + "/stale.txt"));
  EXPECT_TRUE(Checkpoint::Open(options_.out_dir).ok());
  EXPECT_THAT(Names(parent_), ElementsAre("out"));
}

TEST_F(CheckpointWriterTest, OverwriteRefusesWhatIsNoCheckpoint) {
  fs::create_directories(options_.out_dir);
  WriteText(options_.out_dir + "/thesis.tex", "years of work");
  options_.overwrite = true;
  const absl::Status status = Write();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("it holds no config.json, so it is not a checkpoint"));
  EXPECT_THAT(Names(options_.out_dir), ElementsAre("thesis.tex"));
}

TEST_F(CheckpointWriterTest, FileInTheWayIsKept) {
  WriteText(options_.out_dir, "x");
  options_.overwrite = true;
  EXPECT_THAT(std::string(Write().message()), HasSubstr("exists and is not a directory"));
}

TEST_F(CheckpointWriterTest, ALinkToADirectoryIsFollowedAndStays) {
  const std::string disk = parent_ + "/disk";
  fs::create_directories(disk);
  fs::create_directory_symlink(disk, options_.out_dir);
  for (const bool overwrite : {false, true}) {
    options_.overwrite = overwrite;
    const absl::Status status = Write();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(fs::is_symlink(options_.out_dir));
    EXPECT_TRUE(Checkpoint::Open(disk).ok());
    EXPECT_THAT(Names(parent_), ElementsAre("disk", "out"));
  }
  options_.overwrite = false;
  EXPECT_THAT(std::string(Write().message()), HasSubstr("exists and is not empty"));
}

TEST_F(CheckpointWriterTest, ALinkToNothingIsKept) {
  fs::create_directory_symlink(parent_ + "/unmounted", options_.out_dir);
  EXPECT_THAT(std::string(Write().message()), HasSubstr("is a symbolic link, but not to a directory"));
  EXPECT_TRUE(fs::is_symlink(options_.out_dir));
}

TEST_F(CheckpointWriterTest, MissingParentIsNotFound) {
  options_.out_dir = parent_ + "/no/out";
  EXPECT_TRUE(absl::IsNotFound(Write()));
}

TEST_F(CheckpointWriterTest, FailingSourceLeavesNothing) {
  int calls = 0;
  const absl::Status status =
      CheckpointWriter(options_).Write(tensors_, [&](const TensorHeader& tensor, const CheckpointWriter::Append& append) {
        return ++calls == 3 ? absl::AbortedError("cancelled") : Donor()(tensor, append);
      });
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(status.message(), absl::StrCat("tensor '", tensors_[2].name, "': cancelled"));
  EXPECT_THAT(Names(parent_), ElementsAre());
}

TEST_F(CheckpointWriterTest, SourceThatGivesTooLittleOrTooMuchIsNamed) {
  const auto give = [&](size_t bytes) {
    return CheckpointWriter(options_).Write(tensors_, [&](const TensorHeader&, const CheckpointWriter::Append& append) {
      return append(std::vector<std::byte>(bytes));
    });
  };
  EXPECT_THAT(std::string(give(3).message()), HasSubstr("tensor 'lm_head.weight': 3 bytes given, 262144 expected"));
  EXPECT_THAT(std::string(give(262145).message()), HasSubstr("tensor 'lm_head.weight': more bytes than the 262144"));
  EXPECT_THAT(Names(parent_), ElementsAre());
}

TEST_F(CheckpointWriterTest, ExportThatWouldNotLoadIsNotPublished) {
  tensors_.pop_back();
  const absl::Status status = Write();
  EXPECT_THAT(std::string(status.message()), HasSubstr("the export would not load: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("'model.norm.weight' is missing"));
  EXPECT_THAT(Names(parent_), ElementsAre());
}

TEST_F(CheckpointWriterTest, BadOptionsAreNamed) {
  const auto message = [&] {
    EXPECT_FALSE(Write().ok());
    return std::string(Write().message());
  };
  options_.max_shard_bytes = 0;
  EXPECT_THAT(message(), HasSubstr("max_shard_bytes 0 is not positive"));
  options_.max_shard_bytes = 1 << 30;
  for (const char* name : {"../x", "config.json", "model-00001-of-00001.safetensors", ".hidden", ""}) {
    options_.text_files = {{name, "x"}};
    EXPECT_THAT(message(), HasSubstr(absl::StrCat("text file '", name, "'")));
  }
  options_.text_files.clear();
  options_.config_patch = "{";
  EXPECT_THAT(message(), HasSubstr("'config_patch': not valid JSON"));
  options_.config_patch = "";
  tensors_.push_back(tensors_[0]);
  EXPECT_THAT(message(), HasSubstr("tensor 'lm_head.weight' appears twice"));
  tensors_.clear();
  EXPECT_THAT(message(), HasSubstr("no tensors"));
  EXPECT_THAT(Names(parent_), ElementsAre());
}

TEST_F(CheckpointWriterTest, ExportThatCannotFitIsRefusedBeforeTheSourceIsAsked) {
  tensors_[0].shape = {int64_t{1} << 58};
  bool asked = false;
  const absl::Status status = CheckpointWriter(options_).Write(
      tensors_, [&](const TensorHeader&, const CheckpointWriter::Append&) { return asked = true, absl::OkStatus(); });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::ContainsRegex("[0-9]+ bytes wanted, [0-9]+ free"));
  EXPECT_FALSE(asked);
  EXPECT_THAT(Names(parent_), ElementsAre());
}

// The process's file size limit stands in for the disk: write() fails in the middle of the weights
// just as with ENOSPC.
TEST_F(CheckpointWriterTest, DiskThatFillsUpLeavesNothing) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1'000'000, 1'000'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status status = Write();
    const bool named = status.message().find("model.safetensors") != absl::string_view::npos &&
                       status.message().find("bytes wanted") != absl::string_view::npos;
    _exit(absl::IsResourceExhausted(status) && named ? 0 : 1);
  }
  int result = 0;
  waitpid(child, &result, 0);
  EXPECT_TRUE(WIFEXITED(result) && WEXITSTATUS(result) == 0);
  EXPECT_THAT(Names(parent_), ElementsAre());
}

TEST_F(CheckpointWriterTest, LeftoversOfDeadProcessesAreRemoved) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  int result = 0;
  waitpid(child, &result, 0);  // now the id belongs to nobody
  const std::string leftover = absl::StrCat(options_.out_dir, ".tmp-", child);
  const std::string own = absl::StrCat(options_.out_dir, ".tmp-", getpid());
  const std::string unrelated = absl::StrCat(parent_, "/out.tmp-notes");
  for (const auto& dir : {leftover, own, unrelated}) {
    fs::create_directories(dir);
    WriteText(dir + "/model.safetensors", "half");
  }
  const absl::Status status = Write();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(Names(parent_), ElementsAre("out", "out.tmp-notes"));
}

TEST_F(CheckpointWriterTest, RunningExportToTheSameDirectoryIsLeftAlone) {
  const std::string other = absl::StrCat(options_.out_dir, ".tmp-", getpid());
  fs::create_directories(other);
  const int fd = open(other.c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(flock(fd, LOCK_EX), 0);
  const absl::Status status = Write();
  close(fd);
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("another export to"));
  EXPECT_TRUE(fs::exists(other));
}

}  // namespace
}  // namespace merganser
