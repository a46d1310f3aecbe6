// Pictures over the OpenAI-compatible endpoint: what `merganser generate --image` answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <future>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/worker/evaluate/seeing_model.h"
#include "worker/evaluate/generate.h"
#include "worker/evaluate/serve.h"

namespace merganser {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const char kPlainTemplate[] = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}A:\n";
// As transformers' own LLaVA templates: parts, and a text that is none is dropped.
const char kPartsTemplate[] =
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'image' %}<image>\n"
    "{% elif c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}\n{% endfor %}A:\n";

json ImagePart(const std::string& picture) {
  const std::string media = picture.substr(picture.rfind('.') + 1) == "png" ? "image/png" : "image/jpeg";
  const std::string data = absl::Base64Escape(ReadFile(Picture(picture)).value());
  return {{"type", "image_url"}, {"image_url", {{"url", absl::StrCat("data:", media, ";base64,", data)}}}};
}

json TextPart(const std::string& text) { return {{"type", "text"}, {"text", text}}; }

// `merganser serve MODEL` in this process.
class Server {
 public:
  explicit Server(const std::string& model) {
    std::promise<std::string> url;
    ServeRequest request{model, "m"};
    request.port = 0;
    request.ready = [&](const ServeFacts& facts) { url.set_value(facts.base_url); };
    thread_ = std::jthread([this, request](std::stop_token stop) {
      const absl::Status status = ServeModel(request, CpuOptions(), stop);
      EXPECT_TRUE(status.ok()) << status;
    });
    std::string base = url.get_future().get();
    client_ = std::make_unique<httplib::Client>(base.substr(0, base.rfind("/v1")));
    client_->set_read_timeout(60);
  }

  // The answer to a user's `content`, greedy with the penalty of the published models.
  json Ask(const json& content, const std::string& system = "") {
    json messages = json::array();
    if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
    messages.push_back({{"role", "user"}, {"content", content}});
    const json body = {
        {"model", "m"}, {"messages", messages}, {"max_tokens", 12}, {"temperature", 0}, {"repetition_penalty", 1.5}};
    const httplib::Result result = client_->Post("/v1/chat/completions", body.dump(), "application/json");
    EXPECT_TRUE(result);
    status_ = result ? result->status : 0;
    return result ? json::parse(result->body, nullptr, false) : json();
  }
  std::string Text(const json& content, const std::string& system = "") {
    const json body = Ask(content, system);
    EXPECT_EQ(status_, 200) << body;
    return status_ == 200 ? body["choices"][0]["message"]["content"].get<std::string>() : "";
  }
  // The message of a refusal with 400, and the argument that it is about.
  std::string Refusal(const json& content) {
    const json body = Ask(content);
    EXPECT_EQ(status_, 400) << body;
    return status_ == 400 ? body["error"]["message"].get<std::string>() : "";
  }

 private:
  std::unique_ptr<httplib::Client> client_;
  int status_ = 0;
  std::jthread thread_;
};

class ServePicturesTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/serve_pictures" + std::to_string(::getpid());
    WriteSeeingModel(dir_);
    SetTemplate(kPlainTemplate);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void SetTemplate(const char* text) { std::ofstream(dir_ + "/chat_template.jinja") << text; }

  std::string Generate(const std::vector<std::string>& pictures, const std::string& prompt, const std::string& system = "") {
    GenerateRequest request{dir_, prompt};
    for (const std::string& name : pictures) request.images.push_back(Picture(name));
    request.chat = true;
    request.system = system;
    request.max_new_tokens = 12;
    request.repetition_penalty = 1.5;
    const auto result = GenerateOnce(request, CpuOptions(), {});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->text : "";
  }

  std::string dir_;
};

TEST_F(ServePicturesTest, AnswersAsGenerateDoes) {
  const std::string question = "これは何ですか。";
  for (const char* chat : {kPlainTemplate, kPartsTemplate}) {
    SetTemplate(chat);
    Server server(dir_);
    // The same text before several pictures: what a slot holds of one is not taken for another.
    std::string rocket;
    int whole = 0;
    for (const char* name :
         {"astronaut.png", "camera.png", "chelsea.png", "coffee.png", "horse.png", "page.png", "rocket.jpg"}) {
      const std::string last = rocket;
      rocket = server.Text({ImagePart(name), TextPart(question)});
      EXPECT_NE(rocket, last);
      const std::string generated = Generate({name}, question);
      // A run of bytes that is no UTF-8 as a whole is told apart as it comes, and not behind its end.
      if (absl::StrContains(generated, "\xEF\xBF\xBD\xEF\xBF\xBD")) continue;
      EXPECT_EQ(rocket, generated) << name;
      ++whole;
    }
    EXPECT_GE(whole, 3);
    EXPECT_EQ(server.Text({ImagePart("rocket.jpg"), TextPart(question)}), rocket);
    EXPECT_EQ(server.Text(question), Generate({}, question));
    EXPECT_EQ(server.Text({ImagePart("page.png"), ImagePart("rocket.jpg"), TextPart(question)}, "短く。"),
              Generate({"page.png", "rocket.jpg"}, question, "短く。"));
  }
}

TEST_F(ServePicturesTest, RefusesWhatIsNoPictureInTheRequest) {
  Server server(dir_);
  const auto url = [&](const std::string& value) {
    return server.Refusal({{{"type", "image_url"}, {"image_url", {{"url", value}}}}});
  };
  EXPECT_THAT(url("https://example.org/cat.png"),
              HasSubstr("messages[0].content[0].image_url.url is 'https://example.org/cat.png', "
                        "no data: URL, and nothing is fetched here"));
  EXPECT_THAT(url("file:///etc/passwd"), HasSubstr("nothing is fetched"));
  EXPECT_THAT(url("data:image/gif;base64,R0lGODlh"), HasSubstr("no JPEG or PNG in base64"));
  EXPECT_THAT(url("data:image/png,abc"), HasSubstr("no JPEG or PNG in base64"));
  EXPECT_THAT(url("data:image/png;base64"), HasSubstr("no JPEG or PNG in base64"));
  EXPECT_THAT(url("data:image/png;base64,!!!"), HasSubstr("whose data is no base64"));
  EXPECT_THAT(url("data:image/png;base64,R0lGODlh"), HasSubstr("a picture (1 of 1) that cannot be read"));
  EXPECT_THAT(url("data:image/png;base64," + std::string(14'100'000, 'A')), HasSubstr("more than 10485760"));
  EXPECT_THAT(server.Refusal(json::array({ImagePart("truncated.jpg")})), HasSubstr("cannot be read"));
  EXPECT_THAT(server.Refusal({ImagePart("rocket.jpg"), TextPart("<image>?")}), HasSubstr("2 image tokens"));
  EXPECT_THAT(server.Refusal({{{"type", "image_url"}, {"image_url", "x"}}}), HasSubstr("must be an object with a url"));
  EXPECT_THAT(server.Refusal({{{"type", "input_audio"}}}), HasSubstr("messages[0].content[0] is neither"));
  json high = ImagePart("page.png");
  high["image_url"]["detail"] = "high";
  EXPECT_THAT(server.Refusal(json::array({high})), HasSubstr("image_url.detail is not supported here"));
  EXPECT_THAT(server.Refusal(json(17, ImagePart("one_bit.png"))), HasSubstr("more than 16 pictures"));
}

}  // namespace
}  // namespace merganser
