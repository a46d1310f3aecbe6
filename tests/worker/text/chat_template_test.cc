#include "worker/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/text/temp_checkpoint.h"

namespace merganser {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr absl::string_view kUser = R"([{"role": "user", "content": "hi"}])";

TEST(ChatTemplateTest, RendersAsTransformers) {
  const Json golden = ReadGolden("chats.json");
  ASSERT_GE(golden["cases"].size(), 10u);
  for (const Json& item : golden["cases"]) {
    SCOPED_TRACE(item.dump());
    TempCheckpoint dir;
    dir.Write("chat_template.jinja", golden["templates"][item["template"].get<std::string>()].get<std::string>());
    dir.Write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>"})");
    auto chat = ChatTemplate::Load(dir.path());
    ASSERT_TRUE(chat.ok()) << chat.status();

    const auto text = chat->Render(item["messages"].dump(), item["add_generation_prompt"].get<bool>(), item["extra"].dump());

    if (item.contains("error")) {
      EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(text.status().message()), HasSubstr(item["error"].get<std::string>()));
    } else {
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(*text, item["text"].get<std::string>());
    }
  }
}

// What a checkpoint with these files (name, content) renders for one user message.
absl::StatusOr<std::string> RenderWith(const std::vector<std::pair<std::string, std::string>>& files) {
  TempCheckpoint dir;
  for (const auto& [name, content] : files) dir.Write(name, content);
  auto chat = ChatTemplate::Load(dir.path());
  if (!chat.ok()) return chat.status();
  return chat->Render(kUser, true);
}

TEST(ChatTemplateTest, TheJinjaFileWinsThenTheProcessorsThenTheTokenizers) {
  const std::pair<std::string, std::string> config = {"tokenizer_config.json", R"({"chat_template": "config"})"};
  const std::pair<std::string, std::string> processor = {"chat_template.json", R"({"chat_template": "processor"})"};
  const std::pair<std::string, std::string> jinja = {"chat_template.jinja", "jinja"};
  EXPECT_EQ(RenderWith({config}).value(), "config");
  EXPECT_EQ(RenderWith({config, processor}).value(), "processor");
  EXPECT_EQ(RenderWith({config, processor, jinja}).value(), "jinja");
}

TEST(ChatTemplateTest, OfNamedTemplatesTheDefaultIsTaken) {
  EXPECT_EQ(RenderWith({{"tokenizer_config.json",
                         R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                                     {"name": "default", "template": "d{{ messages|length }}"}]})"}})
                .value(),
            "d1");
}

TEST(ChatTemplateTest, NamedTemplatesWithoutDefaultAreAnErrorThatListsThem) {
  const auto text = RenderWith({{"tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                                            {"name": "rag", "template": "r"}]})"}});
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("named default, only 'rag', 'tool_use'"));
}

TEST(ChatTemplateTest, MalformedTemplateFieldsNameTheFile) {
  for (const char* field : {"7", "[1]", R"([{"name": "default"}])", R"([{"name": 1, "template": "x"}])"}) {
    const auto text = RenderWith({{"tokenizer_config.json", absl::StrCat("{\"chat_template\": ", field, "}")}});
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(text.status().message()),
                AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("neither a string nor a list of {name, template}")));
  }
}

TEST(ChatTemplateTest, CheckpointWithoutOneIsNotFound) {
  const auto chat = ChatTemplate::Load(ByteFallbackDir());
  EXPECT_EQ(chat.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(chat.status().message()), AllOf(HasSubstr(ByteFallbackDir()), HasSubstr("chat_template.jinja")));
}

TEST(ChatTemplateTest, SyntaxErrorNamesTheDirectory) {
  TempCheckpoint dir;
  dir.Write("chat_template.jinja", "{% if %}");
  const auto chat = ChatTemplate::Load(dir.path());
  EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(chat.status().message()), HasSubstr(dir.path()));
}

TEST(ChatTemplateTest, BadMessagesAndExtrasAreNamed) {
  TempCheckpoint dir;
  dir.Write("chat_template.jinja", "x");
  auto chat = ChatTemplate::Load(dir.path()).value();
  const auto message = [&chat](absl::string_view messages, absl::string_view extra) {
    const auto text = chat.Render(messages, true, extra);
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << messages << extra;
    return std::string(text.status().message());
  };
  EXPECT_EQ(message("{}", "{}"), "messages: not a JSON array");
  EXPECT_EQ(message("[", "{}"), "messages: not a JSON array");
  EXPECT_EQ(message("[\"\xff\"]", "{}"), "messages: not a JSON array");
  EXPECT_EQ(message(R"([{}, "hi"])", "{}"), "messages[1]: not a JSON object");
  EXPECT_EQ(message("[]", "[]"), "extra variables: not a JSON object");
}

TEST(ChatTemplateTest, MessagesMayNotBeReplacedByExtras) {
  TempCheckpoint dir;
  dir.Write("chat_template.jinja", "{{ messages[0].content }}{{ mood }}{{ strftime_now('%Y') }}");
  auto chat = ChatTemplate::Load(dir.path()).value();
  EXPECT_EQ(chat.Render(kUser, true, R"({"messages": [], "mood": "!"})", absl::FromUnixSeconds(0)).value(), "hi!1970");
}

}  // namespace
}  // namespace merganser
