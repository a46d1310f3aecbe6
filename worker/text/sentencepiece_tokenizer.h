// Checkpoints that hold only SentencePiece's model: the tokenizer.json that transformers 5 makes of them.
#ifndef MERGANSER_WORKER_TEXT_SENTENCEPIECE_TOKENIZER_H_
#define MERGANSER_WORKER_TEXT_SENTENCEPIECE_TOKENIZER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/text/tokenizer_config.h"

namespace merganser {

// `model`: the bytes of tokenizer.model or spiece.model. Which of transformers' ways is taken follows its AutoTokenizer:
// - LlamaTokenizer: merges in the pieces' order; a space before the text (`legacy`: before each part between added tokens);
//   so also where the pieces are unigrams, with a warning
// - GemmaTokenizer: the same merges, no space before the text
// - T5Tokenizer: unigrams, white space dropped, a space before each word; EOS at the end; extra_ids; unknown is id 2, and
//   there are no bytes for what is unknown, whatever the model says (so does transformers)
// - no class, a general one (PreTrainedTokenizerFast), or a model type whose class transformers passes over (mistral,
//   llava ...): the model's own normalizer; merges by score, or unigrams: as SentencePiece itself encodes
// Control and user-defined pieces, the special tokens and added_tokens_decoder (else added_tokens.json) become added tokens;
// what has no piece gets the ids behind the pieces. What `config->special_tokens` leaves open is set to the class's or the
// model's own; T5Tokenizer also decides add_bos_token and add_eos_token. InvalidArgument: errors of
// SentencePieceModel::Parse, a token of added_tokens_decoder whose id would be another, extra_ids beside pieces of that
// name. FailedPrecondition: a class that is converted in a way of its own (AlbertTokenizer, say).
absl::StatusOr<std::string> TokenizerJsonOfSentencePiece(absl::string_view model, TokenizerConfig* config);

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_SENTENCEPIECE_TOKENIZER_H_
