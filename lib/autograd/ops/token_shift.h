// Token shift: every token blended with its predecessor.
#pragma once

#include <vector>

#include "autograd/var.h"
#include "kernels/token_grid.h"

namespace rwkvlab {

/// Which token a mix is the weight of.
enum class MixedToken { current, previous };

/// out_j = x ⊙ mix_j + shifted ⊙ (1 - mix_j) for every mix, where shifted_t = x_{t-1} and shifted_0 = `previous` (or 0
/// when that is none). With MixedToken::previous, out_j = x ⊙ (1 - mix_j) + shifted ⊙ mix_j. x: [batch, time,
/// channels]; previous: [batch, channels]; a mix has `channels` elements. With a `shift`, that says what shifted_t is,
/// and there is no `previous`.
std::vector<Var> token_mix(const Var& x, const Var& previous, const std::vector<Var>& mixes,
                           MixedToken weighs = MixedToken::current, const TokenShift* shift = nullptr);

/// What `shift` has every token mixed with, [batch, tokens, channels].
Var shift_tokens(const Var& x, const TokenShift& shift);

/// The last token of every row, [batch, channels]: what the next chunk's token shift starts from.
Var last_token(const Var& x);

}  // namespace rwkvlab
