// Activations and gates. One table of functions and derivatives serves both.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

enum class Activation {
  relu,          ///< max(x, 0); derivative 0 at 0
  squared_relu,  ///< max(x, 0)^2 (So et al., arXiv:2109.08668)
  gelu,          ///< x Phi(x), Phi the normal distribution function (Hendrycks, Gimpel, arXiv:1606.08415)
  gelu_tanh,     ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the approximation of the same paper
  silu,          ///< x sigmoid(x)
  sigmoid,       ///< 1 / (1 + e^-x)
  tanh,          ///< tanh(x)
  mish,          ///< x tanh(log(1 + e^x)) (Misra, arXiv:1908.08681)
  softplus,      ///< log(1 + e^x)
  exp,           ///< e^x
  elu_plus_one,  ///< x + 1 above 0, e^x below (Katharopoulos et al., arXiv:2006.16236)
};

/// y = f(x). In place if wished.
template <class Real>
void activation_forward(Activation kind, Index count, const Real* x, Real* y);
/// grad_x = grad_y f'(x). In place of grad_y if wished.
template <class Real>
void activation_backward(Activation kind, Index count, const Real* x, const Real* grad_y, Real* grad_x);

/// out = f(gate) * value: sigmoid(r) * y of RWKV's receptance, mish(b) * a of MishGLU. In place of either if wished.
template <class Real>
void gate_forward(Activation kind, Index count, const Real* gate, const Real* value, Real* out);
/// grad_gate = grad_out value f'(gate); grad_value = grad_out f(gate). Each may be in place of any input.
template <class Real>
void gate_backward(Activation kind, Index count, const Real* gate, const Real* value, const Real* grad_out,
                   Real* grad_gate, Real* grad_value);

}  // namespace rwkvlab::kernels
