// What kernels that blend tokens read. Included by this folder's sources only.
#pragma once

#include <algorithm>
#include <array>

#include "kernels/token_pairs.h"
#include "kernels/token_shift.h"

namespace rwkvlab::kernels {

template <class Real>
using Inputs = std::array<const Real*, max_token_mixes>;
template <class Real>
using Outputs = std::array<Real*, max_token_mixes>;

/// One blend per element of `mix` that takes part.
template <class Real>
struct Mixing {
  /// `no_token`: room for the zeros [channels] that stand where there is no token.
  Mixing(const SequenceSize& given_size, const TokenPairs& given_pairs, const Real* given_x, const Real* previous,
         Real* no_token)
      : size(given_size),
        pairs(given_pairs),
        x(given_x),
        before(previous != nullptr ? previous : no_token),
        before_stride(previous != nullptr ? given_size.channels : 0),
        zeros(no_token) {
    std::fill_n(no_token, size.channels, Real(0));
  }

  SequenceSize size;
  TokenPairs pairs;
  const Real* x;
  const Real* before;  ///< row that precedes token 0 of batch entry b at before + b * before_stride
  Index before_stride;
  Inputs<Real> mix{};
  Inputs<Real> grad{};
  Outputs<Real> out{};
  const Real* zeros;
  Real* grad_x = nullptr;

  /// What row `row`, token t of its sequence, is mixed with in the channels of a group.
  RWKVLAB_INLINE const Real* partner(const TokenShift::Group& group, Index row, Index t) const {
    const Index source = pairs.source(group, row, t);
    return source >= 0 ? x + source * size.channels : before + row / size.time * before_stride;
  }
};

}  // namespace rwkvlab::kernels
