// Checkpoints from a coordinator to workers that lack them, over real gRPC on loopback.
#include <filesystem>
#include <map>
#include <thread>

#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/codec/job_spec_codec.h"
#include "common/rpc/status_codec.h"
#include "common/store/memory/memory_store.h"
#include "common/transfer/checkpoint_files.h"
#include "common/transfer/url_source.h"
#include "coordinator/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "merganser/v1/job_service.grpc.pb.h"
#include "tests/common/transfer/test_server.h"
#include "tests/coordinator/job/world.h"
#include "worker/agent/checkpoint_provider.h"
#include "worker/agent/coordinator_source.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing_support::FreshDir;

constexpr int64_t kBytes = 3'000'000;  // of weights: a few pieces

class CheckpointShareTest : public testing::Test {
 protected:
  void SetUp() override {
    unsigned seed = 0;
    for (const ModelRef& model : SphereSpec().models) WriteCheckpoint(dir_ + "/" + model.path, kBytes, ++seed);
    manager_ = JobManager::Create(&store_, &ProtoJobCodec(), &Clock::Real(), nullptr, {});
    ASSERT_TRUE(manager_->Start().ok());
    StartServer({});
  }
  void TearDown() override {
    manager_->Stop();
    StopServer();
  }
  void StartServer(CheckpointShareOptions share) {
    StopServer();
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.worker_listen = absl::StrCat("127.0.0.1:", worker_port_);
    options.share = std::move(share);
    options.share.resolve = [this](const std::string& path) -> absl::StatusOr<std::string> {
      if (!fs::is_directory(dir_ + "/" + path)) return absl::NotFoundError(path);
      return dir_ + "/" + path;
    };
    options.security = security_;
    auto started = Server::Start(manager_.get(), &store_, nullptr, options);
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    worker_port_ = server_->worker_port();
  }
  void StopServer() {
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
    server_.reset();
  }
  ClientChannel Workers(const std::string& token_file = "") {
    ClientSecurity security;
    security.token_file = token_file;
    return *CreateChannel(absl::StrCat("127.0.0.1:", worker_port_), security);
  }
  absl::StatusOr<JobSpec> Submit(const JobSpec& spec) {
    const ClientChannel channel = *CreateChannel(absl::StrCat("127.0.0.1:", server_->port()));
    grpc::ClientContext context;
    channel.Prepare(&context, absl::Seconds(60));
    v1::CreateJobRequest request;
    *request.mutable_spec() = ToProto(spec);
    v1::CreateJobResponse response;
    MG_RETURN_IF_ERROR(FromGrpc(v1::JobService::NewStub(channel.channel)->CreateJob(&context, request, &response)));
    job_ = response.job().id();
    return FromProto(response.job().spec());
  }
  // Reads a file whole; its bytes and what the coordinator says its SHA-256 is.
  static absl::StatusOr<std::pair<std::string, std::string>> Read(CoordinatorSource* source, const std::string& name,
                                                                  int64_t offset) {
    std::string bytes;
    const auto keep = [&](absl::string_view piece) {
      bytes.append(piece.data(), piece.size());
      return absl::OkStatus();
    };
    MG_ASSIGN_OR_RETURN(std::string sha256, source->Read({name, -1, ""}, offset, keep, {}));
    return std::make_pair(std::move(bytes), std::move(sha256));
  }

  const std::string dir_ = FreshDir("share");
  MemoryStore store_{Clock::Real()};
  ServerSecurity security_;
  std::unique_ptr<JobManager> manager_;
  std::unique_ptr<Server> server_;
  int worker_port_ = 0;
  std::string job_;
};

TEST_F(CheckpointShareTest, AJobIsPinnedToTheContentOfItsModels) {
  const JobSpec spec = *Submit(SphereSpec());
  for (const ModelRef& model : spec.models) {
    const auto [path, content] = SplitContent(model.path);
    EXPECT_EQ(content, *CheckpointContent(dir_ + "/" + path)) << model.name;
  }
  JobSpec elsewhere = SphereSpec("elsewhere");
  elsewhere.models[0].path = "not/here";
  EXPECT_EQ(Submit(elsewhere)->models[0].path, "not/here") << "a worker may have it";
  JobSpec other = SphereSpec("other");
  other.models[0].path = WithContent(other.models[0].path, std::string(64, '0'));
  const absl::Status refused = Submit(other).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr(absl::StrCat("models.", other.models[0].name, ".path")));
}

TEST_F(CheckpointShareTest, AWorkerReadsAFileFromAnyOffset) {
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  CoordinatorSource source({Workers()}, content);
  const auto files = source.List({});
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 3u) << "no pickle, no program, one form of the weights";
  const std::string weights = ReadAll(dir_ + "/" + path + "/model.safetensors");
  for (const int64_t offset : {int64_t{0}, int64_t{1}, int64_t{1 << 20}, kBytes, static_cast<int64_t>(weights.size())}) {
    const auto read = Read(&source, "model.safetensors", offset);
    ASSERT_TRUE(read.ok()) << offset << ": " << read.status();
    EXPECT_TRUE(read->first == weights.substr(offset)) << offset;
    EXPECT_EQ(read->second, Sha256Hex(weights)) << "of the whole file";
  }
}

TEST_F(CheckpointShareTest, PiecesAreToldOfWhateverTheOffsetAndCanBeHadAlone) {
  CheckpointShareOptions share;
  share.piece_bytes = 1'200'000;
  StartServer(share);
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  CoordinatorSource source({Workers()}, content);
  ASSERT_TRUE(source.List({}).ok());
  const std::string weights = ReadAll(dir_ + "/" + path + "/model.safetensors");
  const auto size = static_cast<int64_t>(weights.size());
  const CheckpointSource::File file{"model.safetensors", size, ""};
  for (const int64_t offset : {int64_t{0}, int64_t{1'200'000}, int64_t{1'200'001}, size}) {
    std::string bytes;
    std::vector<CheckpointSource::Piece> pieces;
    const auto told = [&](const CheckpointSource::Piece& piece) {
      EXPECT_GE(offset + static_cast<int64_t>(bytes.size()), piece.end) << "after its last byte";
      pieces.push_back(piece);
      return absl::OkStatus();
    };
    const auto keep = [&](absl::string_view more) {
      bytes.append(more.data(), more.size());
      return absl::OkStatus();
    };
    const auto sum = source.ReadInPieces(file, offset, keep, told, {});
    ASSERT_TRUE(sum.ok()) << offset << ": " << sum.status();
    EXPECT_EQ(*sum, Sha256Hex(weights));
    EXPECT_TRUE(bytes == weights.substr(offset)) << offset;
    ASSERT_EQ(pieces.size(), 3u) << offset;
    int64_t end = 0;
    for (const CheckpointSource::Piece& piece : pieces) {
      EXPECT_EQ(piece.begin, std::exchange(end, piece.end));
      const std::string there = weights.substr(piece.begin, piece.end - piece.begin);
      EXPECT_EQ(piece.sha256, Sha256Hex(there));
      EXPECT_TRUE(*source.ReadPiece(file, piece, {}) == there);
    }
    EXPECT_EQ(end, size);
  }
  EXPECT_EQ(source.ReadPiece(file, {0, size + 1, ""}, {}).status().message(),
            absl::StrCat("end: ", size + 1, " is not within offset 0 and the file's ", size, " bytes"));
}

TEST_F(CheckpointShareTest, AWorkerThatTakesBytesElsewhereAsksForTheSumAlone) {
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  CoordinatorSource source({*CreateChannel("127.0.0.1:1"), Workers()}, content);  // the first one is a stand-by that is away
  const std::string file = dir_ + "/" + path + "/model.safetensors", weights = ReadAll(file);
  EXPECT_EQ(*source.Sha256Of({"model.safetensors", -1, ""}, {}), Sha256Hex(weights));
  EXPECT_TRUE(absl::IsNotFound(source.Sha256Of({"model-2.safetensors", -1, ""}, {}).status()));
  // A mirror that flips a byte where the content has no sample.
  fs::copy(dir_ + "/" + path, dir_ + "/mirror");
  std::string flipped = weights;
  flipped[flipped.size() / 2] ^= 1;
  WriteAll(dir_ + "/mirror/model.safetensors", flipped);
  UrlSource mirror(absl::StrCat("file://", dir_, "/mirror/{file}?{content}"), content, "", {});
  CheckpointCache cache({.dir = dir_ + "/cache", .fetch = {.tries = 1, .backoff = absl::Milliseconds(1)}});
  const absl::Status damaged = cache.Fetch(content, {&mirror, &source}, nullptr, {}).status();
  EXPECT_TRUE(damaged.ok()) << "the coordinator's bytes instead: " << damaged;
  EXPECT_TRUE(ReadAll(cache.dir() + "/" + content + "/model.safetensors") == weights);
}

TEST_F(CheckpointShareTest, OnlyFilesOfCheckpointsThatAnOpenJobNames) {
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  CoordinatorSource source({Workers()}, content);
  for (const char* name :
       {"pytorch_model.bin", "modeling_evil.py", "../ja/config.json", "/etc/passwd", "", "consolidated.safetensors"}) {
    EXPECT_TRUE(absl::IsNotFound(Read(&source, name, 0).status())) << name;
  }
  EXPECT_TRUE(absl::IsOutOfRange(Read(&source, "config.json", 1000).status()));
  EXPECT_TRUE(absl::IsOutOfRange(Read(&source, "config.json", -1).status()));
  WriteCheckpoint(dir_ + "/private", 1000, 99);
  EXPECT_TRUE(absl::IsNotFound(CoordinatorSource({Workers()}, *CheckpointContent(dir_ + "/private")).List({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CoordinatorSource({Workers()}, "../../etc").List({}).status()));
  ASSERT_TRUE(manager_->CancelJob(job_, "").ok());
  StartServer({});  // it does not remember
  EXPECT_TRUE(absl::IsNotFound(CoordinatorSource({Workers()}, content).List({}).status()));
}

TEST_F(CheckpointShareTest, OnlyWorkersMayRead) {
  WriteAll(dir_ + "/tokens", "worker the-token-of-a-worker\nviewer the-token-of-a-viewer\n");
  WriteAll(dir_ + "/worker", "the-token-of-a-worker");
  WriteAll(dir_ + "/viewer", "the-token-of-a-viewer");
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  security_.token_file = dir_ + "/tokens";
  StartServer({});
  CoordinatorSource viewer({Workers(dir_ + "/viewer")}, content), nobody({Workers()}, content),
      worker({Workers(dir_ + "/worker")}, content);
  EXPECT_TRUE(absl::IsPermissionDenied(viewer.List({}).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(Read(&viewer, "config.json", 0).status()));
  EXPECT_TRUE(absl::IsUnauthenticated(Read(&nobody, "config.json", 0).status()));
  EXPECT_TRUE(Read(&worker, "config.json", 0).ok());
}

TEST_F(CheckpointShareTest, AReaderThatTakesNothingHoldsOneStreamAndNoMore) {
  CheckpointShareOptions share;
  share.streams_max = 1;
  StartServer(share);
  constexpr int64_t kBeyondBuffers = 48'000'000;  // what a connection takes without a reader
  WriteCheckpoint(dir_ + "/" + SphereSpec().models[0].path, kBeyondBuffers, 1);
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  const ClientChannel channel = Workers();
  grpc::ClientContext context;
  v1::ReadCheckpointFileRequest request;
  request.set_content(content);
  request.set_file("model.safetensors");
  const auto slow = v1::WorkerService::NewStub(channel.channel)->ReadCheckpointFile(&context, request);
  slow->WaitForInitialMetadata();
  CoordinatorSource second({Workers()}, content);
  EXPECT_TRUE(absl::IsUnavailable(Read(&second, "model.safetensors", 0).status())) << "it may come again";
  EXPECT_TRUE(second.List({}).ok()) << "other calls go on";
  context.TryCancel();
  EXPECT_FALSE(slow->Finish().ok());
  EXPECT_TRUE(testing_support::Eventually([&] { return Read(&second, "model.safetensors", 0).ok(); }));
}

TEST_F(CheckpointShareTest, AnInterruptedTransferGoesOnWithTheNextCoordinator) {
  CheckpointShareOptions slow;
  slow.bytes_per_second = 4'000'000;
  StartServer(slow);
  const auto [path, content] = SplitContent(Submit(SphereSpec())->models[0].path);
  CoordinatorSource source({Workers()}, content);
  CheckpointCache cache({.dir = dir_ + "/cache", .fetch = {.tries = 20, .backoff = absl::Milliseconds(50)}});
  std::thread restart([&] {
    const std::string part = absl::StrCat(dir_, "/cache/", content, ".partial/model.safetensors.part");
    EXPECT_TRUE(testing_support::Eventually([&] { return fs::exists(part) && fs::file_size(part) >= 1'000'000; }));
    StartServer({});
  });
  const auto fetched = cache.Fetch(content, {&source}, nullptr, {});
  restart.join();
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_TRUE(ReadAll((*fetched)->dir() + "/model.safetensors") == ReadAll(dir_ + "/" + path + "/model.safetensors"));
}

TEST_F(CheckpointShareTest, AWorkerIsProvidedWithWhatItLacks) {
  const JobSpec spec = *Submit(SphereSpec());
  // It has the first model elsewhere, and something else where the second should be.
  fs::create_directories(dir_ + "/worker/models");
  fs::copy(dir_ + "/" + SplitContent(spec.models[0].path).first, dir_ + "/worker/models/renamed",
           fs::copy_options::recursive);
  WriteCheckpoint(dir_ + "/worker/other", 1000, 77);
  CheckpointProviderOptions options;
  options.resolve = [&](const std::string& path) -> absl::StatusOr<std::string> {
    if (path == SplitContent(spec.models[1].path).first) return dir_ + "/worker/other";
    return absl::NotFoundError(path);
  };
  options.model_roots = {dir_ + "/worker/models"};
  options.cache.dir = dir_ + "/worker/cache";
  options.coordinators = {*CreateChannel("127.0.0.1:1"), Workers()};  // the first one is a stand-by that is away
  CheckpointProvider provider(options);
  std::vector<std::string> phases;
  const auto phase = [&](absl::string_view name) { phases.emplace_back(name); };
  const auto given = provider.Provide(spec, phase, {});
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ(given->models[0].path, WithContent(dir_ + "/worker/models/renamed", SplitContent(spec.models[0].path).second));
  for (size_t i = 1; i < spec.models.size(); ++i) {
    const auto [dir, content] = SplitContent(given->models[i].path);
    EXPECT_EQ(content, SplitContent(spec.models[i].path).second) << "whoever opens it holds it to that";
    EXPECT_EQ(dir, absl::StrCat(dir_, "/worker/cache/", content));
    EXPECT_EQ(*CheckpointContent(dir), content);
  }
  EXPECT_EQ(phases.size(), spec.models.size() - 1);
  EXPECT_TRUE(provider.Provide(spec, phase, {}).ok());
  EXPECT_EQ(phases.size(), spec.models.size() - 1) << "nothing is fetched again";
  EXPECT_EQ(provider.cache_requests().hits, 0);
  EXPECT_EQ(provider.cache_requests().misses, static_cast<int64_t>(spec.models.size()) - 1);
  CheckpointProvider later(options);  // of the worker's next process
  EXPECT_TRUE(later.Provide(spec, phase, {}).ok());
  EXPECT_EQ(later.cache_requests().hits, static_cast<int64_t>(spec.models.size()) - 1);
  EXPECT_EQ(later.cache_requests().misses, 0);
}

TEST_F(CheckpointShareTest, AWorkerMayCheckEveryByteOfWhatItFindsHere) {
  JobSpec spec = *Submit(SphereSpec());
  spec.models.resize(1);
  const std::string path = SplitContent(spec.models[0].path).first, copy = dir_ + "/worker/copy";
  const std::string weights = ReadAll(dir_ + "/" + path + "/model.safetensors");
  fs::create_directories(dir_ + "/worker");
  fs::copy(dir_ + "/" + path, copy);
  std::string flipped = weights;
  flipped[flipped.size() / 2] ^= 1;  // where the content has no sample
  WriteAll(copy + "/model.safetensors", flipped);

  CheckpointProviderOptions options;
  options.resolve = [](const std::string& p) -> absl::StatusOr<std::string> { return absl::NotFoundError(p); };
  options.model_roots = {dir_ + "/worker"};
  options.coordinators = {Workers()};
  std::vector<std::string> phases;
  const auto phase = [&](absl::string_view name) { phases.emplace_back(name); };
  const auto provided = [&] {
    return SplitContent(CheckpointProvider(options).Provide(spec, phase, {})->models[0].path).first;
  };
  EXPECT_EQ(provided(), copy) << "its samples are right";
  EXPECT_THAT(phases, testing::IsEmpty());

  options.verify_weights = true;
  const absl::Status refused = CheckpointProvider(options).Provide(spec, phase, {}).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr(absl::StrCat("has SHA-256 ", Sha256Hex(flipped), ", but the coordinator says ",
                                                        Sha256Hex(weights))));
  EXPECT_THAT(phases, testing::ElementsAre("check"));
  options.cache.dir = dir_ + "/cache";
  const std::string fetched = provided();
  EXPECT_NE(fetched, copy) << "it takes whole ones from elsewhere";
  EXPECT_TRUE(ReadAll(fetched + "/model.safetensors") == weights);

  options.cache.dir = "";
  WriteAll(copy + "/model.safetensors", weights);
  EXPECT_EQ(provided(), copy);
  options.coordinators.clear();
  EXPECT_THAT(CheckpointProvider(options).Provide(spec, phase, {}).status().message(),
              HasSubstr("nobody says what the SHA-256"));
}

TEST_F(CheckpointShareTest, AWorkerThatMayNotFetchSaysWhatItLacks) {
  const JobSpec spec = *Submit(SphereSpec());
  CheckpointProviderOptions options;
  options.resolve = [](const std::string& path) -> absl::StatusOr<std::string> { return absl::NotFoundError(path); };
  CheckpointProvider provider(options);
  const absl::Status lacking = provider.Provide(spec, [](absl::string_view) {}, {}).status();
  EXPECT_TRUE(absl::IsUnavailable(lacking)) << "another worker may have it: " << lacking;
  EXPECT_THAT(lacking.message(), HasSubstr(absl::StrCat("models.", spec.models[0].name, ".path")));
  EXPECT_THAT(lacking.message(), HasSubstr("--checkpoint-cache"));
}

}  // namespace
}  // namespace merganser
