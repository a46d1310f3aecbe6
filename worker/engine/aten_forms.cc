#include "worker/engine/aten_forms.h"

#include "absl/strings/str_cat.h"

namespace merganser {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return at::rms_norm(x, {x.size(-1)}, c10::nullopt, eps).mul_(weight);
}

at::Tensor GemmaNorm(const at::Tensor& x, const at::Tensor& weight_plus_one, double eps) {
  return at::rms_norm(x.to(at::kFloat), {x.size(-1)}, c10::nullopt, eps).mul_(weight_plus_one).to(x.scalar_type());
}

void RotateHeads(at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor rolled = at::roll(heads, heads.size(-1) / 2, -1);
  heads.mul_(cos).add_(rolled.mul(sin));
}

void AddScaled(at::Tensor& x, at::Tensor y, float scale) { x.add_(scale == 1.0f ? y : y.mul(scale)); }

void Softcap(at::Tensor& x, double cap) { x.div_(cap).tanh_().mul_(cap); }

absl::Status CheckActivation(const std::string& name) {
  for (const char* known : {"silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"}) {
    if (name == known) return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat("hidden_act '", name, "' is not supported by the engine"));
}

at::Tensor Activate(const at::Tensor& gate, const std::string& name) {
  if (name == "silu") return at::silu(gate);
  if (name == "relu") return at::relu(gate);
  return at::gelu(gate, name == "gelu" ? "none" : "tanh");
}

}  // namespace merganser
