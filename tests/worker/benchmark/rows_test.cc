#include "worker/benchmark/rows.h"

#include "tests/worker/benchmark/test_files.h"

namespace merganser {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

TEST(Rows, CsvFieldsMayBeQuotedAndHoldLineEnds) {
  const std::string path = WriteTestFile("a.csv",
                                         "\xEF\xBB\xBF"
                                         "question,answer\r\n\"two\nlines, \"\"quoted\"\"\",B\r\n\r\n日本, A\n");
  const auto rows = LoadRows(path);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].fields, (Json{{"question", "two\nlines, \"quoted\""}, {"answer", "B"}}));
  EXPECT_EQ((*rows)[0].line, 2);
  EXPECT_EQ((*rows)[1].fields, (Json{{"question", "日本"}, {"answer", " A"}}));
  EXPECT_EQ((*rows)[1].line, 5);
}

TEST(Rows, ColumnsNameThoseOfAFileWithoutAHeader) {
  RowOptions options;
  options.columns = {"q", "A", "B", "answer"};
  options.limit = 1;
  const auto csv = LoadRows(WriteTestFile("a.csv", "x,1,2,B\ny,1,2,A\n"), options);
  ASSERT_TRUE(csv.ok()) << csv.status();
  ASSERT_EQ(csv->size(), 1u);
  EXPECT_EQ(csv->front().fields, (Json{{"q", "x"}, {"A", "1"}, {"B", "2"}, {"answer", "B"}}));
  const auto tsv = LoadRows(WriteTestFile("a.tsv", "x \"\t1\t2\tB\n"), options);
  ASSERT_TRUE(tsv.ok()) << tsv.status();
  EXPECT_EQ(tsv->front().fields["q"], "x \"");
}

TEST(Rows, AFirstLineThatNamesEachColumnIsAHeader) {
  RowOptions options;
  options.columns = {"question|input", "A|choice0", "answer"};
  options.limit = 1;
  const std::string records = "\"x\ny\",1,2\nz,3,4\n";
  const Json without{{"question", "x\ny"}, {"A", "1"}, {"answer", "2"}};
  const auto plain = LoadRows(WriteTestFile("a.csv", records), options);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->front().fields, without);
  for (const char* header : {"question,A,answer\n", "Input,choice0, ANSWER\r\n"}) {
    const auto headed = LoadRows(WriteTestFile("a.csv", header + records), options);
    ASSERT_TRUE(headed.ok()) << headed.status();
    ASSERT_EQ(headed->size(), 1u);
    EXPECT_EQ(headed->front().fields, without);
    EXPECT_EQ(headed->front().line, 2);
  }
  // In any order, with columns of its own.
  const auto mixed = LoadRows(WriteTestFile("a.tsv", "id\tanswer\tinput\tchoice0\n7\t2\tx\t1\n8\t2\tx\t1\n"), options);
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  ASSERT_EQ(mixed->size(), 1u);
  EXPECT_EQ(mixed->front().fields, (Json{{"id", "7"}, {"answer", "2"}, {"question", "x"}, {"A", "1"}}));
  // A first line that lacks one of them is a record.
  const auto record = LoadRows(WriteTestFile("a.csv", "question,A,right\n"), options);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->front().fields["answer"], "right");
}

TEST(Rows, JsonMayBeLinesAnArrayOrSquads) {
  const auto lines = LoadRows(WriteTestFile("a.json", "{\"a\": 1}\n{\"a\": 2}\n"));
  ASSERT_TRUE(lines.ok()) << lines.status();
  EXPECT_EQ(lines->size(), 2u);
  const auto array = LoadRows(WriteTestFile("b.json", "[\n {\"a\": 1},\n {\"a\": 2}\n]\n"));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ((*array)[1].fields, (Json{{"a", 2}}));
  const std::string squad =
      R"({"version": 1, "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [
          {"id": "1", "question": "q1", "answers": [{"text": "x", "answer_start": 0}, {"text": "y", "answer_start": 1}]},
          {"id": "2", "question": "q2", "answers": [{"text": "z", "answer_start": 0}]}]}]}]})";
  const auto nested = LoadRows(WriteTestFile("c.json", squad));
  ASSERT_TRUE(nested.ok()) << nested.status();
  ASSERT_EQ(nested->size(), 2u);
  EXPECT_EQ((*nested)[0].fields,
            (Json{{"id", "1"}, {"title", "t"}, {"context", "c"}, {"question", "q1"}, {"answers", {{"text", {"x", "y"}}}}}));
}

TEST(Rows, BadFilesAreNamedWithTheirLine) {
  const auto bad = [](const char* name, const std::string& bytes, const std::string& message) {
    const std::string path = WriteTestFile(name, bytes);
    ExpectError(LoadRows(path), StatusCode::kInvalidArgument, HasSubstr(absl::StrCat(path, message)));
  };
  bad("a.csv", "a,b\n1,2\n1\n", ":3: 1 column, not 2 (a, b)");
  bad("a.csv", "a,b\n1,\"2\n", ":2: a quote is not closed");
  bad("a.csv", "a,b\n", ": the file has no samples");
  bad("a.csv", "a\n\xff\n", ": invalid UTF-8 at byte 2");
  bad("a.json", "[1]", ":1: a JSON number, not an object");
  bad("a.json", "{\n\"data\": 3}", ": neither an array of objects nor SQuAD's");
  bad("a.json", "{\n", ": neither JSON lines nor a JSON document");
  bad("a.parquet", "x", ": the file's ending is not .jsonl, .json, .csv or .tsv; convert it once: python3 -c");
  bad("a.jsonl.gz", "x", ": the file's ending is not .jsonl, .json, .csv or .tsv; unpack it once: gunzip -k");
}

}  // namespace
}  // namespace merganser
