// The attention-free transformer's weighted mean with learned pairwise biases (AFT-full; Zhai et al.,
// arXiv:2105.14103), per channel, over the tokens up to the query's own, P = keys - queries of them in front of the
// first query:
//   y_t = Σ_i p_ti v_i,   p_ti = e^{k_i + w_{P+t,i}} / Σ_j e^{k_j + w_{P+t,j}},   i, j <= P + t
//   dv_i = Σ_t p_ti dy_t      dk_i = Σ_t p_ti dy_t (v_i - y_t)      dw_{P+t,i} = Σ_channels,batch of the same terms
// The largest exponent of every (t, channel) is subtracted, so that no key overflows; the paper's form, one matrix
// product of e^w with e^k, needs the maxima of all keys, and then the future changes the rounding of the past.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

struct AftSize {
  Index batch = 0;
  Index queries = 0;
  Index keys = 0;  ///< at least `queries`
  Index channels = 0;
  Index length = 0;  ///< side of the bias matrix, at least `keys`
};

template <class Real>
struct AftForward {
  AftSize size;
  const Real* bias;   ///< [length, length], row = query, column = key
  const Real* key;    ///< [batch, keys, channels]
  const Real* value;  ///< [batch, keys, channels]
  Real* y;            ///< out [batch, queries, channels]
  Real* log_sum;      ///< out [batch, queries, channels]: the logarithm of the denominator
};
template <class Real>
void aft_forward(const AftForward<Real>& call);

template <class Real>
struct AftBackward {
  AftSize size;
  const Real* bias;
  const Real* key;
  const Real* value;
  const Real* y;
  const Real* log_sum;
  const Real* grad_y;
  Real* grad_bias;   ///< out [length, length], 0 where nothing was read
  Real* grad_key;    ///< out, like key
  Real* grad_value;  ///< out, like value
};
template <class Real>
void aft_backward(const AftBackward<Real>& call);

}  // namespace rwkvlab::kernels
