// The endpoint over the example's Japanese model, through real connections.
#include "worker/serve/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "nlohmann/json.hpp"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/decoder.h"

namespace merganser {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const char kPrompt[] =
    "Q: ボブは卵を5個持っています。ユキは卵を3個持っています。二人は合わせて卵を何個持っていますか。\nA:\n";

// A model, the engine on a thread of its own, and the server.
class Endpoint {
 public:
  explicit Endpoint(const std::string& api_key = "", const std::string& chat_template = "") {
    const std::string dir = std::string(MG_SOURCE_DIR) + "/examples/ja-math/ja";
    checkpoint_ = Checkpoint::Open(dir).value();
    tokenizer_ = Tokenizer::Load(dir).value();
    EngineOptions options;
    options.max_sequences = 8;
    options.max_length = 256;
    options.threads = 2;
    options.eos_token_ids = checkpoint_->generation_config().eos_token_ids;
    options.decode = [this](absl::Span<const int32_t> tokens) { return tokenizer_->Decode(tokens, true); };
    decoder_ = Decoder::Create(checkpoint_->config(), options).value();
    EXPECT_TRUE(decoder_->LoadWeights(CheckpointWeights(checkpoint_)).ok());
    model_.names = {"ja", dir};
    model_.tokenizer = tokenizer_.get();
    if (!chat_template.empty()) {
      const std::filesystem::path chat = std::filesystem::path(testing::TempDir()) / "api_server_test_chat";
      std::filesystem::create_directories(chat);
      std::ofstream(chat / "chat_template.jinja") << chat_template;
      model_.chat_template = ChatTemplate::Load(chat.string());
    }
    model_.max_length = decoder_->max_length();
    model_.vocab_size = checkpoint_->config().vocab_size;
    server_ = ApiServer::Start({.api_key = api_key, .connections = 16}, model_, queue_).value();
    engine_ = std::jthread([this](std::stop_token stop) { EXPECT_TRUE(decoder_->Serve(queue_, stop).ok()); });
  }
  ~Endpoint() {
    engine_.request_stop();
    engine_.join();
    queue_.Close();
  }
  Decoder& decoder() { return *decoder_; }
  const Tokenizer& tokenizer() { return *tokenizer_; }
  int port() const { return server_->port(); }

  httplib::Result Send(const std::string& path, const std::string& body, const std::string& key = "") {
    httplib::Client client("127.0.0.1", port());
    client.set_read_timeout(60);
    return client.Post(path, {{"Authorization", "Bearer " + key}}, body, "application/json");
  }
  json Post(const std::string& path, const json& body) {
    const httplib::Result result = Send(path, body.dump());
    EXPECT_TRUE(result);
    return result ? json::parse(result->body, nullptr, false) : json();
  }
  json Complete(json body) {
    body["model"] = "ja";
    return Post("/v1/completions", body);
  }

 private:
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  ServedModel model_;
  RequestQueue queue_{64};
  std::unique_ptr<ApiServer> server_;
  std::jthread engine_;
};

class ApiServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { endpoint_ = new Endpoint; }
  static void TearDownTestSuite() { delete endpoint_; }
  static Endpoint* endpoint_;
};
Endpoint* ApiServerTest::endpoint_ = nullptr;

TEST_F(ApiServerTest, ListsTheModel) {
  httplib::Client client("127.0.0.1", endpoint_->port());
  const json models = json::parse(client.Get("/v1/models")->body);
  EXPECT_EQ(models["data"][0]["id"], "ja");
  EXPECT_EQ(models["data"][0]["max_model_len"], 256);
  EXPECT_EQ(client.Get("/v1/models/ja")->status, 200);
  EXPECT_EQ(client.Get("/v1/models/other")->status, 404);
  EXPECT_EQ(client.Get("/health")->status, 200);
}

TEST_F(ApiServerTest, TokenizesAndDetokenizes) {
  const std::vector<int32_t> ids = endpoint_->tokenizer().Encode(kPrompt, true).value();
  const json tokens = endpoint_->Post("/tokenize", {{"model", "ja"}, {"prompt", kPrompt}});
  EXPECT_EQ(tokens["tokens"], json(ids));
  EXPECT_EQ(tokens["count"], ids.size());
  EXPECT_EQ(tokens["max_model_len"], 256);
  const std::vector<int32_t> bare = endpoint_->tokenizer().Encode(kPrompt, false).value();
  EXPECT_EQ(endpoint_->Post("/tokenize", {{"prompt", kPrompt}, {"add_special_tokens", false}})["tokens"], json(bare));
  EXPECT_EQ(endpoint_->Post("/detokenize", {{"tokens", bare}})["prompt"], kPrompt);

  httplib::Client client("127.0.0.1", endpoint_->port());
  const json info = json::parse(client.Get("/tokenizer_info")->body);
  EXPECT_TRUE(info["chat_template"].is_null()) << info;
  const json eos = endpoint_->Post("/tokenize", {{"prompt", info["eos_token"]}, {"add_special_tokens", false}})["tokens"];
  EXPECT_EQ(eos, json({*endpoint_->tokenizer().eos_id()}));

  EXPECT_EQ(endpoint_->Send("/tokenize", R"({"prompt": 3})")->status, 400);
  EXPECT_EQ(endpoint_->Send("/tokenize", R"({"prompt": "a", "model": "other"})")->status, 404);
  const json out = json::parse(endpoint_->Send("/detokenize", R"({"tokens": [99999999]})")->body);
  EXPECT_THAT(out["error"]["message"], HasSubstr("tokens has 99999999, which is no token id in [0, "));
  EXPECT_EQ(endpoint_->Send("/tokenize", R"({"prompt": "a", "return_tokens": true})")->status, 400);
}

TEST_F(ApiServerTest, CompletesATextUntilTheStopString) {
  const json whole = endpoint_->Complete({{"prompt", kPrompt}, {"max_tokens", 36}, {"temperature", 0}});
  ASSERT_TRUE(whole.contains("choices")) << whole;
  EXPECT_EQ(whole["object"], "text_completion");
  const std::string text = whole["choices"][0]["text"];
  ASSERT_GT(text.size(), 12u);
  EXPECT_EQ(whole["usage"]["total_tokens"],
            whole["usage"]["prompt_tokens"].get<int>() + whole["usage"]["completion_tokens"].get<int>());

  const size_t end = text.find("です");
  ASSERT_NE(end, std::string::npos) << text;
  const json cut =
      endpoint_->Complete({{"prompt", kPrompt}, {"max_tokens", 36}, {"temperature", 0}, {"stop", {"です", "zzz"}}});
  EXPECT_EQ(cut["choices"][0]["text"], text.substr(0, end));
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "stop");
  const json shorter = endpoint_->Complete({{"prompt", kPrompt}, {"max_tokens", 2}, {"temperature", 0}});
  EXPECT_EQ(shorter["choices"][0]["finish_reason"], "length");
}

// What lm-evaluation-harness asks for: token ids, several prompts, their own log-probabilities.
TEST_F(ApiServerTest, EchoedLogProbabilitiesAreTheEnginesScores) {
  const std::vector<int32_t> a = endpoint_->tokenizer().Encode("太郎は3個です", true).value();
  const std::vector<int32_t> b = endpoint_->tokenizer().Encode("Q: 3+4?", true).value();
  const json body =
      endpoint_->Complete({{"prompt", {a, b}}, {"max_tokens", 1}, {"temperature", 0}, {"logprobs", 1}, {"echo", true}});
  ASSERT_TRUE(body.contains("choices")) << body;
  ASSERT_EQ(body["choices"].size(), 2u);

  for (size_t i = 0; i < 2; ++i) {
    const std::vector<int32_t>& prompt = i == 0 ? a : b;
    const json& choice = body["choices"][i];
    EXPECT_EQ(choice["index"], i);
    const json& log_probs = choice["logprobs"];
    ASSERT_EQ(log_probs["token_logprobs"].size(), prompt.size() + 1);
    EXPECT_TRUE(log_probs["token_logprobs"][0].is_null());
    EXPECT_TRUE(log_probs["top_logprobs"][0].is_null());
    EXPECT_EQ(log_probs["tokens"][0], "<s>");
    for (size_t t = 1; t < prompt.size(); ++t) {
      double best = -1e9;
      for (const auto& [token, value] : log_probs["top_logprobs"][t].items()) best = std::max(best, value.get<double>());
      EXPECT_GE(best, log_probs["token_logprobs"][t].get<double>());
    }
  }
  EXPECT_THAT(body["choices"][0]["text"].get<std::string>(), testing::StartsWith("太郎は3個です"));
}

TEST_F(ApiServerTest, OffsetsPointIntoTheText) {
  const json body = endpoint_->Complete(
      {{"prompt", "Q: 3+4? 12"}, {"max_tokens", 4}, {"temperature", 0}, {"logprobs", 3}, {"echo", true}});
  const json& choice = body["choices"][0];
  const std::string text = choice["text"];
  const json& tokens = choice["logprobs"]["tokens"];
  for (size_t i = 2; i < tokens.size(); ++i) {  // the first word has lost its space
    const std::string token = tokens[i];
    const size_t offset = choice["logprobs"]["text_offset"][i];
    if (token.rfind("token_id:", 0) == 0 || token == "</s>" || offset > 10)
      continue;  // beyond it characters are wider than bytes
    EXPECT_EQ(text.compare(offset, token.size(), token), 0) << i << " '" << token << "' in " << text;
  }
  EXPECT_EQ(choice["logprobs"]["top_logprobs"].back().size() >= 3, true);
}

std::vector<json> Events(const std::string& stream) {
  std::vector<json> events;
  for (size_t at = 0; (at = stream.find("data: ", at)) != std::string::npos; ++at) {
    const std::string line = stream.substr(at + 6, stream.find("\n\n", at) - at - 6);
    events.push_back(line == "[DONE]" ? json(line) : json::parse(line, nullptr, false));
  }
  return events;
}

TEST_F(ApiServerTest, StreamsTheSameText) {
  json request = {{"model", "ja"}, {"prompt", kPrompt}, {"max_tokens", 36}, {"temperature", 0}, {"stop", "個です"}};
  const std::string whole = endpoint_->Post("/v1/completions", request)["choices"][0]["text"];
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const httplib::Result result = endpoint_->Send("/v1/completions", request.dump());
  ASSERT_TRUE(result);
  EXPECT_THAT(result->get_header_value("Content-Type"), HasSubstr("text/event-stream"));
  const std::vector<json> events = Events(result->body);
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events.back(), json("[DONE]"));
  EXPECT_EQ(events[events.size() - 2]["usage"]["prompt_tokens"].is_number(), true);
  std::string text, reason;
  for (const json& event : events) {
    if (!event.is_object() || event["choices"].empty()) continue;
    text += event["choices"][0]["text"];
    if (event["choices"][0]["finish_reason"].is_string()) reason = event["choices"][0]["finish_reason"];
  }
  EXPECT_EQ(text, whole);
  EXPECT_EQ(reason, "stop");
}

TEST_F(ApiServerTest, SeedsRepeatAndChoicesDiffer) {
  const json request = {{"prompt", "Q: 太郎は"}, {"max_tokens", 12}, {"temperature", 1.5}, {"seed", 3}, {"n", 4}};
  const json a = endpoint_->Complete(request), b = endpoint_->Complete(request);
  std::set<std::string> texts;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(a["choices"][i]["text"], b["choices"][i]["text"]);
    texts.insert(a["choices"][i]["text"]);
  }
  EXPECT_GT(texts.size(), 1u);
}

TEST_F(ApiServerTest, ManyAtOnceGetWhatEachGetsAlone) {
  std::vector<std::string> alone(12), together(12);
  const auto ask = [&](int i) {
    const std::string prompt = "Q: ボブは卵を" + std::to_string(i) + "個持っています。\nA:\n";
    const json body = endpoint_->Complete({{"prompt", prompt}, {"max_tokens", 24}, {"temperature", 0}});
    return body["choices"][0]["text"].get<std::string>();
  };
  for (int i = 0; i < 12; ++i) alone[i] = ask(i);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 12; ++i) threads.emplace_back([&, i] { together[i] = ask(i); });
  threads.clear();
  EXPECT_EQ(together, alone);
}

struct BadCase {
  const char* body;
  int status;
  const char* param;
  const char* message;
};

TEST_F(ApiServerTest, BadRequestsSayWhatIsWrong) {
  const BadCase cases[] = {
      {R"({"model": "ja", "prompt": "x", "max_tokens": -1})", 400, "max_tokens", "max_tokens is -1, not in [0, "},
      {R"({"model": "ja", "prompt": "x", "temperatur": 0})", 400, "temperatur", "did you mean 'temperature'?"},
      {R"({"model": "ja", "prompt": "x", "max_tokens": 4000})", 400, "prompt", "more than this server's 256 positions"},
      {R"({"model": "ja", "prompt": [1, 999999]})", 400, "prompt", "999999, which is no token id in [0, "},
      {R"({"model": "ja", "prompt": ""})", 200, "", ""},  // BOS alone
      {R"({"model": "ja"})", 400, "prompt", "prompt is missing"},
      {R"({"model": "gpt", "prompt": "x"})", 404, "", "model 'gpt' is not served here; this server has 'ja'"},
      {R"({"prompt": "x"})", 400, "model", "model is missing"},
      {R"({"model": "ja", "prompt": "x", "logit_bias": {"5": 1}})", 400, "logit_bias", "is not supported here"},
      {R"({"model": "ja", "prompt": "x", "stop": 5})", 400, "stop", "must be a string or a list of strings"},
      {R"({"model": "ja", "prompt": "x", "n": 100})", 429, "", "the queue is full"},
      {R"([1, 2])", 400, "", "no JSON object"},
      {R"({"model": )", 400, "", "no JSON object"},
  };
  for (const BadCase& c : cases) {
    const httplib::Result result = endpoint_->Send("/v1/completions", c.body);
    ASSERT_TRUE(result) << c.body;
    EXPECT_EQ(result->status, c.status) << c.body << result->body;
    if (c.status == 200) continue;
    const json error = json::parse(result->body)["error"];
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(c.message)) << c.body;
    EXPECT_EQ(error["param"].is_string() ? error["param"].get<std::string>() : "", c.param) << c.body;
  }
  EXPECT_EQ(json::parse(endpoint_->Send("/v1/completions", cases[2].body)->body)["error"]["code"],
            "context_length_exceeded");
  const httplib::Result nowhere = endpoint_->Send("/v1/embeddings", "{}");
  EXPECT_EQ(nowhere->status, 404);
  EXPECT_THAT(nowhere->body, HasSubstr("/v1/completions"));
}

TEST_F(ApiServerTest, ChatNeedsATemplate) {
  const json body =
      endpoint_->Post("/v1/chat/completions", {{"model", "ja"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}});
  EXPECT_THAT(body["error"]["message"].get<std::string>(), HasSubstr("chat template"));
}

TEST(ApiServerChatTest, MessagesGoThroughTheTemplate) {
  Endpoint endpoint("", "{% for m in messages %}{{ m.content }}{% endfor %}");
  httplib::Client client("127.0.0.1", endpoint.port());
  EXPECT_EQ(json::parse(client.Get("/tokenizer_info")->body)["chat_template"],
            "{% for m in messages %}{{ m.content }}{% endfor %}");
  const json messages = {
      {{"role", "system"}, {"content", "Q: "}},
      {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "3+4?"}}, {{"type", "text"}, {"text", "\nA:\n"}}}}}};
  json request = {{"model", "ja"},    {"messages", messages}, {"max_completion_tokens", 8},
                  {"temperature", 0}, {"logprobs", true},     {"top_logprobs", 2}};
  const json body = endpoint.Post("/v1/chat/completions", request);
  ASSERT_TRUE(body.contains("choices")) << body;
  const json& choice = body["choices"][0];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  ASSERT_FALSE(choice["logprobs"]["content"].empty());
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  // A chat prompt spells its own BOS; this template has none.
  const std::vector<int32_t> ids = endpoint.tokenizer().Encode("Q: 3+4?\nA:\n", false).value();
  const json plain = endpoint.Complete({{"prompt", ids}, {"max_tokens", 8}, {"temperature", 0}});
  EXPECT_EQ(choice["message"]["content"], plain["choices"][0]["text"]);

  request["stream"] = true;
  const std::vector<json> events = Events(endpoint.Send("/v1/chat/completions", request.dump())->body);
  std::string text;
  for (const json& event : events) {
    if (event.is_object()) text += event["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(text, choice["message"]["content"]);

  request["messages"] = {
      {{"role", "user"}, {"content", {{{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64,AAAA"}}}}}}}};
  EXPECT_THAT(endpoint.Post("/v1/chat/completions", request)["error"]["message"].get<std::string>(),
              HasSubstr("messages[0].content[0] is a picture, and 'ja' is served without eyes"));
}

TEST(ApiServerKeyTest, OnlyTheBearerOfTheKeyIsAnswered) {
  Endpoint endpoint("secret");
  const std::string body = R"({"model": "ja", "prompt": "x", "max_tokens": 1})";
  EXPECT_EQ(endpoint.Send("/v1/completions", body, "wrong")->status, 401);
  EXPECT_EQ(endpoint.Send("/v1/completions", body)->status, 401);
  EXPECT_EQ(endpoint.Send("/v1/completions", body, "secret")->status, 200);
}

TEST(ApiServerStartTest, AnAddressThatIsTakenIsNamed) {
  Endpoint endpoint;
  ServedModel model;
  model.names = {"x"};
  RequestQueue queue(1);
  const auto tokenizer = Tokenizer::Load(std::string(MG_SOURCE_DIR) + "/examples/ja-math/ja").value();
  model.tokenizer = tokenizer.get();
  const auto second = ApiServer::Start({.port = endpoint.port()}, model, queue);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("127.0.0.1:" + std::to_string(endpoint.port())));
}

}  // namespace
}  // namespace merganser
