#include "worker/evaluate/serve.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "worker/engine/decoder.h"
#include "worker/evaluate/devices.h"
#include "worker/evaluate/served_vision.h"
#include "worker/evaluate/source_models.h"
#include "worker/serve/api_server.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace merganser {
namespace {

constexpr int64_t kDefaultLength = 4096;
constexpr int kDefaultSequences = 32;
constexpr int64_t kPictureMib = 1024;  // of features, unless the environment says otherwise

std::string LastPart(absl::string_view path) {
  while (absl::ConsumeSuffix(&path, "/")) {
  }
  return std::string(path.substr(path.rfind('/') + 1));
}

}  // namespace

absl::Status ServeModel(const ServeRequest& request, const LocalOptions& options, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(const CheckpointMap models, OpenModels({{"model", request.model}}, options.model_roots));
  const std::shared_ptr<const Checkpoint>& checkpoint = models.begin()->second;
  MG_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer("model", *checkpoint, checkpoint->config().vocab_size));
  const int64_t context = checkpoint->config().MaxContext();
  if (request.max_length > context) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_length is ", request.max_length, ", more than the model's ", context, " positions"));
  }

  EngineOptions engine;
  MG_ASSIGN_OR_RETURN(engine.device, DeviceOf(options));
  MG_ASSIGN_OR_RETURN(engine.compute, ComputeOf(options, engine.device));
  engine.cuda_graphs = options.cuda_graphs;
  engine.threads = ThreadsOf(options);
  engine.max_sequences = options.max_sequences > 0 ? options.max_sequences : kDefaultSequences;
  engine.max_length = request.max_length > 0 ? request.max_length : std::min(context, kDefaultLength);
  engine.eos_token_ids = checkpoint->generation_config().eos_token_ids;
  engine.decode = [&](absl::Span<const int32_t> tokens) { return tokenizer->Decode(tokens, true); };
  MG_ASSIGN_OR_RETURN(const auto decoder, Decoder::Create(checkpoint->config(), engine));
  MG_RETURN_IF_ERROR(decoder->LoadWeights(CheckpointWeights(checkpoint)));

  ServedModel model;
  model.names = {request.name.empty() ? LastPart(request.model) : request.name, request.model};
  model.tokenizer = tokenizer.get();
  model.chat_template = ChatTemplate::Load(checkpoint->dir());
  model.max_length = decoder->max_length();
  model.vocab_size = checkpoint->config().vocab_size;
  model.created = absl::ToUnixSeconds(absl::Now());
  std::unique_ptr<ImageFeatureCache> images;
  std::unique_ptr<ServedVision> vision;
  if (IsVisionModel(*checkpoint)) {
    MG_ASSIGN_OR_RETURN(const int64_t bytes_max, ImageFeatureCache::BytesMax(kPictureMib));
    MG_ASSIGN_OR_RETURN(
        images, ImageFeatureCache::Create(checkpoint, engine.device, bytes_max, ImageFeatureCache::Keeping::kLatest));
    vision = std::make_unique<ServedVision>(*images, engine.threads);
    model.pictures = vision.get();
  }
  RequestQueue queue(static_cast<size_t>(std::max(1, request.queue)));
  ApiServerOptions server_options{request.host, request.port, request.api_key, request.connections};
  MG_ASSIGN_OR_RETURN(const auto server, ApiServer::Start(server_options, model, queue));
  if (request.ready) {
    request.ready({server->base_url(), model.names[0], decoder->description(), model.max_length, decoder->max_sequences()});
  }
  const absl::Status status = decoder->Serve(queue, stop);
  queue.Close();  // before the server goes: its threads wait for answers
  return status;
}

}  // namespace merganser
