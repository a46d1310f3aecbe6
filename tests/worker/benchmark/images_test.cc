// Pictures of samples: which files stand for the marks of a prompt.
#include <filesystem>

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/benchmark_group.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

BenchmarkSettings Seeing(const std::string& lines) {
  BenchmarkSettings settings;
  settings.name = "seeing";
  settings.data = WriteTestFile("seeing.jsonl", lines);
  settings.prompt = "<image>\n{{question}}";
  settings.target = "{{answer}}";
  settings.max_new_tokens = 8;
  settings.metrics = {{{"exact_match"}}};
  return settings;
}

absl::StatusOr<std::unique_ptr<Benchmark>> LoadSeeing(const BenchmarkSettings& settings) {
  auto definition = ResolveBenchmark(settings);
  if (!definition.ok()) return definition.status();
  return Benchmark::Load(*definition);
}

std::string InFolder(const std::string& name) {
  return (std::filesystem::path(TestFolder()) / name).lexically_normal().string();
}

TEST(BenchmarkImages, PathsAreRelativeToTheData) {
  const auto benchmark = LoadSeeing(Seeing(R"({"image": "pictures/a.png", "question": "q", "answer": "a"}
{"image": "/elsewhere/b.png", "question": "q", "answer": "a"}
)"));
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  EXPECT_THAT((*benchmark)->images(), ElementsAre(ElementsAre(InFolder("pictures/a.png")), ElementsAre("/elsewhere/b.png")));
  EXPECT_EQ((*benchmark)->prompts()[0], "<image>\nq");
}

TEST(BenchmarkImages, AListStandsForSeveralMarks) {
  BenchmarkSettings settings = Seeing(R"({"image": ["a.png", "b.png"], "question": "q", "answer": "a"}
)");
  settings.prompt = "<image><image>{{question}}";
  const auto benchmark = LoadSeeing(settings);
  ASSERT_TRUE(benchmark.ok()) << benchmark.status();
  EXPECT_THAT((*benchmark)->images()[0], ElementsAre(InFolder("a.png"), InFolder("b.png")));
}

// The field may be about something else, and so may the mark.
TEST(BenchmarkImages, APromptWithoutMarkOrARowWithoutFieldHasNone) {
  BenchmarkSettings blind = Seeing(R"({"image": "a.png", "question": "q", "answer": "a"}
)");
  blind.prompt = "{{question}}";
  const auto unmarked = LoadSeeing(blind);
  ASSERT_TRUE(unmarked.ok()) << unmarked.status();
  EXPECT_THAT((*unmarked)->images()[0], IsEmpty());
  const auto unnamed = LoadSeeing(Seeing(R"({"question": "q", "answer": "a"}
)"));
  ASSERT_TRUE(unnamed.ok()) << unnamed.status();
  EXPECT_THAT((*unnamed)->images()[0], IsEmpty());
}

TEST(BenchmarkImages, ErrorsNameTheLine) {
  const std::string good = R"({"image": "a.png", "question": "q", "answer": "a"})"
                           "\n";
  ExpectError(LoadSeeing(Seeing(good + R"({"image": 7, "question": "q", "answer": "a"})"
                                       "\n")),
              StatusCode::kInvalidArgument, AllOf(HasSubstr("seeing.jsonl:2"), HasSubstr("field 'image' is 7")));
  ExpectError(LoadSeeing(Seeing(good + R"({"image": [], "question": "q", "answer": "a"})"
                                       "\n")),
              StatusCode::kInvalidArgument,
              AllOf(HasSubstr("seeing.jsonl:2"), HasSubstr("names 0 pictures, but the prompt has 1 <image> marks")));
  BenchmarkSettings choices = Seeing(good);
  choices.output = "multiple_choice";
  choices.choices = {{"a", "b"}};
  choices.metrics = {{{"acc"}}};
  ExpectError(LoadSeeing(choices), StatusCode::kUnimplemented, HasSubstr("generate_until"));
}

}  // namespace
}  // namespace merganser
