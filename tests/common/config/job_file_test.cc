#include "common/config/job_file.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(JobFileTest, TheExampleIsValidAndItsPathsAreAbsolute) {
  const std::string dir = fs::canonical(MG_SOURCE_DIR "/examples/ja-math").string();
  const auto file = ReadJobFile(dir + "/job.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->spec.models[0].path, dir + "/base");
  EXPECT_EQ(file->spec.benchmarks[0].data, dir + "/tasks/ja_math.train.jsonl");
  EXPECT_EQ(file->spec.parameter.granularity.kind, Granularity::Kind::kLayer);
  EXPECT_EQ(file->spec.optimizer.words.at("preset"), "published");
}

class JobFileErrorTest : public testing::Test {
 protected:
  // The example's job file with `from` replaced by `to`, in a folder of its own beside the example's models.
  absl::Status ReadWith(const std::string& from, const std::string& to, PathsAre paths = PathsAre::kHere) {
    const std::string example = fs::canonical(MG_SOURCE_DIR "/examples/ja-math").string();
    const std::string dir = testing::TempDir() + "/mg_job_file_" + std::to_string(getpid());
    fs::remove_all(dir);
    fs::create_directory(dir);
    for (const char* name : {"base", "ja", "math-en", "tasks"}) {
      fs::create_directory_symlink(example + "/" + name, dir + "/" + name);
    }
    fs::create_directory_symlink(example, dir + "/zoo");  // a folder of checkpoints
    std::stringstream text;
    text << std::ifstream(example + "/job.yaml").rdbuf();
    std::string yaml = text.str();
    const size_t at = yaml.find(from);
    if (at == std::string::npos) return absl::InternalError("the example lacks " + from);
    yaml.replace(at, from.size(), to);
    std::ofstream(dir + "/job.yaml") << yaml;
    return ReadJobFile(dir + "/job.yaml", paths).status();
  }
};

TEST_F(JobFileErrorTest, MissingModelNamesLineAndFolder) {
  const absl::Status status = ReadWith("{path: ja}", "{path: jaa}");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("job.yaml:9: models.ja.path: no directory '"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("/jaa'"));
}

TEST_F(JobFileErrorTest, AMisspeltFolderBesideCheckpointsIsNoHubId) {
  for (const PathsAre paths : {PathsAre::kHere, PathsAre::kOnWorkers}) {
    const absl::Status status = ReadWith("{path: ja}", "{path: zoo/jaa}", paths);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()), HasSubstr("job.yaml:9: models.ja.path: no directory '"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("/jaa'; did you mean 'ja'? ("));
    EXPECT_THAT(std::string(status.message()), HasSubstr("a Hub id of that name is written 'zoo/jaa@main'"));
    for (const char* hub_id : {"zoo/jaa@main", "zoo/jaa@refs/pr/3", "org/jaa"}) {
      EXPECT_TRUE(ReadWith("{path: ja}", std::string("{path: ") + hub_id + "}", paths).ok()) << hub_id;
    }
  }
}

TEST_F(JobFileErrorTest, MissingDataNamesTheFile) {
  const absl::Status status = ReadWith("ja_math.train.jsonl", "ja_math.trian.jsonl");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("benchmarks.ja_math.data: no file '"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("docs/benchmarks.md says where the data of 'mgsm_ja' is to be had"));
}

TEST_F(JobFileErrorTest, InvertedBoundsNameTheLine) {
  const absl::Status status = ReadWith("{weight: [0, 2]}", "{weight: [2, 0]}");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("job.yaml:17: space.parameter.bounds.weight: low 2 is not below high 0"));
}

TEST_F(JobFileErrorTest, UnknownMethodNamesTheNearestOrTheKnownOnes) {
  EXPECT_THAT(std::string(ReadWith("task_arithmetic ", "taskarithmetic ").message()),
              HasSubstr("space.parameter.method: unknown method 'taskarithmetic'; did you mean 'task_arithmetic'?"));
  EXPECT_THAT(std::string(ReadWith("task_arithmetic ", "evolution ").message()),
              HasSubstr("space.parameter.method: unknown method 'evolution'; known: linear, task_arithmetic"));
}

TEST_F(JobFileErrorTest, ZeroCandidatesAreRefused) {
  EXPECT_THAT(std::string(ReadWith("candidates: 400", "candidates: 0").message()), HasSubstr("budget.candidates: "));
}

TEST_F(JobFileErrorTest, HubIdsWaitForTheWorker) { EXPECT_TRUE(ReadWith("{path: ja}", "{path: org/name@main}").ok()); }

TEST_F(JobFileErrorTest, AbsolutePathsMayBeOnTheWorkersOnly) {
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"{path: ja}", "{path: /models/ja}"},
                                 {"tasks/ja_math.train.jsonl", "/models/ja_math.train.jsonl"},
                                 {"use: mgsm_ja", "use: /models/mgsm.yaml"}}) {
    EXPECT_EQ(ReadWith(from, to).code(), absl::StatusCode::kNotFound) << to;
    EXPECT_EQ(ReadWith(from, to, PathsAre::kOnWorkers), absl::OkStatus()) << to;
  }
  // A relative path is one beside the file.
  EXPECT_EQ(ReadWith("{path: ja}", "{path: jaa}", PathsAre::kOnWorkers).code(), absl::StatusCode::kNotFound);
}

TEST(JobFileTest, NoSuchFile) { EXPECT_EQ(ReadJobFile("/nowhere/job.yaml").status().code(), absl::StatusCode::kNotFound); }

}  // namespace
}  // namespace merganser
