#include "kernels/elementwise.h"

#include <gtest/gtest.h>

#include "helpers.h"
#include "kernels/activation.h"
#include "kernels/adam.h"
#include "kernels/reduce.h"

namespace rwkvlab::kernels {
namespace {

constexpr Index lengths[] = {1, 5, 17, 33, 40001};  // The last one has several pieces.

TEST(Elementwise, Arithmetic) {
  for (const Index n : lengths) {
    const auto a = random_values<float>(n, "a"), b = random_values<float>(n, "b");
    std::vector<float> sum(n), difference(n), product(n), scaled(n), y = b, filled(n), copied(n);
    add(n, a.data(), b.data(), sum.data());
    subtract(n, a.data(), b.data(), difference.data());
    multiply(n, a.data(), b.data(), product.data());
    scale(n, a.data(), 3.0, 0.5, scaled.data());
    axpy(n, -2.0, a.data(), y.data());
    fill(n, 7.0, filled.data());
    copy(n, a.data(), copied.data());
    for (Index i = 0; i < n; ++i) {
      ASSERT_EQ(sum[i], a[i] + b[i]);
      ASSERT_EQ(difference[i], a[i] - b[i]);
      ASSERT_EQ(product[i], a[i] * b[i]);
      // A fused multiply-add rounds once, plain code twice.
      ASSERT_NEAR(scaled[i], 3 * a[i] + 0.5F, 2e-6);
      ASSERT_NEAR(y[i], b[i] - 2 * a[i], 2e-6);
      ASSERT_EQ(filled[i], 7.0F);
      ASSERT_EQ(copied[i], a[i]);
    }
    add(n, sum.data(), b.data(), sum.data());  // In place.
    for (Index i = 0; i < n; ++i) ASSERT_EQ(sum[i], (a[i] + b[i]) + b[i]);
  }
}

TEST(Elementwise, VectorsOverRows) {
  for (const RowsSize& size : {RowsSize{1, 1}, RowsSize{3, 5}, RowsSize{13, 17}, RowsSize{301, 129}}) {
    const auto x = random_values<double>(size.elements(), "x"), y = random_values<double>(size.elements(), "y");
    const auto vector = random_values<double>(size.channels, "vector");
    std::vector<double> added(x.size()), multiplied(x.size()), sums(vector.size()), products(vector.size());
    add_vector(size, x.data(), vector.data(), added.data());
    multiply_vector(size, x.data(), vector.data(), multiplied.data());
    sum_rows(size, x.data(), sums.data());
    sum_rows_of_product(size, x.data(), y.data(), products.data());
    std::vector<double> expected_sums(vector.size()), expected_products(vector.size());
    for (Index i = 0; i < size.elements(); ++i) {
      const Index c = i % size.channels;
      ASSERT_EQ(added[i], x[i] + vector[c]);
      ASSERT_EQ(multiplied[i], x[i] * vector[c]);
      expected_sums[c] += x[i];
      expected_products[c] += x[i] * y[i];
    }
    EXPECT_LT(relative_error(sums, expected_sums), 1e-13);
    EXPECT_LT(relative_error(products, expected_products), 1e-13);
  }
}

TEST(Elementwise, BitsDoNotDependOnThreads) {
  const RowsSize size{701, 129};
  const auto x = random_values<float>(size.elements(), "x"), y = random_values<float>(size.elements(), "y");
  expect_same_bits([&] {
    std::vector<float> sums(size.channels), products(size.channels), total(x.size());
    sum_rows(size, x.data(), sums.data());
    sum_rows_of_product(size, x.data(), y.data(), products.data());
    add(size.elements(), x.data(), y.data(), total.data());
    return joined({sums, products, total});
  });
}

constexpr Activation activations[] = {Activation::relu,      Activation::squared_relu, Activation::gelu,
                                      Activation::gelu_tanh, Activation::silu,         Activation::sigmoid,
                                      Activation::tanh,      Activation::mish,         Activation::softplus,
                                      Activation::exp,       Activation::elu_plus_one};

double expected_value(Activation kind, double x) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  switch (kind) {
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::squared_relu:
      return std::max(x, 0.0) * std::max(x, 0.0);
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x * sigmoid;
    case Activation::sigmoid:
      return sigmoid;
    case Activation::tanh:
      return std::tanh(x);
    case Activation::mish:
      return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::softplus:
      return std::log1p(std::exp(x));
    case Activation::exp:
      return std::exp(x);
    case Activation::elu_plus_one:
      return x > 0 ? x + 1 : std::exp(x);
  }
  return 0;
}

TEST(Activation, ValuesInDoubleAndFloat) {
  for (const Activation kind : activations) {
    for (const Index n : {Index(1), Index(17), Index(20001)}) {
      const auto x = random_values<float>(n, "x", 4);
      const auto wide_x = convert<double>(x);
      std::vector<float> y(n);
      std::vector<double> wide_y(n), expected(n);
      activation_forward(kind, n, x.data(), y.data());
      activation_forward(kind, n, wide_x.data(), wide_y.data());
      for (Index i = 0; i < n; ++i) expected[i] = expected_value(kind, wide_x[i]);
      EXPECT_LT(relative_error(wide_y, expected), 1e-14) << static_cast<int>(kind);
      EXPECT_LT(relative_error(y, expected), 1e-6) << static_cast<int>(kind);
    }
  }
}

TEST(Activation, GradientsAgreeWithFiniteDifferences) {
  const Index n = 33;
  for (const Activation kind : activations) {
    auto x = random_values<double>(n, "x", 2), value = random_values<double>(n, "value");
    const auto g = random_values<double>(n, "g");
    std::vector<double> out(n), grad_x(n), grad_value(n);
    activation_backward(kind, n, x.data(), g.data(), grad_x.data());
    expect_gradient(x, grad_x, "activation " + std::to_string(static_cast<int>(kind)), [&] {
      activation_forward(kind, n, x.data(), out.data());
      return weighted_sum(out, g);
    });
    const auto gated = [&] {
      gate_forward(kind, n, x.data(), value.data(), out.data());
      return weighted_sum(out, g);
    };
    gate_backward(kind, n, x.data(), value.data(), g.data(), grad_x.data(), grad_value.data());
    expect_gradient(x, grad_x, "gate", gated);
    expect_gradient(value, grad_value, "gated value", gated);
  }
}

TEST(Activation, FloatGradientsAgreeWithDouble) {
  const Index n = 20001;
  const auto x = random_values<float>(n, "x", 4), value = random_values<float>(n, "value"),
             g = random_values<float>(n, "g");
  const auto wide_x = convert<double>(x), wide_value = convert<double>(value), wide_g = convert<double>(g);
  for (const Activation kind : activations) {
    std::vector<float> a(n), b(n);
    std::vector<double> wide_a(n), wide_b(n);
    gate_backward(kind, n, x.data(), value.data(), g.data(), a.data(), b.data());
    gate_backward(kind, n, wide_x.data(), wide_value.data(), wide_g.data(), wide_a.data(), wide_b.data());
    EXPECT_LT(relative_error(a, wide_a), 2e-6) << static_cast<int>(kind);
    EXPECT_LT(relative_error(b, wide_b), 2e-6) << static_cast<int>(kind);
  }
}

TEST(Activation, ExtremesStayFinite) {
  const std::vector<float> x{-1e30F, -1000, -100, -89, 0, 89, 100, 1000, 1e15F};
  const std::vector<float> ones(x.size(), 1.0F);
  std::vector<float> y(x.size()), grad(x.size());
  for (const Activation kind : activations) {
    if (kind == Activation::exp) continue;  // Its limit is infinity.
    activation_forward(kind, static_cast<Index>(x.size()), x.data(), y.data());
    activation_backward(kind, static_cast<Index>(x.size()), x.data(), ones.data(), grad.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_TRUE(std::isfinite(y[i])) << static_cast<int>(kind) << " " << x[i];
      EXPECT_TRUE(std::isfinite(grad[i])) << static_cast<int>(kind) << " " << x[i];
    }
  }
}

TEST(Reduce, SumsInDouble) {
  for (const Index n : lengths) {
    const auto a = random_values<float>(n, "a"), b = random_values<float>(n, "b");
    double total = 0, product = 0, square = 0, largest = 0;
    for (Index i = 0; i < n; ++i) {
      const double x = a[i], y = b[i];
      total += x;
      product += x * y;
      square += x * x;
      largest = std::max(largest, std::fabs(x));
    }
    EXPECT_NEAR(sum(n, a.data()), total, 1e-10);
    EXPECT_NEAR(dot(n, a.data(), b.data()), product, 1e-10);
    EXPECT_NEAR(sum_of_squares(n, a.data()), square, 1e-10 * square);
    EXPECT_EQ(max_abs(n, a.data()), largest);
  }
  EXPECT_EQ(sum<float>(0, nullptr), 0);
}

TEST(Reduce, FindsWhatIsNotFinite) {
  const Index n = 40001;
  auto x = random_values<float>(n, "x");
  EXPECT_TRUE(all_finite(n, x.data()));
  for (const Index place : {Index(0), Index(16390), n - 1}) {
    for (const float bad : {HUGE_VALF, -HUGE_VALF, NAN}) {
      const float good = std::exchange(x[place], bad);
      EXPECT_FALSE(all_finite(n, x.data()));
      EXPECT_EQ(std::isnan(max_abs(n, x.data())), std::isnan(bad));
      if (!std::isnan(bad)) {
        EXPECT_EQ(max_abs(n, x.data()), HUGE_VAL);
      }
      x[place] = good;
    }
  }
}

TEST(Reduce, BitsDoNotDependOnThreads) {
  const Index n = 1400003;
  const auto x = random_values<float>(n, "x"), y = random_values<float>(n, "y");
  expect_same_bits([&] {
    return std::vector<double>{sum(n, x.data()), dot(n, x.data(), y.data()), sum_of_squares(n, x.data())};
  });
}

TEST(Adam, FollowsItsFormula) {
  AdamStep step;
  step.learning_rate = 0.01;
  step.weight_decay = 0.1;
  step.gradient_factor = 0.5;
  for (const Index n : {Index(1), Index(17), Index(40001)}) {
    auto p = random_values<float>(n, "p"), m = std::vector<float>(n), v = std::vector<float>(n);
    auto wide_p = convert<double>(p), wide_m = convert<double>(m), wide_v = convert<double>(v);
    auto expected = wide_p, em = wide_m, ev = wide_v;
    for (step.steps = 1; step.steps <= 5; ++step.steps) {
      const auto gradient = random_values<float>(n, "gradient" + std::to_string(step.steps));
      adam_update(n, step, gradient.data(), p.data(), m.data(), v.data());
      adam_update(n, step, convert<double>(gradient).data(), wide_p.data(), wide_m.data(), wide_v.data());
      const double k = static_cast<double>(step.steps);
      for (Index i = 0; i < n; ++i) {
        const double g = 0.5 * static_cast<double>(gradient[i]);
        em[i] = 0.9 * em[i] + 0.1 * g;
        ev[i] = 0.99 * ev[i] + 0.01 * g * g;
        const double unbiased_m = em[i] / (1 - std::pow(0.9, k)), unbiased_v = ev[i] / (1 - std::pow(0.99, k));
        expected[i] -= 0.01 * (unbiased_m / (std::sqrt(unbiased_v) + 1e-8) + 0.1 * expected[i]);
      }
    }
    EXPECT_LT(relative_error(wide_p, expected), 1e-13);
    EXPECT_LT(relative_error(p, expected), 1e-6);
    EXPECT_LT(relative_error(m, em), 1e-6);
    EXPECT_LT(relative_error(v, ev), 1e-6);
  }
}

}  // namespace
}  // namespace rwkvlab::kernels
