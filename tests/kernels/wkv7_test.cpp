#include "kernels/wkv7.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

template <class Real>
struct Problem {
  Wkv7Size size;
  bool delta, carried, decays = true;
  std::vector<Real> r, w, k, v, a, b, state, y, final_state, read, kept;
  std::vector<Real> gy, gfinal, gr, gw, gk, gv, ga, gb, gstate;

  Problem(const Wkv7Size& s, bool with_delta, bool with_state) : size(s), delta(with_delta), carried(with_state) {
    const Index count = s.batch * s.time * s.key_channels(), values = s.batch * s.time * s.value_channels();
    // Small enough keys that the state stays of size one.
    const double key_scale = 1 / std::sqrt(static_cast<double>(s.key_size));
    r = random_values<Real>(count, "r");
    w = random_values<Real>(count, "w");
    for (Real& x : w) x = -std::fabs(x) / 2;
    k = random_values<Real>(count, "k", key_scale);
    v = random_values<Real>(values, "v");
    a = random_values<Real>(count, "a", key_scale);
    b = random_values<Real>(count, "b", key_scale);
    gy = random_values<Real>(values, "gy");
    state = random_values<Real>(s.state_elements(), "state");
    gfinal = random_values<Real>(s.state_elements(), "gfinal");
    for (auto* out : {&gr, &gw, &gk, &ga, &gb}) out->resize(static_cast<std::size_t>(count));
    for (auto* out : {&y, &read, &gv}) out->resize(static_cast<std::size_t>(values));
    for (auto* out : {&final_state, &gstate}) out->resize(state.size());
    kept.resize(static_cast<std::size_t>(s.state_elements() * s.chunks()));
  }

  void forward() {
    wkv7_forward<Real>({size, r.data(), decays ? w.data() : nullptr, k.data(), v.data(), delta ? a.data() : nullptr,
                        delta ? b.data() : nullptr, carried ? state.data() : nullptr, y.data(), final_state.data(),
                        delta ? read.data() : nullptr, kept.data()});
  }
  void backward() {
    wkv7_backward<Real>({size, r.data(), decays ? w.data() : nullptr, k.data(), v.data(), delta ? a.data() : nullptr,
                         delta ? b.data() : nullptr, delta ? read.data() : nullptr, kept.data(), gy.data(),
                         carried ? gfinal.data() : nullptr, gr.data(), decays ? gw.data() : nullptr, gk.data(),
                         gv.data(), delta ? ga.data() : nullptr, delta ? gb.data() : nullptr,
                         carried ? gstate.data() : nullptr});
  }
  std::vector<Real> everything() {
    forward();
    backward();
    return joined({y, final_state, gr, gw, gk, gv, ga, gb, gstate});
  }
  double loss() { return weighted_sum(y, gy) + (carried ? weighted_sum(final_state, gfinal) : 0); }
};

// The definition, element by element.
void reference(Problem<double>& p) {
  const Index K = p.size.key_size, V = p.size.value_size;
  for (Index head = 0; head < p.size.states(); ++head) {
    std::vector<double> S(static_cast<std::size_t>(V * K));
    for (Index i = 0; i < V * K && p.carried; ++i) S[i] = p.state[head * V * K + i];
    for (Index t = 0; t < p.size.time; ++t) {
      const Index row = (head / p.size.heads * p.size.time + t) * p.size.heads + head % p.size.heads;
      for (Index i = 0; i < V; ++i) {
        double sa = 0, y = 0;
        for (Index j = 0; j < K && p.delta; ++j) sa += S[i * K + j] * p.a[row * K + j];
        for (Index j = 0; j < K; ++j) {
          const Index at = row * K + j;
          double& s = S[i * K + j];
          s = s * (p.decays ? std::exp(p.w[at]) : 1) + (p.delta ? sa * p.b[at] : 0) + p.v[row * V + i] * p.k[at];
          y += s * p.r[at];
        }
        p.y[row * V + i] = y;
      }
    }
    for (Index i = 0; i < V * K; ++i) p.final_state[head * V * K + i] = S[i];
  }
}

// Chunks of 16 tokens whole, short and alone; tiles of 32 value channels and groups of 16 keys full and not;
// fewer and more values than keys; eight heads and more, which take tiles of 64.
const Wkv7Size odd_sizes[] = {{1, 1, 1, 1, 1},    {2, 5, 3, 2, 2},    {1, 17, 2, 5, 8},
                              {2, 16, 1, 16, 16}, {1, 35, 2, 33, 33}, {1, 3, 1, 70, 70},
                              {2, 18, 2, 40, 3},  {1, 9, 2, 3, 37},   {2, 17, 4, 20, 70}};

TEST(Wkv7, ForwardIsTheDefinition) {
  for (const Wkv7Size& size : odd_sizes) {
    for (int form = 0; form < 8; ++form) {
      Problem<double> p(size, form & 1, form & 2), expected(size, form & 1, form & 2);
      p.decays = expected.decays = (form & 4) == 0;
      p.forward();
      reference(expected);
      EXPECT_LT(relative_error(p.y, expected.y), 1e-13);
      EXPECT_LT(relative_error(p.final_state, expected.final_state), 1e-13);
    }
  }
}

TEST(Wkv7, GradientsAgreeWithFiniteDifferences) {
  for (const Wkv7Size& size :
       {Wkv7Size{1, 1, 1, 1, 1}, {2, 5, 3, 2, 2}, {1, 17, 2, 5, 3}, {1, 18, 1, 17, 17}, {1, 17, 1, 2, 6}}) {
    for (int form = 0; form < 8; ++form) {
      SCOPED_TRACE(testing::Message() << size.time << " tokens, keys " << size.key_size << ", form " << form);
      Problem<double> p(size, form & 1, form & 2);
      p.decays = (form & 4) == 0;
      const auto loss = [&] {
        p.forward();
        return p.loss();
      };
      p.everything();
      const Problem<double> exact = p;
      expect_gradient(p.r, exact.gr, "receptance", loss);
      if (p.decays) expect_gradient(p.w, exact.gw, "log_decay", loss);
      expect_gradient(p.k, exact.gk, "key", loss);
      expect_gradient(p.v, exact.gv, "value", loss);
      if (p.delta) expect_gradient(p.a, exact.ga, "a", loss);
      if (p.delta) expect_gradient(p.b, exact.gb, "b", loss);
      if (p.carried) expect_gradient(p.state, exact.gstate, "state", loss);
    }
  }
}

TEST(Wkv7, FloatAgreesWithDoubleAlsoForDecaysThatForgetEverything) {
  for (const double strength : {1.0, 200.0}) {  // e^-100 is 0 beside anything: nothing may divide by it.
    Problem<float> narrow({2, 70, 2, 64, 64}, true, true);
    Problem<double> wide(narrow.size, true, true);
    for (std::size_t i = 0; i < wide.w.size(); ++i) {
      narrow.w[i] *= static_cast<float>(strength);
      wide.w[i] = static_cast<double>(narrow.w[i]);
    }
    // Sums of 64 terms through 70 tokens.
    EXPECT_LT(relative_error(narrow.everything(), wide.everything()), 5e-6);
  }
}

TEST(Wkv7, TheStateMayBeReplacedInPlace) {
  Problem<float> p({2, 5, 2, 40, 24}, true, true);
  p.forward();
  std::vector<float> state = p.state;
  wkv7_forward<float>({p.size, p.r.data(), p.w.data(), p.k.data(), p.v.data(), p.a.data(), p.b.data(), state.data(),
                       p.y.data(), state.data(), nullptr, nullptr});
  EXPECT_EQ(state, p.final_state);
}

TEST(Wkv7, ThreadsGiveTheSameBits) {
  expect_same_bits([] { return Problem<float>({3, 37, 3, 40, 40}, true, true).everything(); });
  // So few heads that the width of a tile depends on the threads.
  expect_same_bits([] { return Problem<float>({1, 37, 4, 64, 64}, true, true).everything(); });
}

}  // namespace
}  // namespace rwkvlab::kernels
