#include "kernels/bi_wkv.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

/// One call of the operator and its gradient; `is_official` for the published kernels' form.
template <class Real>
struct Problem {
  SequenceSize size;
  bool is_causal, is_official = false;
  std::vector<Real> decay, first, key, value, grad_y, y, inverse, grad_decay, grad_first, grad_key, grad_value;
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> starts;

  Problem(const SequenceSize& s, bool causal, double key_scale = 1, double decay_scale = 3, double first_scale = 1)
      : size(s), is_causal(causal) {
    // Of both signs, and divided by the tokens as Vision-RWKV does.
    decay = random_values<Real>(s.channels, "w", decay_scale / static_cast<double>(s.time));
    first = random_values<Real>(s.channels, "u", first_scale);
    key = random_values<Real>(s.elements(), "k", key_scale);
    value = random_values<Real>(s.elements(), "v");
    grad_y = random_values<Real>(s.elements(), "g");
    for (auto* const out : {&y, &inverse, &grad_key, &grad_value}) out->resize(key.size());
    starts.resize((bi_wkv_start_bytes<Real>(s) + sizeof(Line) - 1) / sizeof(Line));
    grad_decay.resize(decay.size());
    grad_first.resize(decay.size());
  }
  BiWkvInputs<Real> inputs() const { return {size, decay.data(), first.data(), key.data(), value.data(), is_causal}; }
  BiWkvTrace<Real> trace() { return {inverse.data(), reinterpret_cast<std::byte*>(starts.data())}; }
  void forward() {
    is_official ? bi_wkv_official_cuda_forward(inputs(), y.data()) : bi_wkv_forward(inputs(), y.data(), trace());
  }
  void backward() {
    const BiWkvGradients<Real> gradients = {y.data(),          grad_y.data(),   grad_decay.data(),
                                            grad_first.data(), grad_key.data(), grad_value.data()};
    is_official ? bi_wkv_official_cuda_backward(inputs(), gradients) : bi_wkv_backward(inputs(), trace(), gradients);
  }
  Named<Real> everything() {
    forward();
    backward();
    return {{"y", y}, {"decay", grad_decay}, {"first", grad_first}, {"key", grad_key}, {"value", grad_value}};
  }
  double loss() {
    forward();
    return weighted_sum(convert<double>(y), convert<double>(grad_y));
  }
};

/// The equation itself, in quadratic time: y and all gradients.
Named<double> by_definition(const Problem<double>& p) {
  const Index time = p.size.time, channels = p.size.channels;
  const auto elements = p.key.size();
  std::vector<double> y(elements), dk(elements), dv(elements), dw(p.decay.size()), du(p.decay.size());
  std::vector<double> logits(static_cast<std::size_t>(time));
  for (Index b = 0; b < p.size.batch; ++b) {
    for (Index c = 0; c < channels; ++c) {
      const auto at = [&](Index t) { return (b * time + t) * channels + c; };
      for (Index t = 0; t < time; ++t) {
        const Index last = p.is_causal ? t : time - 1;
        for (Index i = 0; i <= last; ++i) {
          const auto between = static_cast<double>(std::abs(t - i) - 1);
          logits[i] = i == t ? p.first[c] + p.key[at(i)] : p.key[at(i)] - between * p.decay[c];
        }
        const double largest = *std::max_element(logits.begin(), logits.begin() + last + 1);
        double total = 0;
        for (Index i = 0; i <= last; ++i) total += std::exp(logits[i] - largest);
        double& out = y[at(t)];
        for (Index i = 0; i <= last; ++i) out += std::exp(logits[i] - largest) / total * p.value[at(i)];
        for (Index i = 0; i <= last; ++i) {
          const double share = std::exp(logits[i] - largest) / total, g = p.grad_y[at(t)];
          const double change = share * g * (p.value[at(i)] - out);
          dv[at(i)] += share * g;
          dk[at(i)] += change;
          i == t ? du[c] += change : dw[c] -= static_cast<double>(std::abs(t - i) - 1) * change;
        }
      }
    }
  }
  return {{"y", y}, {"decay", dw}, {"first", du}, {"key", dk}, {"value", dv}};
}

/// Gradients that cancel to nothing (of one token; of u where it outweighs all else) are compared with the size of the
/// cotangents, about 1.
template <class Real>
void expect_agreement(const Named<Real>& actual, const Named<double>& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    double size = 0.1;
    for (const double value : expected[i].second) size = std::max(size, std::fabs(value));
    for (std::size_t j = 0; j < expected[i].second.size(); ++j) {
      const double error = std::fabs(static_cast<double>(actual[i].second[j]) - expected[i].second[j]);
      ASSERT_LT(error / size, tolerance) << expected[i].first << " " << j;
    }
  }
}

// One and several chunks of 256 tokens, one and several tiles of 32 channels.
const SequenceSize sizes[] = {{1, 1, 1}, {2, 2, 3}, {3, 17, 37}, {2, 63, 64}, {1, 257, 33}, {2, 600, 5}};

TEST(BiWkv, IsTheEquationWithItsGradients) {
  for (const SequenceSize& size : sizes) {
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(testing::Message() << size.time << " tokens, " << size.channels << " channels, causal " << causal);
      Problem<double> p(size, causal);
      expect_agreement(p.everything(), by_definition(p), 1e-11);
    }
  }
}

TEST(BiWkv, HugeDecaysBonusesAndKeysLoseNothing) {
  struct Case {
    double key, decay, first;
  };
  for (const auto& [key, decay, first] :
       {Case{45, 3, 1}, Case{1, 400, 1}, Case{45, 400, 30}, Case{1, 1, 300}, Case{300, 3, 1}}) {
    for (const SequenceSize& size : {SequenceSize{2, 45, 35}, SequenceSize{1, 300, 5}}) {
      for (const bool causal : {false, true}) {
        SCOPED_TRACE(testing::Message() << "k " << key << ", w T " << decay << ", u " << first << ", " << size.time
                                        << " tokens, causal " << causal);
        Problem<double> exact(size, causal, key, decay, first);
        const Named<double> expected = by_definition(exact);
        // Exponents near 1000 are exact to 1e-13, times the number of tokens between.
        expect_agreement(exact.everything(), expected, 1e-9);
        Problem<float> single(size, causal, key, decay, first);
        // Keys of some hundreds carry 3e-5 of rounding into the exponents. Gradients are differences of nearly equal
        // numbers where one token outweighs all others.
        expect_agreement(single.everything(), expected, 3e-4);
      }
    }
  }
}

TEST(BiWkv, FloatAgreesWithDouble) {
  for (const SequenceSize& size : sizes) {
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(testing::Message() << size.time << " tokens, causal " << causal);
      Problem<float> single(size, causal);
      Problem<double> exact(size, causal);
      // e^-w is rounded once and multiplied up to 256 times: 256 * 6e-8.
      expect_agreement(single.everything(), exact.everything(), 2e-5);
    }
  }
}

TEST(BiWkv, BitsDoNotDependOnThreads) {
  // More units of work than threads, which take one each, and fewer, of which threads share the chunks.
  for (const SequenceSize& size : {SequenceSize{2, 700, 70}, SequenceSize{1, 700, 20}}) {
    for (const double decay : {3.0, 400.0}) {
      expect_same_bits([&] {
        Problem<float> p(size, false, 1, decay);
        std::vector<float> all;
        for (const auto& [name, values] : p.everything()) all.insert(all.end(), values.begin(), values.end());
        return all;
      });
    }
  }
}

// What is left for the gradient changes nothing.
TEST(BiWkv, WithoutATraceTheResultIsTheSame) {
  for (const SequenceSize& size : sizes) {
    for (const double decay : {3.0, 400.0}) {
      Problem<float> p(size, false, 1, decay);
      p.forward();
      std::vector<float> alone(p.y.size());
      bi_wkv_forward(p.inputs(), alone.data());
      EXPECT_EQ(alone, p.y) << size.time << " tokens, w T " << decay;
    }
  }
}

TEST(BiWkv, GradientsMayOverwriteWhatWasKept) {
  for (const SequenceSize& size : sizes) {
    for (const double decay : {3.0, 400.0}) {
      Problem<float> p(size, false, 1, decay);
      p.everything();
      bi_wkv_backward<float>(
          p.inputs(), p.trace(),
          {p.y.data(), p.grad_y.data(), p.grad_decay.data(), p.grad_first.data(), p.inverse.data(), p.y.data()});
      EXPECT_EQ(p.inverse, p.grad_key) << size.time << " tokens, w T " << decay;
      EXPECT_EQ(p.y, p.grad_value) << size.time << " tokens, w T " << decay;
    }
  }
}

TEST(BiWkv, NotANumberStaysOne) {
  Problem<float> p({1, 9, 3}, false);
  p.key[4 * 3 + 1] = NAN;
  p.forward();
  for (std::size_t i = 0; i < p.y.size(); ++i) EXPECT_EQ(std::isnan(p.y[i]), i % 3 == 1) << i;
}

// Below 33 tokens the published form is the equation with one more step to every other token: u + w in place of u.
TEST(BiWkvOfficialCuda, OfFewTokensHasDistancesOneLonger) {
  Problem<double> official({2, 31, 5}, false), equation({2, 31, 5}, false);
  official.is_official = true;
  for (std::size_t c = 0; c < equation.first.size(); ++c) equation.first[c] += equation.decay[c];
  official.forward();
  equation.forward();
  // The denominator's 1e-6.
  EXPECT_LT(relative_error(official.y, equation.y), 2e-6);
  EXPECT_GT(relative_error(official.y, equation.y), 1e-9) << "nothing is added to the denominator";
}

TEST(BiWkvOfficialCuda, GradientsOfDecayAndBonusAreItsOwn) {
  for (const Index time : {15, 70, 130}) {
    Problem<double> p({2, time, 4}, false);
    p.is_official = true;
    p.everything();
    expect_gradient(
        p.decay, p.grad_decay, "decay", [&] { return p.loss(); }, 2e-6);
    expect_gradient(p.first, p.grad_first, "first", [&] { return p.loss(); });
  }
}

TEST(BiWkvOfficialCuda, IsCloseToTheEquation) {
  Problem<double> official({2, 196, 8}, false), equation({2, 196, 8}, false);
  official.is_official = true;
  const Named<double> expected = equation.everything();
  // The difference is of the order of w = 3 / 196.
  expect_close(official.everything(), expected, 0.1);
  EXPECT_GT(relative_error(official.y, equation.y), 1e-5);
  expect_same_bits([] {
    Problem<float> p({3, 70, 9}, false);
    p.is_official = true;
    p.everything();
    return joined({p.y, p.grad_decay, p.grad_first, p.grad_key, p.grad_value});
  });
}

}  // namespace
}  // namespace rwkvlab::kernels
