// The recurrences of LSTM (Hochreiter, Schmidhuber, Neural Computation 9(8), 1997, with forget gates) and GRU (Cho et
// al., arXiv:1406.1078, the reset gate applied after the product, as torch.nn.GRU has it). With a_t the products of the
// input and r_t = W h_{t-1} + b, both cut into blocks of H channels:
//   LSTM  i, f, o = σ(a + r)   g = tanh(a + r)   c_t = f ⊙ c_{t-1} + i ⊙ g   h_t = o ⊙ tanh(c_t)     blocks i, f, g, o
//   GRU   ρ, z = σ(a + r)   n = tanh(a_n + ρ ⊙ r_n)   h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}                blocks ρ, z, n
//
// Each thread carries some rows of the batch through the whole sequence, so that no step waits for another thread. Why
// not oneDNN's RNN primitives: they have no float64, which gradient checks and `verify --precision float64` need, and
// as with oneDNN's threaded products nothing promises the same bits for every number of threads. The recurrent product
// of a step, which takes most of the time, is oneDNN's anyway.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

enum class Cell { lstm, gru };

/// Blocks of channels in the products of input and hidden state: 4 or 3.
constexpr Index blocks_of(Cell cell) { return cell == Cell::lstm ? 4 : 3; }

/// H = size.channels, n = blocks_of(cell).
template <class Real>
struct RecurrentForward {
  Cell cell;
  SequenceSize size;
  const Real* input;   ///< [batch, time, n H], the products a
  const Real* weight;  ///< [n H, H]
  const Real* bias;    ///< [n H]
  const Real* hidden;  ///< [batch, H] before the first token, or null for 0
  const Real* memory;  ///< [batch, H], the LSTM's c, or null for 0
  Real* y;             ///< out [batch, time, H], every h_t
  Real* memories;      ///< out [batch, time, H], every c_t; LSTM only
  Real* gates;         ///< out [batch, time, 4, H], for the backward pass: i, f, g, o or ρ, z, n, r_n
};
template <class Real>
void recurrent_forward(const RecurrentForward<Real>& call);

/// The gradients of weight and bias are those of a product with grad_recurrent: W gets Σ_t grad_recurrent_t
/// h_{t-1}ᵀ and b gets Σ_t grad_recurrent_t.
template <class Real>
struct RecurrentBackward {
  Cell cell;
  SequenceSize size;
  const Real* weight;
  const Real* hidden;
  const Real* memory;
  const Real* y;
  const Real* memories;
  const Real* gates;
  const Real* grad_y;         ///< [batch, time, H]
  const Real* grad_memories;  ///< [batch, time, H] or null
  Real* grad_input;           ///< out [batch, time, n H], of a
  Real* grad_recurrent;       ///< out [batch, time, n H], of r; the same array as grad_input for the LSTM
  Real* grad_hidden;          ///< out [batch, H] or null
  Real* grad_memory;          ///< out [batch, H] or null
};
template <class Real>
void recurrent_backward(const RecurrentBackward<Real>& call);

/// Tells the recorders of products what the recurrent products of one pass are.
void note_recurrent(Cell cell, const SequenceSize& size, bool backward);

}  // namespace rwkvlab::kernels
