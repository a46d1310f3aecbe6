#include "worker/evaluate/generate.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/engine/decoder.h"
#include "worker/engine/sampler.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"
#include "worker/vision/image_prompt.h"
#include "worker/vision/vision_model.h"

namespace merganser {
namespace {

constexpr absl::string_view kImageMark = "<image>";

// The prompt with a mark for each image: LLaVA's own habit puts them first, each on a line.
std::string MarkedPrompt(const GenerateRequest& request) {
  if (request.images.empty() || absl::StrContains(request.prompt, kImageMark)) return request.prompt;
  std::string marked;
  for (size_t i = 0; i < request.images.size(); ++i) absl::StrAppend(&marked, kImageMark, "\n");
  return marked + request.prompt;
}

// A user's message as multimodal templates want it: {"type": "image"} for each mark, {"type": "text"} for what is between.
nlohmann::json ContentParts(absl::string_view marked) {
  nlohmann::json parts = nlohmann::json::array();
  bool first = true;
  for (const absl::string_view text : absl::StrSplit(marked, kImageMark)) {
    if (!first) parts.push_back({{"type", "image"}});
    first = false;
    const absl::string_view stripped = absl::StripAsciiWhitespace(text);
    if (!stripped.empty()) parts.push_back({{"type", "text"}, {"text", std::string(stripped)}});
  }
  return parts;
}

absl::StatusOr<std::vector<int32_t>> EncodePrompt(const GenerateRequest& request, const std::string& dir,
                                                  const Tokenizer& tokenizer) {
  const std::string prompt = MarkedPrompt(request);
  if (!request.chat) {
    if (!request.system.empty()) {
      return absl::InvalidArgumentError("system: a system text needs the chat template; add --chat");
    }
    return tokenizer.Encode(prompt, /*add_special_tokens=*/true);
  }
  MG_ASSIGN_OR_RETURN(const auto chat, ChatTemplate::Load(dir));
  nlohmann::json messages = nlohmann::json::array();
  if (!request.system.empty()) messages.push_back({{"role", "system"}, {"content", request.system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  // Bytes that are no UTF-8 become U+FFFD instead of an exception.
  const auto render = [&] {
    return chat.Render(messages.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                       /*add_generation_prompt=*/true);
  };
  absl::StatusOr<std::string> text_or = render();
  if (!request.images.empty() && (!text_or.ok() || !absl::StrContains(*text_or, kImageMark))) {
    // A template for parts drops or refuses plain text.
    messages.back()["content"] = ContentParts(prompt);
    if (!request.system.empty()) messages[0]["content"] = {{{"type", "text"}, {"text", request.system}}};
    text_or = render();
  }
  MG_RETURN_IF_ERROR(text_or.status());
  const std::string& text = *text_or;
  return tokenizer.Encode(text, /*add_special_tokens=*/false);
}

// The images' features in their places. `features` must outlive the request.
absl::Status PutImages(const GenerateRequest& request, const std::shared_ptr<const Checkpoint>& checkpoint,
                       const std::string& device, std::vector<ImageFeatures>& features, GenerationRequest& generation) {
  if (request.images.empty()) return absl::OkStatus();
  if (!IsVisionModel(*checkpoint)) {
    return absl::InvalidArgumentError(
        absl::StrCat("images: '", checkpoint->dir(), "' is a ", checkpoint->config().architecture, ", which does not see"));
  }
  MG_ASSIGN_OR_RETURN(const auto vision, VisionModel::Load(checkpoint, device));
  std::vector<int> rows;
  for (const std::string& path : request.images) {
    MG_ASSIGN_OR_RETURN(const Image image, ReadImage(path));
    absl::StatusOr<ImageFeatures> encoded = EncodeImage(*vision, image);
    if (!encoded.ok()) return Annotate(encoded.status(), path);
    rows.push_back(encoded->rows);
    features.push_back(*std::move(encoded));
  }
  MG_ASSIGN_OR_RETURN(ImagePrompt prompt, ExpandImageTokens(generation.prompt, vision->config().image_token_id, rows));
  generation.prompt = std::move(prompt.tokens);
  for (size_t i = 0; i < features.size(); ++i) {
    generation.embeddings.push_back({prompt.positions[i], features[i].rows, features[i].values.data()});
  }
  return absl::OkStatus();
}

absl::string_view Word(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
  }
  return "unknown";
}

// What the engine would refuse, before anything is loaded.
absl::Status Check(const GenerateRequest& request) {
  if (request.max_new_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat("max_new_tokens is ", request.max_new_tokens, ", below 1"));
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty()) return absl::InvalidArgumentError("stop: a text to end at is empty");
  }
  MG_RETURN_IF_ERROR(
      Validate(Sampling{request.temperature, request.top_k, request.top_p, request.repetition_penalty, request.seed}));
  MG_RETURN_IF_ERROR(Validate(Beams{.count = request.beams}));
  if (request.beams > 1 && request.temperature > 0) {
    return absl::InvalidArgumentError(
        "temperature: beam search takes the most likely tokens; leave out --beams or --temperature");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GenerateResult> GenerateOnce(const GenerateRequest& request, const LocalOptions& options,
                                            std::stop_token stop) {
  MG_RETURN_IF_ERROR(Check(request));
  MG_ASSIGN_OR_RETURN(const CheckpointMap models, OpenModels({{"model", request.model}}, options.model_roots));
  const std::shared_ptr<const Checkpoint>& checkpoint = models.begin()->second;
  MG_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer("model", *checkpoint, checkpoint->config().vocab_size));
  GenerationRequest generation{{}, request.max_new_tokens, request.stop};
  MG_ASSIGN_OR_RETURN(generation.prompt, EncodePrompt(request, checkpoint->dir(), *tokenizer));
  generation.sampling = {request.temperature, request.top_k, request.top_p, request.repetition_penalty, request.seed};
  generation.beams.count = request.beams;

  EngineOptions engine;
  MG_ASSIGN_OR_RETURN(engine.device, DeviceOf(options));
  MG_ASSIGN_OR_RETURN(engine.compute, ComputeOf(options, engine.device));
  engine.cuda_graphs = options.cuda_graphs;
  std::vector<ImageFeatures> features;
  MG_RETURN_IF_ERROR(PutImages(request, checkpoint, engine.device, features, generation));
  engine.threads = ThreadsOf(options);
  engine.max_sequences = std::clamp(request.beams, 1, 64);
  const int64_t context = checkpoint->config().MaxContext();
  engine.max_length = static_cast<int64_t>(generation.prompt.size()) + request.max_new_tokens;
  if (engine.max_length > context) {
    return absl::InvalidArgumentError(absl::StrCat("max_new_tokens: a prompt of ", generation.prompt.size(), " tokens and ",
                                                   request.max_new_tokens, " new ones are more than the ", context,
                                                   " positions of ", checkpoint->dir(), "/config.json"));
  }
  engine.eos_token_ids = checkpoint->generation_config().eos_token_ids;
  engine.decode = [&](absl::Span<const int32_t> tokens) { return tokenizer->Decode(tokens, true); };
  MG_ASSIGN_OR_RETURN(const auto decoder, Decoder::Create(checkpoint->config(), engine));
  MG_RETURN_IF_ERROR(decoder->LoadWeights(CheckpointWeights(checkpoint)));
  MG_ASSIGN_OR_RETURN(const std::vector<Generation> generations, decoder->Generate({generation}, stop, nullptr));

  GenerateResult result;
  MG_ASSIGN_OR_RETURN(result.text, tokenizer->Decode(generations[0].tokens, /*skip_special_tokens=*/true));
  size_t cut = result.text.size();
  for (const std::string& s : request.stop) cut = std::min(cut, result.text.find(s));
  result.text.resize(std::min(cut, result.text.size()));
  result.finish_reason = std::string(Word(generations[0].reason));
  const GenerationTimings timings = decoder->timings();
  result.prompt_tokens = timings.prompt_tokens;
  result.generated_tokens = static_cast<int64_t>(generations[0].tokens.size());  // the timings count all beams
  if (generations[0].reason == FinishReason::kEos) ++result.generated_tokens;
  result.prefill_seconds = timings.prefill_seconds;
  result.decode_seconds = timings.decode_seconds;
  return result;
}

}  // namespace merganser
