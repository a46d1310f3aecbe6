// The C ABI of the Rust static library in rust/ (tokenizers and minijinja). Only the .cc files of
// this folder include it; everybody else uses Tokenizer, Template and ChatTemplate.
//
// Rules of every entry point
// - It returns one of the MG_TEXT_ codes. On anything but MG_TEXT_OK it has written `error` (a message that the caller
//   frees) and nothing else; on MG_TEXT_OK it has written `out` and left `error` alone. No panic gets out.
// - MgTextSlice lends bytes for the call. MgTextBuffer and MgTextIds are owned by the caller afterwards and freed with
//   mg_text_buffer_free and mg_text_ids_free (null data is allowed). Handles are freed with their own _free.
// - Handles are immutable: any number of threads may use one at once.
// - Sizes are the caller's to bound: the library allocates in proportion to its input. Template rendering stops after a
//   fixed number of steps with MG_TEXT_RESOURCE_EXHAUSTED.
#ifndef MERGANSER_WORKER_TEXT_RUST_ABI_H_
#define MERGANSER_WORKER_TEXT_RUST_ABI_H_

#include <cstddef>
#include <cstdint>

extern "C" {

enum : int32_t {
  MG_TEXT_OK = 0,
  MG_TEXT_INVALID_ARGUMENT = 1,    // the input is at fault; never retry
  MG_TEXT_INTERNAL = 2,            // a panic was caught
  MG_TEXT_RESOURCE_EXHAUSTED = 3,  // a template ran for too many steps
};

struct MgTextSlice {
  const char* data;
  size_t size;
};
struct MgTextBuffer {
  char* data;
  size_t size;
};
struct MgTextIds {
  uint32_t* data;
  size_t size;
};
struct MgTextTokenizer;  // opaque
struct MgTextTemplate;   // opaque

void mg_text_buffer_free(MgTextBuffer buffer);
void mg_text_ids_free(MgTextIds ids);

// `json`: the bytes of tokenizer.json; its truncation and padding are switched off.
// `added_tokens_decoder`: the JSON object of that name in tokenizer_config.json ("{}" if none),
// whose tokens join the vocabulary.
int32_t mg_text_tokenizer_new(MgTextSlice json, MgTextSlice added_tokens_decoder, MgTextTokenizer** out,
                              MgTextBuffer* error);
void mg_text_tokenizer_free(MgTextTokenizer* tokenizer);
int32_t mg_text_tokenizer_encode(const MgTextTokenizer* tokenizer, MgTextSlice text, bool add_special_tokens, MgTextIds* out,
                                 MgTextBuffer* error);
// All ids in one array; text i ends before ends[i] (`ends` has room for `count`). Runs on several
// threads.
int32_t mg_text_tokenizer_encode_batch(const MgTextTokenizer* tokenizer, const MgTextSlice* texts, size_t count,
                                       bool add_special_tokens, size_t* ends, MgTextIds* out, MgTextBuffer* error);
// Ids outside the vocabulary decode to nothing.
int32_t mg_text_tokenizer_decode(const MgTextTokenizer* tokenizer, const uint32_t* ids, size_t count,
                                 bool skip_special_tokens, MgTextBuffer* out, MgTextBuffer* error);
size_t mg_text_tokenizer_vocab_size(const MgTextTokenizer* tokenizer);
int64_t mg_text_tokenizer_token_id(const MgTextTokenizer* tokenizer,
                                   MgTextSlice token);  // -1: no such token

// `chat` picks the environment (TemplateKind in template.h). `name` appears in error messages.
int32_t mg_text_template_new(MgTextSlice name, MgTextSlice source, bool chat, MgTextTemplate** out, MgTextBuffer* error);
void mg_text_template_free(MgTextTemplate* handle);
// `context`: a JSON object, its members are the variables. `now`: what strftime_now formats, in
// seconds since 1970, UTC.
int32_t mg_text_template_render(const MgTextTemplate* handle, MgTextSlice context, int64_t now, MgTextBuffer* out,
                                MgTextBuffer* error);

}  // extern "C"

#endif  // MERGANSER_WORKER_TEXT_RUST_ABI_H_
