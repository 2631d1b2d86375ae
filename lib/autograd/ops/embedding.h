// Rows of a table or of a sequence by number, and the copy head's inverse of it.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// table[tokens]. tokens: int64 [batch, time]; table: [vocabulary, channels]; result [batch, time, channels]. Throws
/// DataError naming the first token outside the vocabulary.
Var embedding(const Tensor& tokens, const Var& table);

/// Rows of x by number: result [1, count, channels], row i being row rows[i] of x seen as [rows, channels]. rows: int64
/// [count]; numbers may repeat. x: [..., channels]. Throws BugError for a number outside x.
Var gather_rows(const Var& x, const Tensor& rows);

/// logits with weights[b, t, j] added at column tokens[b, j]: the product of the weights with one-hot tokens. weights:
/// [batch, time, time]; logits: [batch, time, vocabulary].
Var add_at_tokens(const Var& logits, const Var& weights, const Tensor& tokens);

}  // namespace rwkvlab
