// LSTM and GRU, one layer (torch.nn.LSTM and torch.nn.GRU; the equations are in kernels/recurrent.h).
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

struct LstmResult {
  Var y;         ///< [batch, time, H], every hidden state
  Var memories;  ///< [batch, time, H], every memory cell
};

/// input: W_ih x + b_ih, [batch, time, 4 H]; weight: W_hh [4 H, H]; bias: b_hh [4 H]; hidden, memory: [batch, H] before
/// the first token, or none for 0. Blocks of channels in the order i, f, g, o.
LstmResult lstm(const Var& input, const Var& weight, const Var& bias, const Var& hidden, const Var& memory);

/// The same with 3 H channels in the order reset, update, new; result [batch, time, H].
Var gru(const Var& input, const Var& weight, const Var& bias, const Var& hidden);

}  // namespace rwkvlab
