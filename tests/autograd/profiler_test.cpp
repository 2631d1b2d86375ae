#include "autograd/profiler.h"

#include <gtest/gtest.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/var.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

using Kind = ProfiledSpan::Kind;

// Runs the body as the forward pass of a module.
template <class Body>
auto as_module(const std::string& path, Body body) {
  ProfileSpan span;
  if (Profiler* const profiler = Profiler::current()) span.open_module(*profiler, path);
  return body();
}

struct Model {
  Var weight = Var::leaf(Tensor::full({3, 4}, 0.5)), x = Var::leaf(Tensor::full({2, 4}, 1));

  Var forward() const {
    const Var y = as_module("blocks.0.att", [&] { return linear(x, weight); });
    return as_module("blocks.0.ffn", [&] { return multiply(y, y); });
  }
  void step() const {
    Tape tape;
    const Var y = forward();
    tape.backward({y}, {Tensor::full(y.shape(), 1)});
  }
};

class ProfilerTest : public testing::Test {
 protected:
  std::string text(int index) const { return profiler_.texts()[static_cast<std::size_t>(index)]; }
  // The only operation of that name and phase.
  const ProfiledSpan& operation(const std::string& name, Phase phase) const {
    const ProfiledSpan* found = nullptr;
    for (const ProfiledSpan& span : profiler_.spans()) {
      if (span.kind != Kind::operation || text(span.name) != name || span.phase != phase) continue;
      EXPECT_EQ(found, nullptr) << name << " twice";
      found = &span;
    }
    if (found == nullptr) throw BugError("no span of " + name);
    return *found;
  }

  Profiler profiler_;
};

TEST_F(ProfilerTest, AttributesBothPassesToTheModuleThatRecorded) {
  Model().step();
  for (const Phase phase : {Phase::forward, Phase::backward}) {
    EXPECT_EQ(text(operation("linear", phase).module), "blocks.0.att") << to_string(phase);
    EXPECT_EQ(text(operation("multiply", phase).module), "blocks.0.ffn") << to_string(phase);
  }
  // Both factors are y: their gradients meet while the product's backward pass hands them on.
  EXPECT_EQ(text(operation("gradient_sum", Phase::backward).module), "blocks.0.ffn");
}

TEST_F(ProfilerTest, CountsProductsAndBytes) {
  Model().step();
  EXPECT_EQ(operation("linear", Phase::forward).flops, 2.0 * 2 * 3 * 4);
  EXPECT_EQ(operation("linear", Phase::backward).flops, 2 * 2.0 * 2 * 3 * 4);
  EXPECT_EQ(operation("linear", Phase::forward).bytes, 4.0 * (8 + 12 + 6));
  EXPECT_EQ(operation("linear", Phase::backward).bytes, 4.0 * (8 + 12 + 6 + 8 + 12));
  EXPECT_EQ(operation("gradient_sum", Phase::backward).bytes, 4.0 * 3 * 6);
  EXPECT_EQ(operation("multiply", Phase::forward).flops, 0);
  EXPECT_EQ(operation("linear", Phase::forward).bfloat16_flops, 0);
}

TEST_F(ProfilerTest, AnOperationMayKnowBetterWhatItMoves) {
  const Var table = Var::leaf(Tensor::full({100, 4}, 1));
  {
    Tape tape;
    const Var y = embedding(Tensor::from<std::int64_t>({1, 2}, std::vector<std::int64_t>{3, 5}), table);
    tape.backward({add(y, y)}, {Tensor::full(y.shape(), 1)});
  }
  EXPECT_EQ(operation("embedding", Phase::forward).bytes, 4.0 * (8 + 8)) << "two rows of the table, not all";
  EXPECT_EQ(operation("embedding", Phase::backward).bytes, 4.0 * (8 + 400));
  EXPECT_EQ(operation("add", Phase::backward).bytes, 0);
}

TEST_F(ProfilerTest, SpansNestAndTheirOwnTimesAddUp) {
  {
    const ProfileSpan step(Phase::step, "step");
    Model().step();
    const ProfileSpan inner(Phase::update, "adamw");
    note_flops(7);
  }
  const std::vector<ProfiledSpan>& spans = profiler_.spans();
  std::int64_t own = 0;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const ProfiledSpan& span = spans[i];
    EXPECT_LE(span.begin, span.end);
    EXPECT_GE(span.own(), 0);
    own += span.own();
    if (i == 0) continue;
    ASSERT_GE(span.parent, 0);
    ASSERT_LT(span.parent, static_cast<int>(i));
    const ProfiledSpan& around = spans[static_cast<std::size_t>(span.parent)];
    EXPECT_GE(span.begin, around.begin);
    EXPECT_LE(span.end, around.end);
  }
  EXPECT_EQ(own, spans[0].end - spans[0].begin);
  EXPECT_EQ(spans.back().flops, 7);
}

TEST_F(ProfilerTest, TellsWhatIsComputedAgain) {
  const Var x = Var::leaf(Tensor::full({4}, 0.5));
  {
    Tape tape;
    // The product keeps the means to compute f(x) again, not f(x).
    const Var y = multiply(activation(Activation::tanh, x), x);
    tape.backward({y}, {Tensor::full({4}, 1)});
  }
  EXPECT_EQ(operation("multiply", Phase::recompute).parent,
            static_cast<int>(&operation("multiply", Phase::backward) - profiler_.spans().data()));
  // A forward pass inside of a backward pass, and one inside of an evaluation.
  {
    const ProfileSpan backward(Phase::backward, "backward");
    Model().forward();
  }
  EXPECT_EQ(text(operation("linear", Phase::recompute).module), "blocks.0.att");
  {
    const ProfileSpan evaluation(Phase::evaluation, "evaluation");
    Model().forward();
  }
  operation("linear", Phase::evaluation);
}

TEST_F(ProfilerTest, StopsAndTheOneBeforeGoesOn) {
  Profiler inner;
  EXPECT_EQ(Profiler::current(), &inner);
  Model().forward();
  inner.stop();
  EXPECT_FALSE(inner.spans().empty());
  EXPECT_TRUE(profiler_.spans().empty());
  EXPECT_EQ(Profiler::current(), &profiler_);
  const ProfileSpan open(Phase::step, "step");
  profiler_.stop();
  EXPECT_EQ(Profiler::current(), nullptr);
  Model().step();
  EXPECT_EQ(profiler_.spans().size(), 1U);
}

TEST(WithoutAProfiler, NothingIsNotedAndTheSameComesOut) {
  const Model model;
  model.step();
  const std::vector<double> before = model.weight.grad().to_doubles();
  const ProfileSpan span(Phase::step, "step");
  EXPECT_FALSE(static_cast<bool>(span));
  span.add_bytes(1);
  note_flops(1);
  Profiler profiler;
  EXPECT_TRUE(profiler.spans().empty());
  Model again;
  again.step();
  EXPECT_EQ(again.weight.grad().to_doubles(), before);
}

TEST(Profiler, AnErrorEndsTheSpansOnItsWay) {
  Profiler profiler;
  const Var x(Tensor::full({2}, 1)), y(Tensor::full({3}, 1));
  EXPECT_THROW(as_module("a", [&] { return add(x, y); }), ShapeError);
  ASSERT_EQ(profiler.spans().size(), 2U);
  for (const ProfiledSpan& span : profiler.spans()) EXPECT_GE(span.end, span.begin);
  scale(x, 2);
  EXPECT_EQ(profiler.spans().back().parent, -1);
}

}  // namespace
}  // namespace rwkvlab
