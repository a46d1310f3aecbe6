#include "worker/evaluate/generate.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/engine/decoder.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/source_models.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace merganser {
namespace {

absl::StatusOr<std::vector<int32_t>> EncodePrompt(const GenerateRequest& request, const std::string& dir,
                                                  const Tokenizer& tokenizer) {
  if (!request.chat) {
    if (!request.system.empty()) {
      return absl::InvalidArgumentError("system: a system text needs the chat template; add --chat");
    }
    return tokenizer.Encode(request.prompt, /*add_special_tokens=*/true);
  }
  MG_ASSIGN_OR_RETURN(const auto chat, ChatTemplate::Load(dir));
  nlohmann::json messages = nlohmann::json::array();
  if (!request.system.empty()) messages.push_back({{"role", "system"}, {"content", request.system}});
  messages.push_back({{"role", "user"}, {"content", request.prompt}});
  // Bytes that are no UTF-8 become U+FFFD instead of an exception.
  const std::string json = messages.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  MG_ASSIGN_OR_RETURN(const std::string text, chat.Render(json, /*add_generation_prompt=*/true));
  return tokenizer.Encode(text, /*add_special_tokens=*/false);
}

absl::string_view Word(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos: return "eos";
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
  }
  return "unknown";
}

}  // namespace

absl::StatusOr<GenerateResult> GenerateOnce(const GenerateRequest& request, const LocalOptions& options,
                                            std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(const CheckpointMap models, OpenModels({{"model", request.model}}, options.model_roots));
  const std::shared_ptr<const Checkpoint>& checkpoint = models.begin()->second;
  MG_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(checkpoint->dir()));
  GenerationRequest generation{{}, request.max_new_tokens, request.stop};
  MG_ASSIGN_OR_RETURN(generation.prompt, EncodePrompt(request, checkpoint->dir(), *tokenizer));
  generation.sampling = {request.temperature, request.top_k, request.top_p, request.repetition_penalty, request.seed};
  generation.beams.count = request.beams;
  if (request.beams > 1 && request.temperature > 0) {
    return absl::InvalidArgumentError("temperature: beam search takes the most likely tokens; leave out --beams or --temperature");
  }

  EngineOptions engine;
  MG_ASSIGN_OR_RETURN(engine.device, DeviceOf(options));
  engine.threads = ThreadsOf(options);
  engine.max_sequences = std::clamp(request.beams, 1, 64);
  engine.max_length = std::min<int64_t>(checkpoint->config().MaxContext(),
                                        static_cast<int64_t>(generation.prompt.size()) + request.max_new_tokens);
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
  result.generated_tokens = timings.generated_tokens;
  result.prefill_seconds = timings.prefill_seconds;
  result.decode_seconds = timings.decode_seconds;
  return result;
}

}  // namespace merganser
