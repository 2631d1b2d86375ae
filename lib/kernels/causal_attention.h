// Softmax attention of every query to the keys up to its own time (Vaswani et al., arXiv:1706.03762), computed block by
// block of queries so that the weights are never stored (Dao et al., arXiv:2205.14135), with the linear biases of
// ALiBi (Press et al., arXiv:2108.12409). Per head, with P = keys - queries tokens in front of the first query:
//   s_ti = q_t·k_i / sqrt(head_size) - slope (P + t - i)    for i <= P + t
//   p_t  = softmax_i(s_ti)          y_t = Σ_i p_ti v_i
//   dv_i = Σ_t p_ti dy_t            dp_ti = dy_t·v_i            ds_ti = p_ti (dp_ti - Σ_j p_tj dp_tj)
//   dq_t = Σ_i ds_ti k_i / sqrt(head_size)                      dk_i = Σ_t ds_ti q_t / sqrt(head_size)
// What the backward pass keeps of the softmax are the maximum and the inverse of the sum of every row.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Channels = heads · head_size; head h owns the channels from h · head_size. At least as many keys as queries.
struct CausalAttentionSize {
  Index batch = 0;
  Index queries = 0;
  Index keys = 0;
  Index heads = 0;
  Index head_size = 0;
  bool sees_all = false;  ///< every query sees every key, whatever its time; no slopes then
  Index channels() const { return heads * head_size; }
};

template <class Real>
struct CausalAttentionForward {
  CausalAttentionSize size;
  const double* slopes;  ///< [heads], or null for no bias
  const Real* query;     ///< [batch, queries, channels]
  const Real* key;       ///< [batch, keys, channels]
  const Real* value;     ///< [batch, keys, channels]
  Real* y;               ///< out [batch, queries, channels]
  Real* softmax;         ///< out [batch, heads, queries, 2]: maximum and 1 / sum of each row
};
/// Threads over batch x heads. Only the blocks on and below the diagonal are computed.
template <class Real>
void causal_attention_forward(const CausalAttentionForward<Real>& call);

template <class Real>
struct CausalAttentionBackward {
  CausalAttentionSize size;
  const double* slopes;
  const Real* query;
  const Real* key;
  const Real* value;
  const Real* softmax;  ///< as the forward pass left it
  const Real* grad_y;   ///< [batch, queries, channels]
  Real* grad_query;     ///< out, like query
  Real* grad_key;       ///< out, like key
  Real* grad_value;     ///< out, like value
};
template <class Real>
void causal_attention_backward(const CausalAttentionBackward<Real>& call);

/// Tells the recorders of products what one forward or backward pass multiplies. The passes themselves do not, because
/// they multiply on several threads.
void note_causal_attention(const CausalAttentionSize& size, bool backward);

}  // namespace rwkvlab::kernels
