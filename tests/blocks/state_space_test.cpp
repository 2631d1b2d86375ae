// The mixers with a matrix-valued state that no reference case covers as a whole, against their equations written out.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "tests/blocks/variants.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;
using Vector = std::vector<double>;

// A mixer in float64 and its parameters by name.
struct Built {
  std::unique_ptr<Mixer> mixer;
  std::map<std::string, Vector> values;
  std::map<std::string, Shape> shapes;

  Built(const std::string& kind, const std::string& parameters) {
    mixer = test::build_mixer({"time_mix", kind, parameters}, DType::f64);
    for (const Parameter* const p : mixer->parameters()) {
      const std::string name = p->name.substr(std::string("blocks.1.mix.").size());
      values[name] = p->var.value().to_doubles();
      shapes[name] = p->shape;
    }
  }
  Vector product(const std::string& name, const Vector& x) const {
    const Vector& weight = values.at(name);
    Vector y(weight.size() / x.size());
    for (std::size_t o = 0; o < y.size(); ++o) {
      for (std::size_t i = 0; i < x.size(); ++i) y[o] += weight[o * x.size() + i] * x[i];
    }
    return y;
  }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }
Vector part(const Vector& x, std::size_t begin, std::size_t count) {
  return {x.begin() + static_cast<std::ptrdiff_t>(begin), x.begin() + static_cast<std::ptrdiff_t>(begin + count)};
}
Vector row(const Tensor& x, std::int64_t t) { return part(x.to_doubles(), static_cast<std::size_t>(t) * 8, 8); }

void divide_by_root_mean_square(Vector& x, std::size_t begin, std::size_t count) {
  double squares = 0;
  for (std::size_t i = begin; i < begin + count; ++i) squares += x[i] * x[i];
  for (std::size_t i = begin; i < begin + count; ++i) x[i] /= std::sqrt(squares / static_cast<double>(count) + 1e-5);
}

// SiLU of a causal convolution with the weights [channels, taps] and the inputs so far, the newest last.
Vector convolved(const std::vector<Vector>& inputs, const Vector& weight, const Vector& bias) {
  const std::size_t channels = inputs[0].size(), taps = weight.size() / channels;
  Vector y(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    double sum = bias.empty() ? 0 : bias[c];
    for (std::size_t back = 0; back < std::min(taps, inputs.size()); ++back) {
      sum += weight[c * taps + taps - 1 - back] * inputs[inputs.size() - 1 - back][c];
    }
    y[c] = silu(sum);
  }
  return y;
}

TEST(StateSpaces, Mamba2IsItsEquations) {
  // Width 8, expansion 2: 4 heads of 4 channels, 2 groups of state size 3.
  const Built built("mamba2", "{head_size: 4, state_size: 3, groups: 2, convolution: 2}");
  const auto& w = built.values;
  const Tensor u = normal_tensor({1, 6, 8}, "u");
  std::vector<Vector> mixed;
  Vector state(4 * 4 * 3), expected;
  for (std::int64_t t = 0; t < 6; ++t) {
    const Vector projected = built.product("in_proj.weight", row(u, t));
    ASSERT_EQ(projected.size(), 16U + 16 + 6 + 6 + 4);
    mixed.push_back(part(projected, 16, 28));
    const Vector xbc = convolved(mixed, w.at("conv1d.weight"), w.at("conv1d.bias"));
    Vector y(16);
    for (std::size_t h = 0; h < 4; ++h) {
      const double step = std::log1p(std::exp(projected[44 + h] + w.at("dt_bias")[h]));
      const double decay = std::exp(-std::exp(w.at("A_log")[h]) * step);
      for (std::size_t c = h * 4; c < h * 4 + 4; ++c) {
        y[c] = w.at("D")[h] * xbc[c];
        for (std::size_t n = 0; n < 3; ++n) {
          double& s = state[c * 3 + n];
          s = decay * s + step * xbc[c] * xbc[16 + h / 2 * 3 + n];
          y[c] += s * xbc[22 + h / 2 * 3 + n];
        }
        y[c] *= silu(projected[c]);
      }
    }
    divide_by_root_mean_square(y, 0, 8);
    divide_by_root_mean_square(y, 8, 8);
    for (std::size_t c = 0; c < 16; ++c) y[c] *= w.at("norm.weight")[c];
    for (const double value : built.product("out_proj.weight", y)) expected.push_back(value);
  }
  const Tensor y = built.mixer->forward(Var(u), {}).value();
  EXPECT_TRUE(test::close(y, Tensor::from<double>(y.shape(), expected), 1e-12));
}

TEST(StateSpaces, TheDeltaRuleIsItsEquations) {
  // Two heads of 3 keys and 5 values.
  const Built built("delta_rule",
                    "{heads: 2, key_size: 3, value_size: 5, convolution: 3, gate: true, "
                    "negative_eigenvalues: true}");
  const auto& w = built.values;
  const Tensor x = normal_tensor({1, 6, 8}, "x");
  std::map<char, std::vector<Vector>> inputs;
  Vector state(2 * 5 * 3), expected;
  for (std::int64_t t = 0; t < 6; ++t) {
    std::map<char, Vector> now;
    for (const char which : {'q', 'k', 'v'}) {
      inputs[which].push_back(built.product(std::string(1, which) + "_proj.weight", row(x, t)));
      now[which] = convolved(inputs[which], w.at(std::string(1, which) + "_conv1d.weight"), {});
    }
    const Vector strength = built.product("b_proj.weight", row(x, t)), gate = built.product("g_proj.weight", row(x, t));
    Vector y(10);
    for (std::size_t h = 0; h < 2; ++h) {
      for (const char which : {'q', 'k'}) {
        double squares = 1e-6;
        for (std::size_t c = 0; c < 3; ++c) squares += now[which][h * 3 + c] * now[which][h * 3 + c];
        for (std::size_t c = 0; c < 3; ++c) now[which][h * 3 + c] /= std::sqrt(squares);
      }
      for (std::size_t v = 0; v < 5; ++v) {
        double* const s = &state[(h * 5 + v) * 3];
        double stored = 0;
        for (std::size_t c = 0; c < 3; ++c) stored += s[c] * now['k'][h * 3 + c];
        const double change = 2 * sigmoid(strength[h]) * (now['v'][h * 5 + v] - stored);
        for (std::size_t c = 0; c < 3; ++c) {
          s[c] += change * now['k'][h * 3 + c];
          y[h * 5 + v] += s[c] * now['q'][h * 3 + c] / std::sqrt(3.0);
        }
      }
      divide_by_root_mean_square(y, h * 5, 5);
    }
    for (std::size_t c = 0; c < 10; ++c) y[c] *= w.at("o_norm.weight")[c % 5] * silu(gate[c]);
    for (const double value : built.product("o_proj.weight", y)) expected.push_back(value);
  }
  const Tensor y = built.mixer->forward(Var(x), {}).value();
  EXPECT_TRUE(test::close(y, Tensor::from<double>(y.shape(), expected), 1e-12));
}

TEST(StateSpaces, InitialValuesAreThoseOfThePapers) {
  const auto fresh = [](const std::string& kind) {
    auto mixer =
        make_root(build_kind<Mixer, MixerSite>("time_mix", make_choice("time_mix", kind), MixerSite{0, 2, 512}));
    mixer->allocate(1, DType::f64);
    std::map<std::string, Vector> values;
    for (const Parameter* const p : mixer->parameters()) values[p->name] = p->var.value().to_doubles();
    return values;
  };
  const auto largest = [](const Vector& x) { return std::abs(*std::max_element(x.begin(), x.end())); };
  const auto mamba = fresh("mamba2");
  ASSERT_EQ(mamba.at("A_log").size(), 16U);
  for (std::size_t h = 0; h < 16; ++h) {
    const double rate = std::exp(mamba.at("A_log")[h]), step = std::log1p(std::exp(mamba.at("dt_bias")[h]));
    EXPECT_TRUE(rate >= 1 && rate <= 16) << rate;
    EXPECT_TRUE(step >= 0.000999 && step <= 0.1001) << step;
    EXPECT_EQ(mamba.at("D")[h], 1);
  }
  EXPECT_NEAR(largest(mamba.at("in_proj.weight")), 1 / std::sqrt(512.0), 1e-5);
  const auto retention = fresh("retention");
  EXPECT_NEAR(largest(retention.at("q_proj.weight")), std::exp2(-2.5) * std::sqrt(6.0 / 1024), 1e-5);
  EXPECT_NEAR(largest(retention.at("g_proj.weight")), std::exp2(-2.5) * std::sqrt(6.0 / 1536), 1e-5);
  EXPECT_NEAR(largest(retention.at("o_proj.weight")), std::sqrt(6.0 / 1536), 1e-5);
  for (const char* const kind : {"gated_linear_attention", "delta_rule"}) {
    double squares = 0;
    const auto values = fresh(kind);
    for (const double x : values.at("q_proj.weight")) squares += x * x;
    EXPECT_NEAR(std::sqrt(squares / static_cast<double>(values.at("q_proj.weight").size())), 0.02, 2e-4) << kind;
  }
}

TEST(StateSpaces, SizesThatDoNotFitAreExplained) {
  for (const auto& [kind, parameters, explanation] :
       {std::tuple{"retention", "{heads: 3}", "heads 3 does not divide the 8 channels that key_size 0 stands for"},
        {"gated_linear_attention", "{heads: 8}", "heads 8 does not divide the 4 channels"},
        {"delta_rule", "{heads: 3, key_size: 2}", "value_size 0 stands for"},
        {"mamba2", "{head_size: 5}",
         "head_size 5 does not divide the 16 channels of the time mix; expected a divisor, "
         "such as 4"},
        {"mamba2", "{head_size: 4, groups: 3}", "groups 3 does not divide the 4 heads"}}) {
    try {
      test::build_mixer({"time_mix", kind, parameters}, DType::f32);
      ADD_FAILURE() << kind << " " << parameters << ": no error";
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(explanation), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace rwkvlab
