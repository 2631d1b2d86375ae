#include "kernels/activation.h"

#include <cmath>
#include <numbers>

#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// f(x) and f'(x); the compiler drops whichever is not used.
template <class Real>
struct Point {
  Real value;
  Real slope;
};

struct Relu {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    return {x > 0 ? x : Real(0), x > 0 ? Real(1) : Real(0)};
  }
};
struct SquaredRelu {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real positive = x > 0 ? x : Real(0);
    return {positive * positive, 2 * positive};
  }
};
struct Gelu {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real cumulative = Real(0.5) * (1 + vector_erf(x * static_cast<Real>(std::numbers::sqrt2 / 2)));
    const Real density = static_cast<Real>(0.3989422804014327) * vector_exp_nonpositive(Real(-0.5) * x * x);
    return {x * cumulative, cumulative + x * density};
  }
};
struct GeluTanh {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real factor = static_cast<Real>(0.7978845608028654), cubic = static_cast<Real>(0.044715);
    // Beyond 10 the cube's overflow would meet a zero; the function is x or 0 there to the last digit.
    const Real near = x > 10 ? Real(10) : (x < -10 ? Real(-10) : x);
    const Real t = vector_tanh(factor * (near + cubic * near * near * near));
    const Real half = Real(0.5) * (1 + t);
    return {x * half, half + Real(0.5) * near * (1 - t * t) * factor * (1 + 3 * cubic * near * near)};
  }
};
struct Silu {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real s = vector_sigmoid(x);
    return {x * s, s * (1 + x * (1 - s))};
  }
};
struct Sigmoid {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real s = vector_sigmoid(x);
    return {s, s * (1 - s)};
  }
};
struct Tanh {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real t = vector_tanh(x);
    return {t, 1 - t * t};
  }
};
struct Mish {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    // tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2), e = e^x: one exponential. Above 20 it is 1 to the last digit.
    const Real e = vector_exp(x > 20 ? Real(20) : x);
    const Real n = e * (e + 2);
    const Real inverse = 1 / (n + 2);
    const Real t = n * inverse;
    return {x * t, t + x * (4 * e * (e + 1)) * inverse * inverse};
  }
};
struct Softplus {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    return {vector_softplus(x), vector_sigmoid(x)};
  }
};
struct Exp {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real e = vector_exp(x);
    return {e, e};
  }
};
struct EluPlusOne {
  template <class Real>
  RWKVLAB_INLINE static Point<Real> at(Real x) {
    const Real e = vector_exp_nonpositive(x > 0 ? Real(0) : x);
    return {x > 0 ? x + 1 : e, e};
  }
};

/// Calls use(F()) with the function that `kind` names.
template <class Use>
void dispatch(Activation kind, const Use& use) {
  switch (kind) {
    case Activation::relu:
      return use(Relu());
    case Activation::squared_relu:
      return use(SquaredRelu());
    case Activation::gelu:
      return use(Gelu());
    case Activation::gelu_tanh:
      return use(GeluTanh());
    case Activation::silu:
      return use(Silu());
    case Activation::sigmoid:
      return use(Sigmoid());
    case Activation::tanh:
      return use(Tanh());
    case Activation::mish:
      return use(Mish());
    case Activation::softplus:
      return use(Softplus());
    case Activation::exp:
      return use(Exp());
    case Activation::elu_plus_one:
      return use(EluPlusOne());
  }
}

}  // namespace

template <class Real>
void activation_forward(Activation kind, Index count, const Real* x, Real* y) {
  dispatch(kind, [=](auto function) {
    parallel_simd(count, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
      for (Index i = begin; i < end; ++i) y[i] = function.at(x[i]).value;
    });
  });
}

template <class Real>
void activation_backward(Activation kind, Index count, const Real* x, const Real* grad_y, Real* grad_x) {
  dispatch(kind, [=](auto function) {
    parallel_simd(count, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
      for (Index i = begin; i < end; ++i) grad_x[i] = grad_y[i] * function.at(x[i]).slope;
    });
  });
}

template <class Real>
void gate_forward(Activation kind, Index count, const Real* gate, const Real* value, Real* out) {
  dispatch(kind, [=](auto function) {
    parallel_simd(count, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
      for (Index i = begin; i < end; ++i) out[i] = function.at(gate[i]).value * value[i];
    });
  });
}

template <class Real>
void gate_backward(Activation kind, Index count, const Real* gate, const Real* value, const Real* grad_out,
                   Real* grad_gate, Real* grad_value) {
  dispatch(kind, [=](auto function) {
    parallel_simd(count, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
      for (Index i = begin; i < end; ++i) {
        const Point<Real> f = function.at(gate[i]);
        const Real g = grad_out[i];
        const Real to_gate = g * value[i] * f.slope;
        const Real to_value = g * f.value;
        grad_gate[i] = to_gate;
        grad_value[i] = to_value;
      }
    });
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                              \
  template void activation_forward<Real>(Activation, Index, const Real*, Real*);               \
  template void activation_backward<Real>(Activation, Index, const Real*, const Real*, Real*); \
  template void gate_forward<Real>(Activation, Index, const Real*, const Real*, Real*);        \
  template void gate_backward<Real>(Activation, Index, const Real*, const Real*, const Real*, Real*, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
