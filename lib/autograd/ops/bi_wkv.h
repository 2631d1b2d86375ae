// The Bi-WKV operator of Vision-RWKV (arXiv:2403.02308): per channel, a softmax-weighted mean of the values of all
// tokens.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// Which tokens and which arithmetic.
enum class BiWkvForm {
  paper,          ///< the paper's equation 5
  causal,         ///< the same over the tokens up to t
  official_cuda,  ///< what the published GPU kernels compute in its place: see kernels/bi_wkv.h
};

/// y_t = Σ_i P_ti v_i, P_ti = softmax over i of k_i - (|t-i|-1) w for i != t and u + k_t for i = t. decay w, first u:
/// [channels], as they enter the exponents (Vision-RWKV divides both by the number of tokens); k, v: [batch, tokens,
/// channels]. w may have any sign. Time and memory are linear in the tokens.
Var bi_wkv(const Var& decay, const Var& first, const Var& k, const Var& v, BiWkvForm form = BiWkvForm::paper);

/// The operator of VRWKV6, the variant of Vision-RWKV with matrix-valued states: per head, a state is carried from the
/// first token to the last, y_t = r_tᵀ (S + diag(u) k_t v_tᵀ), S <- diag(d_t) S + k_t v_tᵀ, d = exp(-exp(decay));
/// another from the last token to the first, which adds r_tᵀ S' without u. receptance, k, v, decay: [batch, tokens,
/// channels]; bonus u: `channels` elements.
struct BiWkv6Inputs {
  Var receptance, key, value, decay, bonus;
  std::int64_t head_size = 64;
};
Var bi_wkv6(const BiWkv6Inputs& inputs);

}  // namespace rwkvlab
