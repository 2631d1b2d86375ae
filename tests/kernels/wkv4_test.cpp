#include "kernels/wkv4.h"

#include <gtest/gtest.h>

#include <optional>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

/// Inputs, outputs and gradients of one problem.
template <class Real>
struct Problem {
  SequenceSize size;
  std::vector<Real> decay, first, key, value, state;  // An empty `state` is the empty state.
  std::vector<Real> y, final_state;
  std::vector<Real> grad_y, grad_final_state;
  std::vector<Real> grad_decay, grad_first, grad_key, grad_value, grad_state;

  Problem(const SequenceSize& s, bool with_state, double key_scale = 1) : size(s) {
    const Index states = s.batch * 3 * s.channels;
    decay = random_values<Real>(s.channels, "decay", 2);
    first = random_values<Real>(s.channels, "first");
    key = random_values<Real>(s.elements(), "key", key_scale);
    value = random_values<Real>(s.elements(), "value");
    grad_y = random_values<Real>(s.elements(), "grad_y");
    if (with_state) {
      state = random_values<Real>(states, "state");
      for (Index b = 0; b < s.batch; ++b) {  // The denominator is a sum of exponentials.
        for (Index c = 0; c < s.channels; ++c) {
          Real& denominator = state[(b * 3 + 1) * s.channels + c];
          denominator = std::fabs(denominator) + Real(0.5);
        }
      }
      grad_final_state = random_values<Real>(states, "grad_state");
    }
    y.resize(s.elements());
    final_state.resize(states);
  }

  void forward() {
    wkv4_forward<Real>({size, decay.data(), first.data(), key.data(), value.data(),
                        state.empty() ? nullptr : state.data(), y.data(), final_state.data()});
  }
  void backward() {
    grad_decay.resize(size.channels);
    grad_first.resize(size.channels);
    grad_key.resize(size.elements());
    grad_value.resize(size.elements());
    grad_state.resize(final_state.size());
    wkv4_backward<Real>({size, decay.data(), first.data(), key.data(), value.data(),
                         state.empty() ? nullptr : state.data(), grad_y.data(),
                         grad_final_state.empty() ? nullptr : grad_final_state.data(), grad_decay.data(),
                         grad_first.data(), grad_key.data(), grad_value.data(), grad_state.data()});
  }
  Named<Real> gradients() const {
    Named<Real> all = {
        {"time_decay", grad_decay}, {"time_first", grad_first}, {"key", grad_key}, {"value", grad_value}};
    if (!state.empty()) all.emplace_back("state", grad_state);
    return all;
  }
  std::vector<Real> everything() {
    forward();
    backward();
    return joined({y, final_state, grad_decay, grad_first, grad_key, grad_value, grad_state});
  }
  template <class To>
  Problem<To> as() const {
    Problem<To> other(size, false);
    other.decay = convert<To>(decay);
    other.first = convert<To>(first);
    other.key = convert<To>(key);
    other.value = convert<To>(value);
    other.state = convert<To>(state);
    other.grad_y = convert<To>(grad_y);
    other.grad_final_state = convert<To>(grad_final_state);
    return other;
  }
};

/// y by its definition: a softmax over all tokens so far, with the state as one more token.
std::vector<double> by_definition(const Problem<double>& p) {
  std::vector<double> y(p.y.size());
  const Index time = p.size.time, channels = p.size.channels;
  for (Index b = 0; b < p.size.batch; ++b) {
    for (Index c = 0; c < channels; ++c) {
      const double delta = std::exp(p.decay[c]);
      const auto at = [&](Index t) { return (b * time + t) * channels + c; };
      for (Index t = 0; t < time; ++t) {
        const double current = p.first[c] + p.key[at(t)];
        double max = current;
        for (Index i = 0; i < t; ++i) max = std::max(max, p.key[at(i)] - delta * static_cast<double>(t - 1 - i));
        const double* state = p.state.empty() ? nullptr : &p.state[b * 3 * channels + c];
        const double old = state == nullptr ? -HUGE_VAL : state[2 * channels] - delta * static_cast<double>(t);
        max = std::max(max, old);
        double top = std::exp(current - max) * p.value[at(t)], bottom = std::exp(current - max);
        for (Index i = 0; i < t; ++i) {
          const double weight = std::exp(p.key[at(i)] - delta * static_cast<double>(t - 1 - i) - max);
          top += weight * p.value[at(i)];
          bottom += weight;
        }
        if (state != nullptr) {
          top += std::exp(old - max) * state[0];
          bottom += std::exp(old - max) * state[channels];
        }
        y[at(t)] = top / bottom;
      }
    }
  }
  return y;
}

const SequenceSize odd_sizes[] = {{1, 1, 1}, {2, 3, 5}, {2, 13, 17}, {1, 13, 33}, {3, 7, 64}, {2, 5, 70}};

TEST(Wkv4, AgreesWithItsDefinition) {
  for (const SequenceSize& size : odd_sizes) {
    for (const bool with_state : {false, true}) {
      Problem<double> problem(size, with_state, 3);
      problem.forward();
      EXPECT_LT(relative_error(problem.y, by_definition(problem)), 1e-12) << size.time << " " << size.channels;
    }
  }
}

TEST(Wkv4, GradientsAgreeWithFiniteDifferences) {
  for (const SequenceSize& size :
       {SequenceSize{1, 1, 1}, SequenceSize{2, 3, 5}, SequenceSize{2, 13, 17}, SequenceSize{1, 3, 33}}) {
    for (const bool with_state : {false, true}) {
      Problem<double> problem(size, with_state);
      // What follows a state depends on a e^p and b e^p; their gradients G, H give da = G e^p and db = H e^p.
      const auto weights = problem.grad_final_state;
      const Index channels = size.channels;
      const auto state_term = [&](const std::vector<double>& state, std::vector<double>* gradient) {
        double total = 0;
        for (Index b = 0; !weights.empty() && b < size.batch; ++b) {
          for (Index c = 0; c < channels; ++c) {
            const Index at = b * 3 * channels + c;
            const double e = std::exp(state[at + 2 * channels]);
            total += e * (weights[at] * state[at] + weights[at + channels] * state[at + channels]);
            if (gradient == nullptr) continue;
            (*gradient)[at] = e * weights[at];
            (*gradient)[at + channels] = e * weights[at + channels];
            (*gradient)[at + 2 * channels] = 1e9;  // Must be ignored.
          }
        }
        return total;
      };
      const auto loss = [&] {
        problem.forward();
        return weighted_sum(problem.y, problem.grad_y) + state_term(problem.final_state, nullptr);
      };
      problem.forward();
      state_term(problem.final_state, weights.empty() ? nullptr : &problem.grad_final_state);
      problem.backward();
      expect_gradient(problem.decay, problem.grad_decay, "time_decay", loss);
      expect_gradient(problem.first, problem.grad_first, "time_first", loss);
      expect_gradient(problem.key, problem.grad_key, "key", loss);
      expect_gradient(problem.value, problem.grad_value, "value", loss);
      if (with_state) expect_gradient(problem.state, problem.grad_state, "state", loss);
    }
  }
}

TEST(Wkv4, FloatAgreesWithDouble) {
  for (const SequenceSize& size : odd_sizes) {
    Problem<float> narrow(size, true);
    auto wide = narrow.as<double>();
    narrow.everything();
    wide.everything();
    // A handful of roundings of 6e-8 per token, in recurrences whose decay forgets the old ones.
    EXPECT_LT(relative_error(narrow.y, wide.y), 2e-6);
    expect_close(narrow.gradients(), wide.gradients(), 5e-6);
  }
}

TEST(Wkv4, HugeKeysStayFinite) {
  Problem<float> narrow({2, 65, 33}, false, 400);
  for (std::size_t i = 0; i < narrow.key.size(); i += 7) narrow.key[i] = i % 2 == 0 ? 1000.0F : -1000.0F;
  auto wide = narrow.as<double>();
  for (const float value : narrow.everything()) ASSERT_TRUE(std::isfinite(value));
  wide.everything();
  // Differences of keys are exact where the weights are not 0 or 1, so this is as good as small keys.
  EXPECT_LT(relative_error(narrow.y, wide.y), 2e-6);
  // Gradients of units with large keys are computed in double: what is left is the rounding of the result.
  expect_close(narrow.gradients(), wide.gradients(), 1e-6);
}

TEST(Wkv4, HundredThousandTokensStayFiniteAndAccurate) {
  Problem<float> narrow({1, 100000, 4}, false, 2);
  narrow.decay = {-12.0F, -10.0F, -3.0F, 3.0F};  // From remembering everything to nothing.
  // Keys of 1000: their spacing in float, 6e-5, is above the second decay per token, exp(-10) = 4.5e-5.
  for (Index t = 0; t < 100000; ++t) narrow.key[t * 4 + 1] += 1000;
  auto wide = narrow.as<double>();
  for (const float value : narrow.everything()) ASSERT_TRUE(std::isfinite(value));
  wide.everything();
  // Sums over up to 1e5 tokens: their rounding errors of 6e-8 add up like a random walk, to about sqrt(1e5) * 6e-8 =
  // 2e-5.
  EXPECT_LT(relative_error(narrow.y, wide.y), 2e-5);
  expect_close(narrow.gradients(), wide.gradients(), 2e-5);
  EXPECT_LT(relative_error(narrow.final_state, wide.final_state), 2e-5);
}

TEST(Wkv4, ChunksWithCarriedStateEqualOnePass) {
  const SequenceSize size{1, 13, 35};
  Problem<double> whole(size, true);
  whole.everything();
  for (const Index cut : {Index(1), Index(6), Index(12)}) {
    const auto part = [&](Index begin, Index end) {
      Problem<double> chunk({1, end - begin, size.channels}, true);
      const auto slice = [&](const std::vector<double>& from) {
        return std::vector<double>(from.begin() + begin * size.channels, from.begin() + end * size.channels);
      };
      chunk.decay = whole.decay;
      chunk.first = whole.first;
      chunk.key = slice(whole.key);
      chunk.value = slice(whole.value);
      chunk.grad_y = slice(whole.grad_y);
      return chunk;
    };
    auto head = part(0, cut), tail = part(cut, size.time);
    head.state = whole.state;
    head.forward();
    tail.state = head.final_state;
    tail.grad_final_state = whole.grad_final_state;
    tail.everything();
    head.grad_final_state = tail.grad_state;
    head.backward();
    EXPECT_LT(relative_error(joined({head.y, tail.y}), whole.y), 1e-13);
    EXPECT_LT(relative_error(tail.final_state, whole.final_state), 1e-13);
    EXPECT_LT(relative_error(joined({head.grad_key, tail.grad_key}), whole.grad_key), 1e-12);
    EXPECT_LT(relative_error(head.grad_state, whole.grad_state), 1e-12);
    std::vector<double> decay(whole.decay.size());
    for (std::size_t c = 0; c < decay.size(); ++c) decay[c] = head.grad_decay[c] + tail.grad_decay[c];
    EXPECT_LT(relative_error(decay, whole.grad_decay), 1e-12);
  }
}

TEST(Wkv4, EmptySequencePassesTheStateThrough) {
  Problem<float> problem({2, 0, 5}, true);
  problem.everything();
  EXPECT_EQ(problem.final_state, problem.state);
  for (Index b = 0; b < 2; ++b) {
    for (Index i = 0; i < 10; ++i) {
      EXPECT_NEAR(problem.grad_state[b * 15 + i], problem.grad_final_state[b * 15 + i], 1e-6);
    }
  }
}

TEST(Wkv4, BitsDoNotDependOnThreads) {
  expect_same_bits([] { return Problem<float>({3, 21, 100}, true).everything(); });
}

}  // namespace
}  // namespace rwkvlab::kernels
