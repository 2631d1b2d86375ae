#include "autograd/ops/recomputed.h"

#include "autograd/bfloat16_products.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/linear.h"
#include "kernels/matmul.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::equal_bytes;
using test::normal_tensor;

// Two outputs of x, of a value that may be missing, and of a weight.
std::vector<Var> two_layers(const Var& x, const Var& bias, const Var& weight) {
  const Var h = activation(Activation::tanh, linear(x, weight, bias));
  return {multiply(h, h), linear(h, weight)};
}

RecomputedBody body_of(const Var& weight, std::vector<bool>* calls = nullptr) {
  return [weight, calls](const std::vector<Var>& in, bool again) {
    if (calls != nullptr) calls->push_back(again);
    return two_layers(in[0], in[1], weight);
  };
}

TEST(RecomputedOp, Gradients) {
  test::check_op({"recomputed",
                  {{"x", normal_tensor({2, 3, 5}, "x")},
                   {"bias", normal_tensor({5}, "bias")},
                   {"weight", normal_tensor({5, 5}, "weight")}},
                  [](const std::vector<Var>& in) {
                    return recomputed(body_of(in[2]), {in[0], in[1]}, {in[2]});
                  }});
}

struct Pass {
  explicit Pass(bool again, bool has_bias = true, DType type = DType::f32, std::int64_t width = 5)
      : x(Var::leaf(normal_tensor({2, 3, width}, "x", 1, type))),
        bias(has_bias ? Var::leaf(normal_tensor({width}, "bias", 1, type)) : Var()),
        weight(Var::leaf(normal_tensor({width, width}, "weight", 1, type))) {
    Tape tape;
    const Var inner = scale(x, 0.5);
    outputs = again ? recomputed(body_of(weight, &calls), {inner, bias}, {weight}) : two_layers(inner, bias, weight);
    tape.backward(outputs, {normal_tensor({2, 3, width}, "a", 1, type), normal_tensor({2, 3, width}, "b", 1, type)});
  }
  std::vector<bool> calls;
  Var x, bias, weight;
  std::vector<Var> outputs;
};

TEST(RecomputedOp, SameBitsAsWithout) {
  for (const bool has_bias : {true, false}) {
    const Pass plain(false, has_bias), again(true, has_bias);
    EXPECT_EQ(again.calls, (std::vector<bool>{false, true}));
    for (std::size_t i = 0; i < 2; ++i) EXPECT_TRUE(equal_bytes(again.outputs[i].value(), plain.outputs[i].value()));
    EXPECT_TRUE(equal_bytes(again.x.grad(), plain.x.grad()));
    EXPECT_TRUE(equal_bytes(again.bias.grad(), plain.bias.grad()));
    EXPECT_TRUE(equal_bytes(again.weight.grad(), plain.weight.grad()));
  }
}

TEST(RecomputedOp, KeepsItsInputsAlone) {
  const Var x = Var::leaf(normal_tensor({64, 64}, "x", 1, DType::f32));
  const Var weight = Var::leaf(normal_tensor({64, 64}, "weight", 1, DType::f32));
  const std::int64_t before = memory_use().live;
  Tape tape;
  const std::vector<Var> outputs = recomputed(body_of(weight), {x, Var()}, {weight});
  EXPECT_EQ(memory_use().live - before, 2 * static_cast<std::int64_t>(x.value().bytes()));
  EXPECT_EQ(tape.size(), 1U);
}

// Only the leaves inside want gradients, or nobody does.
TEST(RecomputedOp, ParametersAloneAndNothing) {
  const Tensor x = normal_tensor({3, 5}, "x"), seed = normal_tensor({3, 5}, "seed");
  const Var weight = Var::leaf(normal_tensor({5, 5}, "weight")), same = Var::leaf(weight.value());
  {
    Tape tape;
    tape.backward({recomputed(body_of(weight), {Var(x), Var()}, {weight})[1]}, {seed});
    tape.backward({two_layers(Var(x), Var(), same)[1]}, {seed});
  }
  ASSERT_TRUE(weight.grad().defined());
  EXPECT_TRUE(equal_bytes(weight.grad(), same.grad()));
  std::vector<bool> calls;
  Tape tape;
  recomputed(body_of(weight.detached(), &calls), {Var(x), Var()}, {weight.detached()});
  EXPECT_EQ(tape.size(), 0U);
  EXPECT_EQ(calls, std::vector<bool>{false});
}

TEST(RecomputedOp, TheSecondPassHasTheNumberFormatOfTheFirst) {
  if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  const auto gradients = [](bool again, bool reduced, bool ends_before_backward) {
    const Var x = Var::leaf(normal_tensor({70, 64}, "x", 1, DType::f32));
    const Var weight = Var::leaf(normal_tensor({64, 64}, "weight", 1, DType::f32));
    Tape tape;
    std::optional<Bfloat16Products> products;
    if (reduced) products.emplace();
    const auto outputs = again ? recomputed(body_of(weight), {x, Var()}, {weight}) : two_layers(x, Var(), weight);
    if (ends_before_backward) products.reset();
    if (!reduced) products.emplace();  // Must not be heeded by what was recorded before.
    tape.backward({outputs[1]}, {normal_tensor({70, 64}, "seed", 1, DType::f32)});
    return Tensors{x.grad(), weight.grad()};
  };
  const Tensors reduced = gradients(false, true, false), plain = gradients(false, false, false);
  EXPECT_FALSE(equal_bytes(reduced[0], plain[0]));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(equal_bytes(gradients(true, true, false)[i], reduced[i]));
    EXPECT_TRUE(equal_bytes(gradients(true, true, true)[i], reduced[i]));
    EXPECT_TRUE(equal_bytes(gradients(true, false, false)[i], plain[i]));
  }
}

TEST(RecomputedOp, ErrorsOfTheBodyComeThrough) {
  const Var x = Var::leaf(normal_tensor({2, 4}, "x")), weight = Var::leaf(normal_tensor({5, 5}, "weight"));
  Tape tape;
  test::expect_shape_error([&] { recomputed(body_of(weight), {x, Var()}, {weight}); }, {"linear", "[2, 4]"});
  EXPECT_EQ(Tape::current(), &tape) << "recording goes on after an error";
}

}  // namespace
}  // namespace rwkvlab
