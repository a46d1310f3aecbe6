// The operations of a decoder layer in the forms that round as transformers rounds: in bf16 each of
// them gives transformers' bits (tests/worker/engine/rounding_test.cc).
#ifndef MERGANSER_WORKER_ENGINE_ATEN_FORMS_H_
#define MERGANSER_WORKER_ENGINE_ATEN_FORMS_H_

#include <ATen/ATen.h>

#include <string>

#include "absl/status/status.h"

namespace merganser {

// x / rms(x) over the last dimension in fp32, rounded, and then multiplied by `weight`.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// Gemma's: multiplied by 1 + weight in fp32, and then rounded. `weight_plus_one` is fp32.
at::Tensor GemmaNorm(const at::Tensor& x, const at::Tensor& weight_plus_one, double eps);

// Rotates heads [tokens, heads, head_dim] in place: x cos + roll(x) sin, with three roundings.
// `cos` and `sin` are [tokens, 1, head_dim], sin negative in its first half.
void RotateHeads(at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin);

// x += scale * y, the product rounded before the sum.
void AddScaled(at::Tensor& x, at::Tensor y, float scale);

// cap * tanh(x / cap), each step rounded, in place.
void Softcap(at::Tensor& x, double cap);

// OK if Activate knows the name; else Unimplemented.
absl::Status CheckActivation(const std::string& name);
// REQUIRES: CheckActivation(name) is OK.
at::Tensor Activate(const at::Tensor& gate, const std::string& name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ATEN_FORMS_H_
