// Small checkpoints on disk for the tests of recipes: Llamas of four layers whose weights follow from a formula.
#ifndef MERGANSER_TESTS_WORKER_MERGE_SMALL_CHECKPOINTS_H_
#define MERGANSER_TESTS_WORKER_MERGE_SMALL_CHECKPOINTS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/checkpoint/safetensors_writer.h"

namespace merganser::testing_merge {

struct StoredTensor {
  TensorHeader header;
  std::vector<float> values;  // stored in the header's type (F32, BF16, F16; I32 and I64 by truncation)
};

// A checkpoint to be changed before it is written.
struct SmallCheckpoint {
  std::string config;  // JSON text
  std::vector<StoredTensor> tensors;

  StoredTensor* Find(const std::string& name);
  void Remove(const std::string& name);
};

// Model `number` of tests/golden/mergekit_recipe_goldens.py: hidden 4, MLP 6, 4 layers, 8 rows, fp32.
SmallCheckpoint SmallLlama(int number);

// The element that the formula gives.
float FormulaValue(int model, int tensor, int element);

// Writes it to a new folder, which is removed when the process ends; `files` are added. Returns the folder.
std::string Write(const SmallCheckpoint& checkpoint, const std::map<std::string, std::string>& files = {});

// tokenizer.json of a BPE vocabulary without merges: `tokens` from 0 on, then the special tokens `added`.
std::string TokenizerJson(const std::vector<std::string>& tokens, const std::vector<std::string>& added = {});

// A new, empty folder, removed likewise.
std::string NewTestFolder();

// Replaces the first `from` of `text`.
void ReplaceText(std::string& text, const std::string& from, const std::string& to);

// The tensors of a written checkpoint, as fp32.
std::map<std::string, std::vector<float>> ReadTensors(const std::string& dir);

std::string ReadWhole(const std::string& path);

}  // namespace merganser::testing_merge

#endif  // MERGANSER_TESTS_WORKER_MERGE_SMALL_CHECKPOINTS_H_
