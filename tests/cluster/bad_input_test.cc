// What a user gets wrong, through the real command line: an error that names file, field and bound,
// the right exit code, and nothing half-written.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <regex>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/testing/process.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing_support::Eventually;
using testing_support::Finished;
using testing_support::FreshDir;
using testing_support::Process;
using testing_support::RunToEnd;

std::string Read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void Write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string Example(const std::string& path) {
  return fs::absolute(absl::StrCat(MG_SOURCE_DIR, "/examples/ja-math/", path)).string();
}

// A copy of a checkpoint of the example that may be damaged.
std::string CopyCheckpoint(const std::string& name, const std::string& to) {
  fs::copy(Example(name), to, fs::copy_options::recursive);
  return to;
}

struct BadInput {
  std::string name;
  // Damages the job file `text` (or what it names) in `dir`.
  std::function<void(const std::string& dir, std::string* text)> damage;
  int exit_code;
  std::vector<std::string> message;  // all of these

  friend void PrintTo(const BadInput& input, std::ostream* out) { *out << input.name; }
};

void Replace(std::string* text, const std::string& from, const std::string& to) {
  ASSERT_NE(text->find(from), std::string::npos) << from;
  *text = absl::StrReplaceAll(*text, {{from, to}});
}

// Replaces the path of model `ja`, whatever it is.
void SetJaPath(std::string* text, const std::string& path) {
  const std::string changed =
      std::regex_replace(*text, std::regex(R"(ja:(\s*)\{path: [^}]*\})"), "ja:$1{path: " + path + "}");
  ASSERT_NE(changed, *text);
  *text = changed;
}

class BadInputTest : public testing::TestWithParam<BadInput> {};

TEST_P(BadInputTest, IsRefusedBeforeAnyWorkByName) {
  const std::string dir = FreshDir("bad_" + GetParam().name);
  const std::string job = WriteJob(dir, 24, 20);
  std::string text = Read(job);
  GetParam().damage(dir, &text);
  Write(job, text);
  const Finished run =
      RunToEnd({Binary("merganser"), "run", job, "--out", dir + "/out", "--device", "cpu", "--threads", "1"}, dir,
               absl::Minutes(5), {{"LID176FTZ_PATH", Example("lid.176.ftz")}});
  EXPECT_EQ(run.exit_code, GetParam().exit_code) << run.err;
  for (const std::string& part : GetParam().message) EXPECT_THAT(run.err, HasSubstr(part));
  EXPECT_THAT(run.err, HasSubstr("error: ")) << "every refusal begins alike";
  EXPECT_FALSE(fs::exists(dir + "/out/best"));
  EXPECT_FALSE(fs::exists(dir + "/out/summary.json"));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadInputTest,
    testing::Values(
        BadInput{"misspelt_key",
                 [](const std::string&, std::string* text) { Replace(text, "granularity:", "granularty:"); },
                 2,
                 {"job.yaml:", "granularty", "granularity"}},
        BadInput{"missing_model",
                 [](const std::string& dir, std::string* text) { SetJaPath(text, dir + "/no/such/model"); },
                 3,
                 {"job.yaml:", "models.ja.path", "no/such/model"}},
        BadInput{"truncated_shard",
                 [](const std::string& dir, std::string* text) {
                   const std::string copy = CopyCheckpoint("ja", dir + "/ja");
                   fs::resize_file(copy + "/model.safetensors", fs::file_size(copy + "/model.safetensors") - 1000);
                   SetJaPath(text, copy);
                 },
                 1,
                 {"job.yaml:", "models.ja.path", "model.safetensors", "truncated", "bytes"}},
        BadInput{"shapes_differ",
                 [](const std::string& dir, std::string* text) {
                   const std::string copy = CopyCheckpoint("ja", dir + "/ja");
                   // The header says [128] twice where it said [128]: same bytes, another shape.
                   std::string file = Read(copy + "/model.safetensors");
                   const size_t at = file.find("\"shape\":[1024,128]");
                   ASSERT_NE(at, std::string::npos);
                   file.replace(at, 18, "\"shape\":[128,1024]");
                   Write(copy + "/model.safetensors", file);
                   SetJaPath(text, copy);
                 },
                 2,
                 {"ja", "[128, 1024]", "[1024, 128]"}},
        BadInput{"unknown_method",
                 [](const std::string&, std::string* text) {
                   Replace(text, "method: task_arithmetic", "method: task_arithmetik");
                 },
                 2,
                 {"job.yaml:", "space.parameter.method", "task_arithmetik", "task_arithmetic"}},
        BadInput{"bounds_inverted",
                 [](const std::string&, std::string* text) { Replace(text, "weight: [0, 2]", "weight: [2, 0]"); },
                 2,
                 {"job.yaml:", "bounds.weight", "2", "0"}},
        BadInput{"no_budget",
                 [](const std::string&, std::string* text) { Replace(text, "candidates: 24", "candidates: 0"); },
                 2,
                 {"job.yaml:", "budget.candidates", "0"}},
        BadInput{"broken_benchmark_line",
                 [](const std::string& dir, std::string* text) {
                   Write(dir + "/broken.jsonl", "{\"question\": \"1+1\", \"answer\": 2}\n{\"question\": \"1+2\", \n");
                   *text = std::regex_replace(*text, std::regex(R"(data: \S*ja_math\.train\.jsonl)"),
                                              "data: " + dir + "/broken.jsonl");
                 },
                 2,
                 {"job.yaml:", "benchmarks.ja_math", "broken.jsonl:2"}},
        BadInput{"unknown_metric",
                 [](const std::string&, std::string* text) { Replace(text, "metric: acc_ja", "metric: acc_jp"); },
                 2,
                 {"job.yaml:", "objectives", "acc_jp", "acc_ja"}}),
    [](const auto& info) { return info.param.name; });

TEST(BadInvocationTest, MissingJobFile) {
  const std::string dir = FreshDir("bad_file");
  const Finished run = RunToEnd({Binary("merganser"), "run", dir + "/nothing.yaml"}, dir);
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_THAT(run.err, HasSubstr("nothing.yaml"));
}

TEST(BadInvocationTest, UnknownVerbAndUnknownFlagAreUsageErrors) {
  const std::string dir = FreshDir("bad_verb");
  const Finished unknown = RunToEnd({Binary("merganser"), "rum", "--out", "x"}, dir);
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("'rum' is no verb; did you mean 'run'"));
  const Finished flag = RunToEnd({Binary("merganser"), "jobs", "--fromat", "json"}, dir);
  EXPECT_EQ(flag.exit_code, 2);
  EXPECT_THAT(flag.err, HasSubstr("error: '--fromat' is no flag of `merganser jobs`; did you mean '--format'"));
  EXPECT_EQ(RunToEnd({Binary("merganser")}, dir).exit_code, 2);
  EXPECT_THAT(RunToEnd({Binary("merganser"), "store"}, dir).err, HasSubstr("Usage: merganser store [OPTIONS] VERB"));
  EXPECT_THAT(RunToEnd({Binary("merganser"), "--verison"}, dir).err, HasSubstr("'--verison' is no flag of `merganser`"));
  EXPECT_THAT(RunToEnd({Binary("merganser"), "get", "jobs"}, dir).err, HasSubstr("'get' is no verb; did you mean 'jobs'?"));
}

// Each of kForeignVerbs stands for a verb that there is: `help` of what the error names works.
TEST(BadInvocationTest, VerbsOfOtherProgramsAreAnsweredWithOurs) {
  const std::string dir = FreshDir("foreign");
  for (const char* verb : {"apply",  "create", "delete", "eval",     "get",  "kill",   "list",    "ls",    "lm_eval",
                           "ps",     "queue",  "rm",     "resubmit", "show", "sbatch", "scancel", "start", "squeue",
                           "status", "stop",   "tail",   "top",      "chat", "nodes",  "trials"}) {
    const std::string said = RunToEnd({Binary("merganser"), verb}, dir).err;
    const size_t at = said.find("did you mean '");
    ASSERT_NE(at, std::string::npos) << said;
    const std::string own = said.substr(at + 14, said.find('\'', at + 14) - at - 14);
    EXPECT_EQ(RunToEnd({Binary("merganser"), "help", own}, dir).exit_code, 0) << said;
  }
}

TEST(BadInvocationTest, AddressesNeedAPort) {
  const std::string dir = FreshDir("bad_address");
  for (const auto& [address, wrong] :
       {std::pair("127.0.0.1", " is not HOST:PORT: the port is missing"),
        std::pair("127.0.0.1:", ": '' is not a port (0 to 65535)"),
        std::pair("127.0.0.1:50051,127.0.0.1:99999", ": '99999' is not a port (0 to 65535)")}) {
    const Finished jobs = RunToEnd({Binary("merganser"), "jobs", "--server", address}, dir);
    EXPECT_EQ(jobs.exit_code, 2) << jobs.err;
    EXPECT_THAT(jobs.err, AllOf(HasSubstr("error: --server: '127.0.0.1"), HasSubstr(wrong)));
  }
  const Finished local = RunToEnd({Binary("merganser"), "jobs", "--server", absl::StrCat("unix:", dir, "/none")}, dir);
  EXPECT_EQ(local.exit_code, 6) << local.err;
  for (const char* flag : {"--listen", "--worker-listen", "--http"}) {
    const Finished coordinator =
        RunToEnd({Binary("merganser-coordinator"), "--store", "memory:", flag, "127.0.0.1:65536"}, dir);
    EXPECT_EQ(coordinator.exit_code, 64) << coordinator.err;
    EXPECT_THAT(coordinator.err, HasSubstr(absl::StrCat(flag, ": '127.0.0.1:65536': '65536' is not a port")));
  }
  for (const char* flag : {"--coordinator", "--http"}) {
    const Finished worker = RunToEnd({Binary("merganser-worker"), flag, "nohost"}, dir);
    EXPECT_EQ(worker.exit_code, 64) << worker.err;
    EXPECT_THAT(worker.err, HasSubstr("'nohost' is not HOST:PORT"));
  }
}

// As the daemons' flags: a plain number is seconds.
TEST(BadInvocationTest, DurationsAreReadAlike) {
  const std::string dir = FreshDir("durations");
  const auto wait = [&](const char* timeout) {
    return RunToEnd({Binary("merganser"), "wait", "job-1", "--server", "127.0.0.1:1", "--timeout", timeout}, dir);
  };
  EXPECT_EQ(wait("5").exit_code, 6) << wait("5").err;
  EXPECT_EQ(wait("5s").exit_code, 6);
  for (const char* bad : {"-5", "5 apples", "soon"}) {
    const Finished refused = wait(bad);
    EXPECT_EQ(refused.exit_code, 2) << bad;
    EXPECT_THAT(refused.err, HasSubstr("not a duration")) << bad;
  }
}

TEST(BadInvocationTest, AStoreThatIsNoFolderIsNotFound) {
  const std::string dir = FreshDir("bad_folder");
  const Finished jobs = RunToEnd({Binary("merganser"), "jobs", "--store", dir + "/out"}, dir);
  EXPECT_EQ(jobs.exit_code, 3) << jobs.err;
  EXPECT_THAT(jobs.err, HasSubstr(absl::StrCat("--store: there is no '", dir, "/out'; it is the folder of a run")));
}

TEST(BadInvocationTest, VerbsOfOneModelNameTheirArgument) {
  const std::string dir = FreshDir("bad_model");
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"bench"}, {"serve", "--port", "0"}, {"generate", "--prompt", "x"}}) {
    std::vector<std::string> argv = {Binary("merganser")};
    argv.insert(argv.end(), verb.begin(), verb.end());
    argv.push_back(dir + "/none");
    const Finished finished = RunToEnd(argv, dir);
    EXPECT_EQ(finished.exit_code, 3) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("error: MODEL: no directory '"));
  }
}

TEST(BadInvocationTest, LocalVerbsSpeakYaml) {
  const std::string dir = FreshDir("yaml");
  EXPECT_THAT(RunToEnd({Binary("merganser"), "version", "-o", "yaml"}, dir).out,
              testing::MatchesRegex("version: \"[0-9.]+\"\nevaluation_version: [0-9]+\n"));
}

TEST(BadInvocationTest, EveryVerbExplainsItselfWithAnExample) {
  const std::string dir = FreshDir("help");
  const Finished help = RunToEnd({Binary("merganser"), "--help"}, dir);
  ASSERT_EQ(help.exit_code, 0);
  for (const char* verb : {"validate", "run",     "merge", "evaluate",   "score", "generate", "submit", "jobs",
                           "describe", "watch",   "wait",  "candidates", "best",  "events",   "export", "report",
                           "cancel",   "workers", "drain", "version",    "pool",  "replay",   "logs"}) {
    EXPECT_THAT(help.out, HasSubstr(verb));
    const Finished own = RunToEnd({Binary("merganser"), verb, "--help"}, dir);
    EXPECT_EQ(own.exit_code, 0) << verb;
    EXPECT_THAT(own.out, HasSubstr(absl::StrCat("merganser ", verb))) << verb;
    EXPECT_THAT(own.out, HasSubstr("Examples:")) << verb;
  }
}

TEST(BadInvocationTest, CoordinatorThatIsAwayIsUnavailable) {
  const std::string dir = FreshDir("bad_server");
  const Finished jobs = RunToEnd({Binary("merganser"), "jobs", "--server", "127.0.0.1:1"}, dir);
  EXPECT_EQ(jobs.exit_code, 6) << jobs.err;
  EXPECT_THAT(jobs.err, HasSubstr("127.0.0.1:1"));
}

TEST(BadInvocationTest, StoreThatIsAwayIsUnavailableBeforeModelsAreLoaded) {
  const std::string dir = FreshDir("bad_store");
  const std::string job = WriteJob(dir, 24, 20);
  const Finished run =
      RunToEnd({Binary("merganser"), "run", job, "--out", dir + "/out", "--store", "redis://127.0.0.1:1"}, dir);
  EXPECT_EQ(run.exit_code, 6) << run.err;
  EXPECT_THAT(run.err, HasSubstr("127.0.0.1:1"));
}

TEST(BadInvocationTest, FullDiskOnExportLeavesNothingBehind) {
  const std::string dir = FreshDir("bad_disk");
  Write(dir + "/recipe.yaml", absl::StrCat("models: {a: {path: ", Example("ja"), "}}\nstacks: [{sources: [a]}]\n"));
  // /dev/full-like behaviour for a whole folder needs a file system of its own; a limit on file
  // size gives the same error.
  const Finished merged = RunToEnd({"/bin/sh", "-c",
                                    absl::StrCat("trap '' XFSZ; ulimit -f 1000; exec ", Binary("merganser"), " merge ", dir,
                                                 "/recipe.yaml ", dir, "/merged")},
                                   dir);
  EXPECT_EQ(merged.exit_code, 1) << merged.err;
  EXPECT_THAT(merged.err, HasSubstr("model.safetensors"));
  EXPECT_FALSE(fs::exists(dir + "/merged"));
  for (const auto& entry : fs::directory_iterator(dir)) {
    EXPECT_EQ(entry.path().filename().string().find("merged"), std::string::npos) << entry.path();
  }
}

TEST(BadInvocationTest, OutputThatCannotBeWrittenIsNoSuccess) {
  const std::string dir = FreshDir("bad_stdout");
  const auto shell = [&](const std::string& tail) {
    return RunToEnd({"/bin/bash", "-c", absl::StrCat(Binary("merganser"), tail)}, dir);
  };
  const Finished full = shell(" version -o json > /dev/full");
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.err, HasSubstr("error: stdout: not everything could be written: No space left on device"));
  const Finished help = shell(" run --help > /dev/full");
  EXPECT_EQ(help.exit_code, 1) << help.err;
  const Finished closed = shell(" run --help | head -1; exit ${PIPESTATUS[1]}");
  EXPECT_EQ(closed.err, "") << "whoever closed the pipe has what they wanted";
  const Finished long_full = shell(" completion bash > /dev/full");  // more than a buffer
  EXPECT_THAT(long_full.err, HasSubstr("No space left on device"));
}

// With a store in memory; `address` is where users ask.
std::unique_ptr<Process> StartCoordinator(const std::string& dir, std::string* address) {
  const std::string ports = dir + "/ports";
  auto coordinator = std::make_unique<Process>(
      "coordinator",
      std::vector<std::string>{Binary("merganser-coordinator"), "--store", "memory:", "--listen", "127.0.0.1:0",
                               "--worker-listen", "127.0.0.1:0", "--http", "", "--port-file", ports},
      dir);
  EXPECT_TRUE(Eventually([&] { return Read(ports).find("worker ") != std::string::npos; })) << coordinator->Stderr();
  const std::string text = Read(ports);
  *address = text.substr(5, text.find('\n') - 5);  // "user HOST:PORT"
  return coordinator;
}

// As on a machine that is busy with something else.
TEST(BusyCoordinatorTest, OneThatTakesTwoSecondsToAnswerIsThere) {
  const std::string dir = FreshDir("busy");
  std::string address;
  const auto coordinator = StartCoordinator(dir, &address);
  ASSERT_TRUE(Eventually([&] { return RunToEnd({Binary("merganser"), "jobs", "--server", address}, dir).exit_code == 0; }));
  coordinator->Signal(SIGSTOP);
  Process jobs("jobs", {Binary("merganser"), "jobs", "--server", address}, dir);
  absl::SleepFor(absl::Seconds(2));
  coordinator->Signal(SIGCONT);
  EXPECT_EQ(jobs.Wait(absl::Minutes(1)), 0) << jobs.Stderr();
}

// True once the process takes the signal as a message: it is blocked, and read from a descriptor.
bool Reads(pid_t pid, int signal) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("SigBlk:", 0) == 0) return ((std::stoull(line.substr(7), nullptr, 16) >> (signal - 1)) & 1) != 0;
  }
  return false;
}

TEST(InterruptTest, CtrlCDetachesFromAJobThatGoesOn) {
  const std::string dir = FreshDir("detach");
  std::string servers;
  const auto coordinator = StartCoordinator(dir, &servers);
  servers += ",127.0.0.1:1";  // with a stand-by that is away
  const std::string job = WriteJob(dir, 24, 20);
  const std::vector<std::vector<std::string>> verbs = {
      {"submit", job, "--watch"}, {"watch", "job-1"}, {"wait", "job-1"}, {"events", "job-1", "--follow"}};
  for (const std::vector<std::string>& verb : verbs) {
    std::vector<std::string> argv = {Binary("merganser")};
    argv.insert(argv.end(), verb.begin(), verb.end());
    argv.insert(argv.end(), {"--server", servers});
    Process client(verb[0], argv, dir);
    ASSERT_TRUE(Eventually([&] { return Reads(client.pid(), SIGINT); })) << verb[0];
    absl::SleepFor(absl::Seconds(2));  // it follows the job, for which there is no worker
    ASSERT_TRUE(client.Running()) << verb[0] << ": " << client.Stderr();
    client.Signal(SIGINT);
    EXPECT_EQ(client.Wait(absl::Minutes(1)), 130) << verb[0];
    EXPECT_THAT(client.Stderr(), HasSubstr("detached")) << verb[0];
  }
}

TEST(BadInvocationTest, ARecipesMistakeHasItsLineAlsoFromAPipe) {
  const std::string dir = FreshDir("bad_recipe");
  const std::string recipe = absl::StrCat("models: {base: {path: ", Example("base"), "}, ja: {path: ", Example("ja"), "}}\n",
                                          "stacks:\n"
                                          "  - name: merged\n"
                                          "    method: ties\n"
                                          "    base: base\n"
                                          "    sources: [ja]\n"
                                          "    settings:\n"
                                          "      - group: {name: all}\n"
                                          "        sources: [{values: {weight: 0.5}}]\n"
                                          "dtype: float32\n");
  const std::vector<std::tuple<std::string, std::string, std::string>> mistakes = {
      {"ties", "tise", ":3: stacks[0]: unknown method 'tise'; did you mean 'ties'?"},
      {"weight", "weigth",
       ":9: stacks[0].settings[0].sources[0]: ties has no parameter 'weigth' here; did you mean 'weight'?"},
      {"float32", "float31", ":10: dtype: unknown dtype 'float31'"}};
  const std::string file = dir + "/recipe.yaml", out = dir + "/merged";
  const auto merge = [&](const std::string& text) {
    Write(file, text);
    return RunToEnd({"/bin/sh", "-c", absl::StrCat("cat ", file, " | ", Binary("merganser"), " merge - ", out)}, dir);
  };
  for (const auto& [right, wrong, message] : mistakes) {
    std::string text = recipe;
    Replace(&text, right, wrong);
    const Finished piped = merge(text);
    EXPECT_EQ(piped.exit_code, 2) << piped.err;
    EXPECT_THAT(piped.err, HasSubstr(absl::StrCat("error: stdin", message)));
    const Finished read = RunToEnd({Binary("merganser"), "merge", file, out}, dir);
    EXPECT_THAT(read.err, HasSubstr(absl::StrCat("error: ", file, message)));
    EXPECT_FALSE(fs::exists(out));
  }
  const Finished merged = merge(recipe);
  EXPECT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_TRUE(fs::exists(out + "/model.safetensors"));
}

TEST(BadInvocationTest, ExportDoesNotReplaceAFolderUnasked) {
  const std::string dir = FreshDir("bad_overwrite");
  Write(dir + "/recipe.yaml", absl::StrCat("models: {a: {path: ", Example("ja"), "}}\nstacks: [{sources: [a]}]\n"));
  fs::create_directory(dir + "/merged");
  Write(dir + "/merged/precious", "data");
  const Finished merged = RunToEnd({Binary("merganser"), "merge", dir + "/recipe.yaml", dir + "/merged"}, dir);
  EXPECT_EQ(merged.exit_code, 2) << merged.err;
  EXPECT_THAT(merged.err, HasSubstr("--overwrite"));
  EXPECT_EQ(Read(dir + "/merged/precious"), "data");
}

}  // namespace
}  // namespace merganser
