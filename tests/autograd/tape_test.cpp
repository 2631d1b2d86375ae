#include <gtest/gtest.h>

#include <thread>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/group_norm.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/token_shift.h"
#include "base/error.h"
#include "tests/support/tensors.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

Var ones(std::int64_t count) { return Var::leaf(Tensor::full({count}, 1, DType::f64)); }

// Identity that notes the memory in use when its gradient is asked for.
class MemoryProbe final : public Op {
 public:
  explicit MemoryProbe(std::vector<std::int64_t>* live) : live_(live) {}
  std::string_view name() const override { return "memory_probe"; }
  Tensors forward(const Tensors& in) override { return {in[0].clone()}; }
  Tensors backward(const Tensors& out) override {
    live_->push_back(memory_use().live);
    return {out[0]};
  }

 private:
  std::vector<std::int64_t>* live_;
};

class ForgetsAGradient final : public Op {
 public:
  std::string_view name() const override { return "forgets"; }
  Tensors forward(const Tensors& in) override { return {in[0].clone()}; }
  Tensors backward(const Tensors&) override { return {}; }
};

TEST(Tape, WithoutATapeNothingIsRecordedOrKept) {
  EXPECT_EQ(Tape::current(), nullptr);
  const Var x = Var::leaf(Tensor::full({1024}, 0.5));
  const std::int64_t before = memory_use().live;
  const Var y = activation(Activation::tanh, gate(Activation::mish, scale(x, 2), x));
  EXPECT_FALSE(y.needs_grad());
  EXPECT_EQ(memory_use().live - before, static_cast<std::int64_t>(y.value().bytes()));
}

TEST(Tape, ConstantsAreNotRecorded) {
  Tape tape;
  const Var y = scale(Var(Tensor::full({3}, 1)), 2);
  EXPECT_FALSE(y.needs_grad());
  EXPECT_EQ(tape.size(), 0U);
  const Var leaf = ones(3);
  EXPECT_FALSE(scale(scale(leaf, 2).detached(), 2).needs_grad());
  EXPECT_EQ(tape.size(), 1U);
}

TEST(Tape, TapesNestAndTheNewestRecords) {
  const Var x = ones(2);
  Tape outer;
  const Var y = scale(x, 3);
  {
    Tape inner;
    EXPECT_EQ(Tape::current(), &inner);
    const Var z = scale(y, 5);
    EXPECT_EQ(outer.size(), 1U);
    EXPECT_EQ(inner.size(), 1U);
    inner.backward({z}, {Tensor::full({2}, 1, DType::f64)});
    EXPECT_EQ(inner.size(), 0U);
    EXPECT_FALSE(x.grad().defined());
  }
  EXPECT_EQ(Tape::current(), &outer);
  // What the inner pass left at y joins the outer one: 5 + 1.
  outer.backward({y}, {Tensor::full({2}, 1, DType::f64)});
  EXPECT_EQ(x.grad().to_doubles(), (std::vector<double>{18, 18}));
}

TEST(Tape, RecordsItsOwnThreadOnly) {
  const Var x = ones(2);
  Tape tape;
  bool recorded = true;
  std::thread([&] { recorded = Tape::current() != nullptr || scale(x, 2).needs_grad(); }).join();
  EXPECT_FALSE(recorded);
  EXPECT_EQ(tape.size(), 0U);
}

TEST(Tape, LeavesAccumulateUntilCleared) {
  Var x = ones(3);
  const Tensor seed = Tensor::from<double>({3}, std::vector<double>{1, 2, 4});
  for (int pass = 1; pass <= 3; ++pass) {
    Tape tape;
    const Var y = scale(x, 2);
    tape.backward({y}, {seed});
    EXPECT_EQ(x.grad().to_doubles(), (std::vector<double>{2.0 * pass, 4.0 * pass, 8.0 * pass}));
  }
  EXPECT_EQ(seed.to_doubles(), (std::vector<double>{1, 2, 4}));
  x.clear_grad();
  EXPECT_FALSE(x.grad().defined());
}

// The sum hands the same gradient to both sides; each then scales it, which may not be seen by the other.
TEST(Tape, SharedGradientsAreNotOverwritten) {
  const Var a = ones(2), b = ones(2);
  const Tensor seed = Tensor::full({2}, 1, DType::f64);
  Tape tape;
  const Var left = scale(a, 2), right = scale(b, 3), sum = add(left, right);
  tape.backward({sum, add(sum, left)}, {seed, seed});
  EXPECT_EQ(a.grad().to_doubles(), (std::vector<double>{6, 6}));
  EXPECT_EQ(b.grad().to_doubles(), (std::vector<double>{6, 6}));
  EXPECT_EQ(seed.to_doubles(), (std::vector<double>{1, 1}));
}

TEST(Tape, ALeafUsedAsOutputReceivesItsSeed) {
  const Var x = ones(2);
  const Tensor seed = Tensor::full({2}, 1, DType::f64);
  Tape tape;
  const Var y = scale(x, 2);
  tape.backward({x, y}, {seed, seed});
  EXPECT_EQ(x.grad().to_doubles(), (std::vector<double>{3, 3}));
  EXPECT_EQ(seed.to_doubles(), (std::vector<double>{1, 1}));
}

TEST(Tape, MemoryIsFreedDuringBackward) {
  constexpr std::int64_t elements = 4096;
  constexpr int depth = 8;
  const Var x = Var::leaf(Tensor::full({elements}, 0.5));
  const std::int64_t before = memory_use().live, buffer = elements * 4;
  std::vector<std::int64_t> live;
  {
    Tape tape;
    Var y = x;
    for (int i = 0; i < depth; ++i) {
      // A fresh value each time, which the activation keeps for its gradient.
      y = run_op(std::make_unique<MemoryProbe>(&live), {y})[0];
      y = activation(Activation::tanh, y);
    }
    EXPECT_GE(memory_use().live - before, depth * buffer);
    const Tensor seed = Tensor::full({elements}, 1);
    reset_peak_memory();
    const std::int64_t start = memory_use().live;
    tape.backward({y}, {seed});
    // A new gradient is written before the kept value goes: never more than that one buffer above the start.
    EXPECT_LE(memory_use().peak, start + buffer);
  }
  ASSERT_EQ(live.size(), static_cast<std::size_t>(depth));
  for (std::size_t i = 1; i < live.size(); ++i) EXPECT_LE(live[i], live[i - 1] - buffer);
  EXPECT_EQ(memory_use().live - before, buffer) << "only the leaf's gradient remains";
}

TEST(Tape, CheapValuesAreComputedAgainInsteadOfKept) {
  const Var x = Var::leaf(normal_tensor({16, 64}, "x", 1, DType::f32));
  const Var w = Var::leaf(normal_tensor({8, 64}, "w", 1, DType::f32));
  const std::int64_t before = memory_use().live;
  Tape tape;
  const Var y = linear(activation(Activation::tanh, x), w);
  // The activation, which the gradient of the weight needs, is gone.
  EXPECT_EQ(memory_use().live - before, static_cast<std::int64_t>(y.value().bytes()));
  const Tensor seed = normal_tensor({16, 8}, "seed", 1, DType::f32);
  tape.backward({y}, {seed});
  const Var constant(activation(Activation::tanh, x).value());
  const Var kept = Var::leaf(w.value());
  Tape second;
  second.backward({linear(constant, kept)}, {seed});
  EXPECT_TRUE(test::equal_bytes(w.grad(), kept.grad()));
}

// The same for every operation that computes its output again: the weight's gradient is that of a value that was kept.
TEST(Tape, RecomputedValuesAreTheKeptOnes) {
  const Shape shape = {2, 8, 64};
  const auto leaf = [](const Shape& s, const std::string& name) {
    return Var::leaf(normal_tensor(s, name, 1, DType::f32));
  };
  const Var x = leaf(shape, "x"), v = leaf(shape, "v"), a = leaf({64}, "a"), b = leaf({64}, "b");
  const Tensor seed = normal_tensor({2, 8, 3}, "seed", 1, DType::f32);
  const std::vector<std::pair<std::string, std::function<Var()>>> values = {
      {"activation", [&] { return activation(Activation::tanh, x); }},
      {"gate", [&] { return gate(Activation::silu, x, v); }},
      {"gate of a norm", [&] { return gate(Activation::silu, layer_norm(x, a, b, 1e-5), v); }},
      {"multiply", [&] { return multiply(activation(Activation::tanh, x), v); }},
      {"scale", [&] { return scale(activation(Activation::tanh, x), -3); }},
      {"layer_norm", [&] { return layer_norm(x, a, b, 1e-5); }},
      {"add_layer_norm", [&] { return add_layer_norm(x, v, a, b, 1e-5).second; }},
      {"group_norm", [&] { return group_norm(x, a, b, 4, 1e-5); }},
      {"token_mix",
       [&] {
         return token_mix(layer_norm(x, a, b, 1e-5), Var(), {a, b}, MixedToken::previous)[1];
       }},
  };
  for (const auto& [name, value] : values) {
    SCOPED_TRACE(name);
    const Tensor kept = value().value();
    const std::int64_t before = memory_use().live;
    const Var w = leaf({3, 64}, "w"), other = leaf({3, 64}, "w");
    Tape tape;
    const Var y = linear(value(), w);
    // The output, two weights, statistics of norms: 16 rows of two numbers for each of up to 4 groups.
    const std::int64_t small = 3 * 4096 + 4 * 16 * 8;
    EXPECT_LT(
        memory_use().live - before,
        small + static_cast<std::int64_t>((name == "multiply" || name == "add_layer_norm" ? 1 : 0) * kept.bytes()));
    tape.backward({y}, {seed});
    Tape second;
    second.backward({linear(Var(kept), other)}, {seed});
    EXPECT_TRUE(test::equal_bytes(w.grad(), other.grad()));
  }
}

TEST(Tape, PausedNothingIsRecorded) {
  const Var x = ones(2);
  Tape tape;
  {
    const PauseRecording pause;
    EXPECT_FALSE(scale(x, 2).needs_grad());
    EXPECT_EQ(Tape::current(), nullptr);
  }
  EXPECT_TRUE(scale(x, 2).needs_grad());
  EXPECT_EQ(tape.size(), 1U);
}

TEST(Tape, ASecondPassOfTheSameShapesAsksTheSystemForNoMemory) {
  const Var x = Var::leaf(Tensor::full({7, 5}, 0.5)), w = Var::leaf(Tensor::full({3, 5}, 0.5));
  const auto pass = [&] {
    Tape tape;
    const Var y = activation(Activation::silu, linear(x, w));
    tape.backward({y}, {Tensor::full({7, 3}, 1)});
  };
  pass();
  pass();
  const std::int64_t calls = memory_use().system_calls;
  for (int i = 0; i < 5; ++i) pass();
  EXPECT_EQ(memory_use().system_calls, calls);
}

TEST(Tape, ShapeOnlyGivesShapesWithoutMemory) {
  const ShapeOnly shape_only;
  const std::int64_t calls = memory_use().system_calls;
  // A million times a million weights, four terabytes.
  const Var x = Var::leaf(Tensor::empty({2, 3, 1000000})), w = Var::leaf(Tensor::empty({1000000, 1000000}));
  Tape tape;
  const Var y = activation(Activation::relu, linear(x, w));
  EXPECT_EQ(y.shape(), (Shape{2, 3, 1000000}));
  tape.backward({y}, {Tensor::empty(y.shape())});
  EXPECT_EQ(w.grad().shape(), w.shape());
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_EQ(memory_use().system_calls, calls);
}

TEST(Tape, WrongSeedsAndBrokenOperations) {
  const Var x = ones(3);
  {
    Tape tape;
    const Var y = scale(x, 2);
    EXPECT_THROW(tape.backward({y}, {Tensor::full({2}, 1, DType::f64)}), ShapeError);
    EXPECT_THROW(tape.backward({y}, {}), BugError);
  }
  Tape tape;
  const Var y = run_op(std::make_unique<ForgetsAGradient>(), {x})[0];
  EXPECT_THROW(tape.backward({y}, {Tensor::full({3}, 1, DType::f64)}), BugError);
}

TEST(Tape, AScalarLossNeedsNoSeed) {
  const Var x = Var::leaf(Tensor::full({}, 3, DType::f64));
  Tape tape;
  tape.backward(scale(x, 2));
  EXPECT_EQ(x.grad().item(), 2);
}

}  // namespace
}  // namespace rwkvlab
