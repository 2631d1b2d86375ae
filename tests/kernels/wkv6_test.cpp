#include "kernels/wkv6.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

/// Inputs, outputs and gradients of one problem.
template <class Real>
struct Problem {
  Wkv6Size size;
  bool fixed = false, is_reversed = false;
  std::vector<Real> r, k, v, decay, bonus, state;  // An empty `state` is zeros.
  std::vector<Real> y, final_state, kept_states, grad_y, grad_final;
  std::vector<Real> grad_r, grad_k, grad_v, grad_decay, grad_bonus, grad_state;

  Problem(const Wkv6Size& s, bool fixed_decay, bool with_state, double decay_scale = 1.5)
      : size(s), fixed(fixed_decay) {
    const Index decays = fixed ? s.channels() : s.elements();
    r = random_values<Real>(s.elements(), "r");
    k = random_values<Real>(s.elements(), "k");
    v = random_values<Real>(s.elements(), "v");
    decay = random_values<Real>(decays, "decay", decay_scale);
    for (Real& value : decay) value -= 1;
    bonus = random_values<Real>(s.channels(), "bonus");
    grad_y = random_values<Real>(s.elements(), "grad_y");
    if (with_state) {
      state = random_values<Real>(s.state_elements(), "state");
      grad_final = random_values<Real>(s.state_elements(), "grad_final");
    }
    y.resize(s.elements());
    final_state.resize(s.state_elements());
    kept_states.resize(s.state_elements() * s.chunks());
  }
  Wkv6Inputs<Real> inputs() const {
    return {size,         r.data(), k.data(),     v.data(),
            decay.data(), fixed,    bonus.data(), state.empty() ? nullptr : state.data(),
            is_reversed};
  }
  void forward() { wkv6_forward<Real>({inputs(), y.data(), final_state.data(), kept_states.data()}); }
  void backward() {
    for (auto* const grad : {&grad_r, &grad_k, &grad_v}) grad->resize(r.size());
    grad_decay.resize(decay.size());
    grad_bonus.resize(bonus.size());
    grad_state.resize(final_state.size());
    wkv6_backward<Real>({inputs(), kept_states.data(), grad_y.data(), grad_final.empty() ? nullptr : grad_final.data(),
                         grad_r.data(), grad_k.data(), grad_v.data(), grad_decay.data(), grad_bonus.data(),
                         grad_state.data()});
  }
  Named<Real> gradients() const {
    return {{"receptance", grad_r}, {"key", grad_k},       {"value", grad_v},
            {"decay", grad_decay},  {"bonus", grad_bonus}, {"state", grad_state}};
  }
  std::vector<Real> everything() {
    forward();
    backward();
    return joined({y, final_state, grad_r, grad_k, grad_v, grad_decay, grad_bonus, grad_state});
  }
  template <class To>
  Problem<To> as() const {
    Problem<To> other(size, fixed, false);
    other.r = convert<To>(r);
    other.k = convert<To>(k);
    other.v = convert<To>(v);
    other.decay = convert<To>(decay);
    other.bonus = convert<To>(bonus);
    other.state = convert<To>(state);
    other.grad_y = convert<To>(grad_y);
    other.grad_final = convert<To>(grad_final);
    return other;
  }
};

/// y by its definition as an attention: r_t weighs every earlier token by the product of the decays between them.
std::vector<double> by_definition(const Problem<double>& p) {
  const Wkv6Size& size = p.size;
  const Index n = size.head_size;
  std::vector<double> y(p.y.size());
  for (Index b = 0; b < size.batch; ++b) {
    for (Index h = 0; h < size.heads; ++h) {
      const auto at = [&](Index t) { return ((b * size.time + t) * size.heads + h) * n; };
      const auto log_decay = [&](Index t, Index i) { return -std::exp(p.decay[p.fixed ? h * n + i : at(t) + i]); };
      for (Index t = 0; t < size.time; ++t) {
        for (Index i = 0; i < n; ++i) {
          double between = 0;  // log of the decays of the tokens between
          for (Index s = t - 1; s >= 0; --s) {
            for (Index j = 0; j < n; ++j) {
              y[at(t) + j] += p.r[at(t) + i] * std::exp(between) * p.k[at(s) + i] * p.v[at(s) + j];
            }
            between += log_decay(s, i);
          }
          for (Index j = 0; j < n; ++j) {
            y[at(t) + j] += p.r[at(t) + i] * p.bonus[h * n + i] * p.k[at(t) + i] * p.v[at(t) + j];
            if (p.state.empty()) continue;
            y[at(t) + j] += p.r[at(t) + i] * std::exp(between) * p.state[((b * size.heads + h) * n + i) * n + j];
          }
        }
      }
    }
  }
  return y;
}

// One token, one channel; several chunks; heads below, at and above the tiles of 16, 32 and 64.
const Wkv6Size sizes[] = {{1, 1, 1, 1}, {2, 3, 2, 5}, {1, 33, 1, 17}, {1, 70, 2, 8}, {1, 5, 1, 64}, {2, 4, 1, 67}};

TEST(Wkv6, AgreesWithItsDefinition) {
  for (const Wkv6Size& size : sizes) {
    for (const bool fixed : {false, true}) {
      for (const bool with_state : {false, true}) {
        Problem<double> problem(size, fixed, with_state);
        problem.forward();
        EXPECT_LT(relative_error(problem.y, by_definition(problem)), 1e-12) << size.time << " " << size.head_size;
      }
    }
  }
}

// One token of generation against the loop for many, which keeping states makes the kernel take.
TEST(Wkv6, AStepDoesWhatTheLoopOverTokensDoes) {
  for (const Wkv6Size& size :
       {Wkv6Size{2, 1, 3, 64}, Wkv6Size{1, 1, 2, 67}, Wkv6Size{1, 1, 2, 16}, Wkv6Size{1, 1, 1, 9}}) {
    for (const bool fixed : {false, true}) {
      Problem<double> problem(size, fixed, true);
      problem.forward();
      const std::vector<double> expected = joined({problem.y, problem.final_state});
      wkv6_forward<double>({problem.inputs(), problem.y.data(), problem.final_state.data(), nullptr});
      // The same operations; fused multiplications may fall elsewhere.
      EXPECT_LT(relative_error(joined({problem.y, problem.final_state}), expected), 1e-14) << size.head_size;
    }
  }
}

TEST(Wkv6, GradientsAgreeWithFiniteDifferences) {
  for (const Wkv6Size& size :
       {Wkv6Size{1, 1, 1, 1}, Wkv6Size{2, 3, 2, 3}, Wkv6Size{1, 35, 1, 2}, Wkv6Size{1, 2, 1, 17}}) {
    for (const bool fixed : {false, true}) {
      for (const bool with_state : {false, true}) {
        Problem<double> p(size, fixed, with_state);
        const auto loss = [&p] {
          p.forward();
          return weighted_sum(p.y, p.grad_y) + (p.grad_final.empty() ? 0 : weighted_sum(p.final_state, p.grad_final));
        };
        loss();
        p.backward();
        expect_gradient(p.r, p.grad_r, "receptance", loss);
        expect_gradient(p.k, p.grad_k, "key", loss);
        expect_gradient(p.v, p.grad_v, "value", loss);
        // A decay that nothing reads has the gradient 0, whose differences are rounding alone.
        if (with_state || size.time > 1) expect_gradient(p.decay, p.grad_decay, "decay", loss);
        expect_gradient(p.bonus, p.grad_bonus, "bonus", loss);
        if (with_state) expect_gradient(p.state, p.grad_state, "state", loss);
      }
    }
  }
}

TEST(Wkv6, FloatAgreesWithDouble) {
  // Raw decays of deviation 4 reach from remembering everything to forgetting at once.
  for (const double decay_scale : {1.5, 4.0}) {
    for (const Wkv6Size& size : sizes) {
      Problem<float> narrow(size, false, true, decay_scale);
      auto wide = narrow.as<double>();
      for (const float value : narrow.everything()) ASSERT_TRUE(std::isfinite(value));
      wide.everything();
      // Sums over some tens of tokens and channels, each rounded to 6e-8.
      EXPECT_LT(relative_error(narrow.y, wide.y), 2e-6);
      EXPECT_LT(relative_error(narrow.final_state, wide.final_state), 2e-6);
      expect_close(narrow.gradients(), wide.gradients(), 3e-6);
    }
  }
}

TEST(Wkv6, DecaysBeyondTheRangeOfExpStayFinite) {
  Problem<float> p({1, 40, 1, 8}, false, true);
  for (std::size_t i = 0; i < p.decay.size(); ++i) p.decay[i] = i % 3 == 0 ? 200.0F : i % 3 == 1 ? -200.0F : 4.5F;
  for (const float value : p.everything()) ASSERT_TRUE(std::isfinite(value));
}

TEST(Wkv6, ChunksWithCarriedStateEqualOnePass) {
  Problem<double> whole({1, 45, 2, 5}, false, true);
  whole.forward();
  for (const Index cut : {Index(1), Index(32), Index(44)}) {
    const auto part = [&](Index begin, Index end, const std::vector<double>& state) {
      Problem<double> chunk({1, end - begin, 2, 5}, false, true);
      const auto slice = [&](const std::vector<double>& from) {
        return std::vector<double>(from.begin() + begin * 10, from.begin() + end * 10);
      };
      chunk.r = slice(whole.r);
      chunk.k = slice(whole.k);
      chunk.v = slice(whole.v);
      chunk.decay = slice(whole.decay);
      chunk.bonus = whole.bonus;
      chunk.state = state;
      chunk.forward();
      return chunk;
    };
    const auto first = part(0, cut, whole.state), second = part(cut, 45, first.final_state);
    EXPECT_LT(relative_error(joined({first.y, second.y}), whole.y), 1e-14) << cut;
    EXPECT_LT(relative_error(second.final_state, whole.final_state), 1e-14) << cut;
  }
}

TEST(Wkv6, ReversedItReadsTheTokensBackwards) {
  for (const bool fixed : {false, true}) {
    for (const Index time : {1, 70}) {
      Problem<float> forwards({2, time, 2, 20}, fixed, true), backwards = forwards;
      const auto turn = [&](std::vector<float>& values) {
        const std::vector<float> old = values;
        for (Index b = 0; b < 2; ++b) {
          for (Index t = 0; t < time; ++t) {
            std::copy_n(&old[(b * time + t) * 40], 40, &values[(b * time + time - 1 - t) * 40]);
          }
        }
      };
      backwards.is_reversed = true;
      for (auto* const values : {&backwards.r, &backwards.k, &backwards.v, &backwards.grad_y}) turn(*values);
      if (!fixed) turn(backwards.decay);
      const std::vector<float> expected = forwards.everything();
      backwards.everything();
      for (auto* const values : {&backwards.y, &backwards.grad_r, &backwards.grad_k, &backwards.grad_v}) turn(*values);
      if (!fixed) turn(backwards.grad_decay);
      EXPECT_EQ(joined({backwards.y, backwards.final_state, backwards.grad_r, backwards.grad_k, backwards.grad_v,
                        backwards.grad_decay, backwards.grad_bonus, backwards.grad_state}),
                expected);
    }
  }
}

TEST(Wkv6, TheThreadCountDoesNotChangeABit) {
  for (const bool fixed : {false, true}) {
    expect_same_bits([fixed] { return Problem<float>({3, 37, 3, 20}, fixed, true).everything(); });
  }
}

}  // namespace
}  // namespace rwkvlab::kernels
