// `merganser store`: what operators type, on stores in files.
#include "client/store_command.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/exit_code.h"
#include "client/store_jobs.h"
#include "common/store/open_store.h"
#include "coordinator/job/copy_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

class StoreCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/store_command";
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    World world;
    world.AddWorker("w", 2);
    world.Run(world.Submit(SphereSpec("done")).id);
    const auto store = *OpenStore(Uri("run.db"));
    ASSERT_TRUE(CopyStore(&world.memory, store.get(), ProtoJobCodec()).ok());
  }
  std::string Path(const std::string& name) { return absl::StrCat(dir_, "/", name); }
  std::string Uri(const std::string& name) { return absl::StrCat("sqlite:", Path(name)); }
  absl::StatusOr<int> Run(std::vector<std::string> words) {
    CLI::App app;
    Action action;
    AddStoreCommand(app, &action);
    words.insert(words.begin(), "store");
    std::reverse(words.begin(), words.end());
    app.parse(words);
    return action();
  }
  size_t Events(const std::string& name) {
    OpenStoreOptions read_only;
    read_only.read_only = true;
    const auto store = *OpenStore(Uri(name), read_only);
    return store->ReadEvents("job-1", 0, 10'000)->size();
  }
  void AppendGarbage(const std::string& name, std::vector<std::string> events) {
    const auto store = *OpenStore(Uri(name));
    const int64_t epoch = *store->Lead("test", absl::Seconds(1));
    const auto end = static_cast<int64_t>(store->ReadEvents("job-1", 0, 10'000)->size());
    ASSERT_TRUE(store->Append(epoch, "job-1", end, events).ok());
  }

  std::string dir_;
};

TEST_F(StoreCommandTest, AHealthyStoreIsVerified) {
  EXPECT_EQ(*Run({"verify", Uri("run.db")}), exit_code::kOk);
  EXPECT_EQ(*Run({"verify", Uri("run.db"), "-o", "json"}), exit_code::kOk);
}

TEST_F(StoreCommandTest, ABackupIsOneFileThatIsRestoredAndNeverReplaced) {
  ASSERT_EQ(*Run({"backup", Uri("run.db"), Path("backup.db")}), exit_code::kOk);
  EXPECT_FALSE(std::filesystem::exists(Path("backup.db-wal")));
  EXPECT_FALSE(std::filesystem::exists(Path("backup.db.unfinished")));
  EXPECT_TRUE(absl::IsAlreadyExists(Run({"backup", Uri("run.db"), Path("backup.db")}).status()));
  ASSERT_EQ(*Run({"restore", Path("backup.db"), Uri("restored.db")}), exit_code::kOk);
  EXPECT_EQ(Events("restored.db"), Events("run.db"));
  EXPECT_EQ(*Run({"verify", Uri("restored.db")}), exit_code::kOk);
}

TEST_F(StoreCommandTest, MigratingMovesEverythingAndRefusesAStoreInUse) {
  ASSERT_EQ(*Run({"migrate", Uri("run.db"), Uri("moved.db")}), exit_code::kOk);
  EXPECT_EQ(Events("moved.db"), Events("run.db"));
  const auto in_use = *OpenStore(Uri("run.db"));
  const absl::Status refused = Run({"migrate", Uri("run.db"), Uri("again.db")}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
}

TEST_F(StoreCommandTest, NothingIsCopiedIntoMemoryThatEndsWithTheCommand) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{"migrate", Uri("run.db"), "memory:"},
                                                                                     {"restore", Path("run.db"), "memory:"},
                                                                                     {"backup", Uri("run.db"), "memory:"}}) {
    const absl::Status refused = Run(words).status();
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << words[0] << ": " << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("'memory:' ends with this command"));
  }
}

TEST_F(StoreCommandTest, AJobWhoseLogIsDamagedIsReadAsFarAsItGoes) {
  const auto events = static_cast<int64_t>(Events("run.db"));
  AppendGarbage("run.db", {"\xff garbage"});
  const std::unique_ptr<JobReader> reader = *StoreJobs::Open(Uri("run.db"));
  const std::vector<v1::Job> jobs = *reader->ListJobs();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].state(), "damaged");
  EXPECT_EQ(jobs[0].seq(), events);
  EXPECT_THAT(jobs[0].message(), HasSubstr(absl::StrCat("job-1 event ", events + 1)));
  EXPECT_THAT(jobs[0].message(),
              HasSubstr(absl::StrCat("`merganser store migrate --salvage ", Uri("run.db"), " NEW_STORE`")));
  EXPECT_GT(reader->ListCandidates("job-1", {})->size(), 14u);
  int64_t last = 0;
  std::string state;
  const absl::Status followed =
      reader->Follow("job-1", 0, absl::InfiniteFuture(), {}, [&](const v1::WatchJobResponse& update) {
        last = std::max(last, update.seq());
        if (update.has_job()) state = update.job().state();
        return true;
      });
  EXPECT_EQ(followed, absl::OkStatus());
  EXPECT_EQ(last, events);
  EXPECT_EQ(state, "damaged");
}

TEST_F(StoreCommandTest, DamageIsFoundAndSalvaged) {
  const size_t good = Events("run.db");
  AppendGarbage("run.db", {"\xff garbage", "\xff more"});
  EXPECT_EQ(*Run({"verify", Uri("run.db")}), exit_code::kJobFailed);
  EXPECT_TRUE(absl::IsDataLoss(Run({"backup", Uri("run.db"), Path("backup.db")}).status()));
  EXPECT_FALSE(std::filesystem::exists(Path("backup.db")));
  ASSERT_EQ(*Run({"migrate", "--salvage", Uri("run.db"), Uri("mended.db")}), exit_code::kOk);
  EXPECT_EQ(Events("mended.db"), good);
}

TEST_F(StoreCommandTest, AFileThatIsNoStoreIsNamed) {
  std::ofstream(Path("text.db"))
      << "this is no database, and long enough to be looked at as one, page by page ................";
  EXPECT_FALSE(Run({"verify", Uri("text.db")}).ok());
  EXPECT_THAT(std::string(Run({"verify", Uri("nowhere.db")}).status().message()), HasSubstr("nowhere.db"));
}

}  // namespace
}  // namespace merganser
