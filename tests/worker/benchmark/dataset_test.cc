#include "worker/benchmark/dataset.h"

#include "tests/worker/benchmark/test_files.h"
#include "worker/benchmark/text_lines.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

TEST(Dataset, JsonLinesKeepAllFieldsAndTheirPlace) {
  const std::string path = WriteTestFile("a.jsonl",
                                         "\xEF\xBB\xBF{\"question\":\"q1\",\"answer\":18,\"kind\":\"sum\"}\r\n\n"
                                         "{\"question\":\"q2\",\"answer\":\"5,600\"}");
  const auto samples = LoadDataset(path);
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ((*samples)[0].question, "q1");
  EXPECT_EQ((*samples)[0].answer, "18");
  EXPECT_EQ((*samples)[0].fields_json, R"({"question":"q1","answer":18,"kind":"sum"})");
  EXPECT_EQ((*samples)[1].line, 3);
  EXPECT_EQ((*samples)[1].answer, "5600");
  EXPECT_EQ((*samples)[1].answer_value, 5600);
}

TEST(Dataset, TabSeparatedIsMgsm) {
  const std::string path = WriteTestFile("m.tsv", "彼女は？\t18\nスーは\"？\t5,600\n");
  const auto samples = LoadDataset(path);
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ((*samples)[1].question, "スーは\"？");
  EXPECT_EQ((*samples)[1].answer_value, 5600);
  EXPECT_EQ((*samples)[1].fields_json, R"({"question":"スーは\"？","answer":"5,600"})");
}

TEST(Dataset, TheExampleTasksLoad) {
  const auto train = LoadDataset(SourcePath("examples/ja-math/tasks/ja_math.train.jsonl"));
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->size(), 200u);
  const auto test = LoadDataset(SourcePath("examples/ja-math/tasks/ja_math.test.jsonl"));
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->size(), 250u);
}

TEST(Dataset, OtherFieldNamesAndAnswerForms) {
  DatasetOptions options;
  options.question_field = "problem";
  options.answer_field = "solution";
  const std::string path = WriteTestFile("g.jsonl",
                                         "{\"problem\":\"p\",\"solution\":\"2+2 is 4, so\\n#### "
                                         "1,234.5\"}\n{\"problem\":\"p\",\"solution\":-0.25}\n"
                                         "{\"problem\":\"p\",\"solution\":\" +12 \"}\n");
  const auto samples = LoadDataset(path, options);
  ASSERT_TRUE(samples.ok()) << samples.status();
  EXPECT_EQ((*samples)[0].answer, "1234.5");
  EXPECT_EQ((*samples)[1].answer, "-0.25");
  EXPECT_EQ((*samples)[2].answer, "12");
}

TEST(Dataset, LimitReadsOnlyTheFirst) {
  DatasetOptions options;
  options.limit = 1;
  const std::string path = WriteTestFile("l.jsonl", "{\"question\":\"q\",\"answer\":1}\nbroken\n");
  const auto samples = LoadDataset(path, options);
  ASSERT_TRUE(samples.ok()) << samples.status();
  EXPECT_EQ(samples->size(), 1u);
  options.limit = 0;
  ExpectError(LoadDataset(path, options), StatusCode::kInvalidArgument, HasSubstr("limit 0 is below 1"));
}

struct BadData {
  const char* name;  // of the case
  const char* file;
  std::string bytes;
  std::string message;  // follows the file's path
};

class BadDataTest : public testing::TestWithParam<BadData> {};

TEST_P(BadDataTest, NamesFileLineAndField) {
  const std::string path = WriteTestFile(GetParam().file, GetParam().bytes);
  ExpectError(LoadDataset(path), StatusCode::kInvalidArgument, HasSubstr(absl::StrCat(path, GetParam().message)));
}

const char kGood[] = "{\"question\":\"q\",\"answer\":1}\n";

INSTANTIATE_TEST_SUITE_P(
    Dataset, BadDataTest,
    testing::Values(
        BadData{"MissingAnswer", "a.jsonl", std::string(kGood) + "{\"question\":\"q\"}\n", ":2: field 'answer' is missing"},
        BadData{"MissingQuestion", "a.jsonl", "{\"answer\":1}\n", ":1: field 'question' is missing"},
        BadData{"QuestionIsNumber", "a.jsonl", "{\"question\":3,\"answer\":1}\n",
                ":1: field 'question' is of type number, not a string"},
        BadData{"AnswerIsNull", "a.jsonl", "{\"question\":\"q\",\"answer\":null}\n",
                ":1: field 'answer' is null, not a number"},
        BadData{"AnswerIsList", "a.jsonl", "{\"question\":\"q\",\"answer\":[1]}\n",
                ":1: field 'answer' is of type array, not a number"},
        BadData{"AnswerIsText", "a.jsonl", "{\"question\":\"q\",\"answer\":\"1,5\"}\n",
                ":1: field 'answer' is '1,5', not a number"},
        BadData{"AnswerIsWord", "a.jsonl", "{\"question\":\"q\",\"answer\":\"nan\"}\n",
                ":1: field 'answer' is 'nan', not a number"},
        BadData{"BrokenJson", "a.jsonl", std::string(kGood) + "{\"question\": x}\n", ":2:14: broken JSON: syntax error"},
        BadData{"NumberTooLarge", "a.jsonl", "{\"question\":\"q\",\"answer\":1e999}\n",
                ":1:1: broken JSON: number overflow"},
        BadData{"CutJson", "a.jsonl", "{\"question\":", ":1:13: broken JSON: syntax error"},
        BadData{"NoObject", "a.jsonl", "[1]\n", ":1:1: a JSON array, not an object"},
        BadData{"TooDeep", "a.jsonl", "{\"question\":" + std::string(200, '['), ":1:112: JSON nested more than 100"},
        BadData{"InvalidUtf8", "a.jsonl", std::string(kGood) + "{\"q\":\"\xff\"}\n", ":2:7: invalid UTF-8 (byte 0xff)"},
        BadData{"Empty", "a.jsonl", "", ": the file has no samples"},
        BadData{"OnlyBlank", "a.jsonl", "\n  \n", ": the file has no samples"},
        BadData{"OneColumn", "a.tsv", "q 1\n", ":1: 1 column, not 2"},
        BadData{"ThreeColumns", "a.tsv", "q\t1\nq\t1\t2\n", ":2: 3 columns, not 2"},
        BadData{"HeaderLine", "a.tsv", "problem\tanswer\n", ":1: field 'answer' is 'answer', not a number"},
        BadData{"OtherEnding", "a.txt", "q,1\n", ": the file's ending is not .jsonl, .json, .csv or .tsv"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Dataset, MissingFileIsNotFound) {
  ExpectError(LoadDataset(TestFolder() + "/none.jsonl"), StatusCode::kNotFound, HasSubstr("none.jsonl"));
}

TEST(TextLines, BoundsAreNamed) {
  const std::string path = WriteTestFile("b.jsonl", "1234567890\nb\nc\n");
  TextLineLimits limits;
  limits.line_bytes_max = 9;
  ExpectError(ReadTextLines(path, -1, limits), StatusCode::kInvalidArgument,
              HasSubstr(":1: the line has 10 bytes, more than 9"));
  limits = {};
  limits.lines_max = 2;
  ExpectError(ReadTextLines(path, -1, limits), StatusCode::kInvalidArgument, HasSubstr("more than 2 samples"));
  limits = {};
  limits.file_bytes_max = 5;
  ExpectError(ReadTextLines(path, -1, limits), StatusCode::kInvalidArgument,
              AllOf(HasSubstr("b.jsonl"), HasSubstr("more than 5")));
}

}  // namespace
}  // namespace merganser
