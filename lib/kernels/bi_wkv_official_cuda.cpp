// Bi-WKV as the published GPU kernels compute it: see bi_wkv.h for how that differs from the equation. Everything in
// float64 and one channel after the other: this is for fidelity, not for speed.
#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/bi_wkv.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace rwkvlab::kernels {
namespace {

constexpr Index chunk_count = 32;
constexpr double denominator_extra = 1e-6;

/// a e^q and b e^q, and their derivatives by w.
struct Sums {
  double q = -1e38, a = 0, b = 0, da = 0, db = 0;

  /// Onto an exponent of at least `exponent`.
  void raise(double exponent) {
    if (exponent <= q) return;
    const double scale = std::exp(q - exponent);
    q = exponent;
    a *= scale, b *= scale, da *= scale, db *= scale;
  }
  /// A token of weight e^k and no distance.
  void add(double k, double x, double y) {
    raise(k);
    const double weight = std::exp(k - q);
    a += weight * x;
    b += weight * y;
  }
  /// All distances grow by one (or, with -w, shrink).
  void move(double w, double distance) {
    q -= w * distance;
    da -= distance * a;
    db -= distance * b;
  }
};

/// One channel of one batch entry.
template <class Real>
struct Channel {
  Channel(const BiWkvInputs<Real>& in, Index index)
      : stride(in.size.channels),
        time(in.size.time),
        chunk((time + chunk_count - 1) / chunk_count),
        start(index / stride * time * stride + index % stride),
        w(in.decay[index % stride]),
        u(in.first[index % stride]),
        key(in.key),
        value(in.value) {}
  Index at(Index t) const { return start + t * stride; }
  double k(Index t) const { return key[at(t)]; }
  double v(Index t) const { return value[at(t)]; }

  Index stride, time, chunk, start;
  double w, u;
  const Real *key, *value;
};

/// Calls use(t, past, future, exponent, denominator, y) for every token.
template <class Real, class Use>
void each_token(const Channel<Real>& channel, const Use& use) {
  const double w = channel.w;
  std::array<Sums, 2 * chunk_count> starts;  // past, future of every chunk's first token
  Sums past, future;
  for (Index t = 0; t < channel.time; ++t) {
    if (t % channel.chunk == 0) starts[2 * (t / channel.chunk)] = past;
    past.add(channel.k(t), channel.v(t), 1);
    past.move(w, 1);
  }
  for (Index t = channel.time - 1; t >= 0; --t) {
    if (t % channel.chunk == 0) {
      Sums& first = starts[2 * (t / channel.chunk) + 1];
      first = future;
      first.raise(channel.k(t));
    }
    future.add(channel.k(t), channel.v(t), 1);
    future.move(w, 1);
  }
  for (Index t = 0; t < channel.time; ++t) {
    if (t % channel.chunk == 0) {
      past = starts[2 * (t / channel.chunk)];
      future = starts[2 * (t / channel.chunk) + 1];
    }
    const double k = channel.k(t), v = channel.v(t);
    const double m = std::max({past.q, future.q, channel.u + k});
    const double own = std::exp(channel.u + k - m), left = std::exp(past.q - m), right = std::exp(future.q - m);
    const double denominator = past.b * left + future.b * right + own + denominator_extra;
    use(t, past, future, m, denominator, (past.a * left + future.a * right + own * v) / denominator);
    // Tokens of the chunk enter the past without a distance.
    past.move(w, 1);
    past.add(k, v, 1);
    if (t + 1 == channel.time) break;
    // The future comes one token nearer: its next token, now at -1, is taken away.
    future.move(w, -1);
    future.raise(channel.k(t + 1) + w);
    const double weight = std::exp(channel.k(t + 1) + w - future.q), x = channel.v(t + 1);
    future.a -= weight * x;
    future.b -= weight;
    future.da -= weight * x;
    future.db -= weight;
  }
}

/// Adds the gradients of keys and values through the tokens that a scan has passed, in the order of `step`.
template <class Real>
void add_crossing(const Channel<Real>& channel, const BiWkvGradients<Real>& gradients, Index first, Index step,
                  const double* exponents, const double* outputs) {
  Sums sums;
  for (Index i = 0, t = first; i < channel.time; ++i, t += step) {
    const Index at = channel.at(t);
    const double reach = std::exp(channel.k(t) + sums.q), g = gradients.grad_y[at];
    gradients.grad_value[at] = static_cast<Real>(gradients.grad_value[at] + reach * sums.a);
    gradients.grad_key[at] = static_cast<Real>(gradients.grad_key[at] + reach * (channel.v(t) * sums.a - sums.b));
    sums.q -= channel.w;
    sums.add(-exponents[t], g, g * outputs[t]);
  }
}

}  // namespace

template <class Real>
void bi_wkv_official_cuda_forward(const BiWkvInputs<Real>& in, Real* y) {
  parallel_for(in.size.batch * in.size.channels, 8, [=](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) {
      const Channel<Real> channel(in, index);
      each_token(channel, [&](Index t, const Sums&, const Sums&, double, double, double value) {
        y[channel.at(t)] = static_cast<Real>(value);
      });
    }
  });
}

template <class Real>
void bi_wkv_official_cuda_backward(const BiWkvInputs<Real>& in, const BiWkvGradients<Real>& gradients) {
  const Index channels = in.size.channels, batch = in.size.batch, time = in.size.time;
  double* const rates = scratch<double>(Scratch::partials, 2 * batch * channels);
  parallel_for(batch * channels, 8, [=](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) {
      const Channel<Real> channel(in, index);
      double* const exponents = scratch<double>(Scratch::local, 2 * time);
      double* const y = exponents + time;
      double dw = 0, du = 0;
      each_token(channel, [&](Index t, const Sums& past, const Sums& future, double m, double denominator, double out) {
        const Index at = channel.at(t);
        const double own = std::exp(channel.u + channel.k(t) - m), g = gradients.grad_y[at] / denominator;
        exponents[t] = m + std::log(denominator);
        y[t] = out;
        dw += g * ((past.da - past.db * out) * std::exp(past.q - m) +
                   (future.da - future.db * out) * std::exp(future.q - m));
        du += g * own * (channel.v(t) - out);
        gradients.grad_value[at] = static_cast<Real>(g * own);
        gradients.grad_key[at] = static_cast<Real>(g * own * (channel.v(t) - out));
      });
      add_crossing(channel, gradients, 0, 1, exponents, y);
      add_crossing(channel, gradients, time - 1, -1, exponents, y);
      rates[2 * index] = dw;
      rates[2 * index + 1] = du;
    }
  });
  for (Index c = 0; c < channels; ++c) {
    double dw = 0, du = 0;
    for (Index b = 0; b < batch; ++b) {
      dw += rates[2 * (b * channels + c)];
      du += rates[2 * (b * channels + c) + 1];
    }
    gradients.grad_decay[c] = static_cast<Real>(dw);
    gradients.grad_first[c] = static_cast<Real>(du);
  }
}

template void bi_wkv_official_cuda_forward<float>(const BiWkvInputs<float>&, float*);
template void bi_wkv_official_cuda_forward<double>(const BiWkvInputs<double>&, double*);
template void bi_wkv_official_cuda_backward<float>(const BiWkvInputs<float>&, const BiWkvGradients<float>&);
template void bi_wkv_official_cuda_backward<double>(const BiWkvInputs<double>&, const BiWkvGradients<double>&);

}  // namespace rwkvlab::kernels
