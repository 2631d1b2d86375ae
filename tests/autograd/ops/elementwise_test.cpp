#include "autograd/ops/elementwise.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::check_op;
using test::normal_tensor;

struct NamedActivation {
  const char* name;
  Activation kind;
};
constexpr NamedActivation activations[] = {
    {"relu", Activation::relu},         {"squared_relu", Activation::squared_relu},
    {"gelu", Activation::gelu},         {"gelu_tanh", Activation::gelu_tanh},
    {"silu", Activation::silu},         {"sigmoid", Activation::sigmoid},
    {"tanh", Activation::tanh},         {"mish", Activation::mish},
    {"softplus", Activation::softplus}, {"exp", Activation::exp},
};

TEST(Elementwise, AddAndScale) {
  for (const Shape& shape : test::odd_shapes()) {
    SCOPED_TRACE(shape.text());
    const Tensor a = normal_tensor(shape, "a"), b = normal_tensor(shape, "b");
    check_op({"add", {{"a", a}, {"b", b}}, [](const std::vector<Var>& in) { return std::vector{add(in[0], in[1])}; }});
    check_op({"multiply", {{"a", a}, {"b", b}}, [](const std::vector<Var>& in) {
                return std::vector{multiply(in[0], in[1])};
              }});
    check_op({"scale", {{"x", a}}, [](const std::vector<Var>& in) { return std::vector{scale(in[0], -0.75)}; }});
  }
}

TEST(Elementwise, AddOfAValueToItselfDoublesTheGradient) {
  const Var x = Var::leaf(normal_tensor({3, 5}, "x"));
  EXPECT_TRUE(test::gradients_agree({{"x", x}}, [&] { return std::vector{add(x, x)}; }));
  EXPECT_TRUE(test::gradients_agree({{"x", x}}, [&] { return std::vector{gate(Activation::sigmoid, x, x)}; }));
  EXPECT_TRUE(test::gradients_agree({{"x", x}}, [&] { return std::vector{multiply(x, x)}; }));
}

TEST(Elementwise, EveryActivation) {
  for (const auto& [name, kind] : activations) {
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{3, 13, 17}}) {
      const auto apply = [kind = kind](const std::vector<Var>& in) { return std::vector{activation(kind, in[0])}; };
      check_op({name, {{"x", normal_tensor(shape, name, 2)}}, apply});
    }
  }
}

TEST(Elementwise, EveryGate) {
  for (const auto& [name, kind] : activations) {
    for (const Shape& shape : {Shape{1, 3, 5}, Shape{3, 13, 17}}) {
      const auto apply = [kind = kind](const std::vector<Var>& in) { return std::vector{gate(kind, in[0], in[1])}; };
      check_op({name, {{"gate", normal_tensor(shape, name, 2)}, {"value", normal_tensor(shape, "value")}}, apply});
    }
  }
}

// Far from 0 every function is 0, 1, x, x^2 or beyond the range; the gradients stay numbers.
TEST(Elementwise, ActivationsFarFromZeroAreFinite) {
  for (const auto& [name, kind] : activations) {
    SCOPED_TRACE(name);
    for (const double x : {-1000.0, -90.0, 60.0, 1000.0}) {
      if (kind == Activation::exp && x > 0) continue;  // Infinite by definition.
      for (const DType type : {DType::f32, DType::f64}) {
        const Var leaf = Var::leaf(Tensor::full({7}, x, type));
        Tape tape;
        const Var y = activation(kind, leaf);
        tape.backward({y}, {Tensor::full({7}, 1, type)});
        EXPECT_TRUE(test::all_finite(y.value())) << x;
        EXPECT_TRUE(test::all_finite(leaf.grad())) << x;
      }
    }
  }
}

TEST(Elementwise, Dropout) {
  for (const double probability : {0.0, 0.3, 0.9}) {
    kernels::DropoutMask mask;
    mask.probability = probability;
    mask.seed = 7;
    mask.stream = 11;
    const auto apply = [mask](const std::vector<Var>& in) { return std::vector{dropout(in[0], mask)}; };
    check_op({"dropout", {{"x", normal_tensor({3, 13, 5}, "x")}}, apply});
  }
}

TEST(Elementwise, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var a(Tensor::zeros({2, 3})), b(Tensor::zeros({3, 2}));
  test::expect_shape_error([&] { add(a, b); }, {"add", "[2, 3]", "[3, 2]"});
  test::expect_shape_error([&] { multiply(a, b); }, {"multiply", "[2, 3]", "[3, 2]"});
  test::expect_shape_error([&] { gate(Activation::silu, a, b); }, {"gate", "[2, 3]", "[3, 2]"});
}

}  // namespace
}  // namespace rwkvlab
