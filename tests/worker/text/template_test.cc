#include "worker/text/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/text/temp_checkpoint.h"

namespace merganser {
namespace {

using testing::AllOf;
using testing::HasSubstr;

absl::StatusOr<std::string> RenderPrompt(absl::string_view source, absl::string_view context) {
  auto compiled = Template::Compile("prompt", source);
  if (!compiled.ok()) return compiled.status();
  return compiled->Render(context);
}

std::string ErrorOf(absl::string_view source, absl::string_view context) {
  const auto rendered = RenderPrompt(source, context);
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument) << source;
  return std::string(rendered.status().message());
}

TEST(TemplateTest, PromptsRenderAsUnderLmEvaluationHarness) {
  const auto golden = ReadGolden("prompts.json");
  ASSERT_GE(golden.size(), 15u);
  for (const auto& item : golden) {
    const auto text = RenderPrompt(item["template"].get<std::string>(), item["context"].dump());
    ASSERT_TRUE(text.ok()) << item["template"] << text.status();
    EXPECT_EQ(*text, item["text"].get<std::string>()) << item["template"];
  }
}

TEST(TemplateTest, PromptKeepsItsLastNewlineAndAChatTemplateLosesIt) {
  EXPECT_EQ(RenderPrompt("Q: {{question}}\nA:\n", R"({"question": "1"})").value(), "Q: 1\nA:\n");
  auto chat = Template::Compile("chat", "A:\n", TemplateKind::kChat).value();
  EXPECT_EQ(chat.Render("{}").value(), "A:");
}

TEST(TemplateTest, UndefinedVariableInAPromptIsAnErrorThatNamesIt) {
  EXPECT_THAT(ErrorOf("Q: {{question}}\n", R"({"Question": "x"})"), AllOf(HasSubstr("question"), HasSubstr("prompt:1")));
  EXPECT_THAT(ErrorOf("a\n{{ doc.answer }}", R"({"doc": {}})"), AllOf(HasSubstr("doc.answer"), HasSubstr("prompt:2")));
  EXPECT_THAT(ErrorOf("{% for c in choices %}{{ c }}{% endfor %}", "{}"), HasSubstr("choices"));
  EXPECT_THAT(ErrorOf("{% if flag %}x{% endif %}", "{}"), HasSubstr("flag"));
}

TEST(TemplateTest, UndefinedVariableInAChatTemplateRendersAsNothing) {
  auto chat = Template::Compile("chat", "[{{ system }}{% if tools %}x{% endif %}]", TemplateKind::kChat).value();
  EXPECT_EQ(chat.Render("{}").value(), "[]");
}

TEST(TemplateTest, NothingIsEscapedForHtml) {
  EXPECT_EQ(RenderPrompt("{{ x }}{{ x|tojson }}", R"({"x": "<a&'b>"})").value(), "<a&'b>\"<a&'b>\"");
  // Not by the name either.
  EXPECT_EQ(Template::Compile("page.html", "{{ x }}").value().Render(R"({"x": "<"})").value(), "<");
}

TEST(TemplateTest, StrftimeNowFormatsTheGivenTimeInUtc) {
  auto compiled = Template::Compile("t", "{{ strftime_now('%d %b %Y %H:%M') }}[{{ strftime_now('') }}]").value();
  EXPECT_EQ(compiled.Render("{}", absl::FromUnixSeconds(1721995205)).value(), "26 Jul 2024 12:00[]");
}

TEST(TemplateTest, RaiseExceptionFailsWithItsMessage) {
  EXPECT_THAT(ErrorOf("{{ raise_exception('only two roles') }}", "{}"), HasSubstr("only two roles"));
}

TEST(TemplateTest, SyntaxErrorNamesTemplateAndLine) {
  EXPECT_THAT(ErrorOf("a\nb {% if %}", "{}"), AllOf(HasSubstr("template prompt"), HasSubstr("prompt:2")));
  EXPECT_THAT(ErrorOf("{{ unclosed", "{}"), HasSubstr("prompt:1"));
  EXPECT_THAT(ErrorOf("{% for x in y %}", "{}"), HasSubstr("prompt:1"));
}

TEST(TemplateTest, UnknownFilterFunctionAndMethodAreNamed) {
  EXPECT_THAT(ErrorOf("{{ 'a'|shout }}", "{}"), HasSubstr("shout"));
  EXPECT_THAT(ErrorOf("{{ shout() }}", "{}"), HasSubstr("shout"));
  EXPECT_THAT(ErrorOf("{{ 'a'.shout() }}", "{}"), HasSubstr("shout"));
}

TEST(TemplateTest, IndexOfWhatIsNotThereNamesIt) {
  EXPECT_THAT(ErrorOf("{{ choices.index('C') }}", R"({"choices": ["A", "B"]})"),
              HasSubstr("index: 'C' is not in ['A', 'B']"));
  EXPECT_THAT(ErrorOf("{{ 'ab'.index('c') }}", "{}"), HasSubstr("index: 'c' is not in 'ab'"));
  EXPECT_THAT(ErrorOf("{{ 'ab'.rsplit('') }}", "{}"), HasSubstr("rsplit: empty separator"));
}

TEST(TemplateTest, ContextMustBeAJsonObject) {
  for (absl::string_view context : {"[]", "", "{\"a\": }", "\"text\""}) {
    EXPECT_THAT(ErrorOf("x", context), HasSubstr("context is not a JSON object")) << context;
  }
}

TEST(TemplateTest, SourceAndContextMustBeUtf8) {
  EXPECT_THAT(ErrorOf("ab\xff", "{}"), HasSubstr("source is not valid UTF-8 at byte 2"));
  EXPECT_THAT(ErrorOf("x", "{\"a\": \"\xff\"}"), HasSubstr("context is not valid UTF-8 at byte 7"));
}

TEST(TemplateTest, SourceBeyondTheBoundIsRefused) {
  EXPECT_THAT(ErrorOf(std::string(Template::kSourceBytesMax + 1, 'a'), "{}"),
              HasSubstr("template prompt has 1048577 bytes, more than the 1048576 allowed"));
}

TEST(TemplateTest, TojsonRefusesWhatPythonWouldRefuse) {
  EXPECT_THAT(ErrorOf("{{ {}|tojson(indent=-1) }}", "{}"), HasSubstr("indent is neither a string nor a number"));
  EXPECT_THAT(ErrorOf("{{ {}|tojson(separators=1) }}", "{}"), HasSubstr("separators is not a pair of strings"));
  EXPECT_THAT(ErrorOf("{{ {}|tojson(colour=1) }}", "{}"), HasSubstr("colour"));
  auto chat = Template::Compile("chat", "{{ missing|tojson }}", TemplateKind::kChat).value();
  EXPECT_THAT(std::string(chat.Render("{}").status().message()), HasSubstr("undefined is not JSON serializable"));
}

TEST(TemplateTest, RegexReplaceNamesABadPatternOrReplacement) {
  EXPECT_THAT(ErrorOf("{{ 'a'|regex_replace('(', '') }}", "{}"), HasSubstr("regex_replace: pattern '('"));
  EXPECT_THAT(ErrorOf(R"({{ 'a'|regex_replace('a', '\\q') }})", "{}"), HasSubstr("bad escape in replacement '\\q'"));
  EXPECT_THAT(ErrorOf(R"({{ 'a'|regex_replace('a', '\\1') }})", "{}"), HasSubstr("names group 1"));
}

TEST(TemplateTest, TemplateThatRunsTooLongIsStopped) {
  const auto rendered = RenderPrompt(
      "{% for a in range(100000) %}{% for b in range(100000) %}{% set c = b %}{% endfor %}{% "
      "endfor %}",
      "{}");
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kResourceExhausted) << rendered.status();
}

TEST(TemplateTest, EndlessRecursionIsAnErrorNotACrash) {
  EXPECT_THAT(ErrorOf("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "{}"), HasSubstr("recursion"));
}

// Found by tests/fuzz/template_fuzz.cc: it was a panic.
TEST(TemplateTest, ATagOfThreeCharactersIsASyntaxError) {
  for (const TemplateKind kind : {TemplateKind::kPrompt, TemplateKind::kChat}) {
    for (const char* source : {"{%}", "a {%} b {% if x %}y{% endif %}"}) {
      EXPECT_EQ(Template::Compile("t", source, kind).status().code(), absl::StatusCode::kInvalidArgument) << source;
    }
  }
}

}  // namespace
}  // namespace merganser
