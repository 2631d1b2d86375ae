// What must hold for every kind of time mix and channel mix, with every set of parameters in variants.h.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "kernels/parallel.h"
#include "tests/blocks/variants.h"
#include "tests/support/gradient_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;
using test::Variant;

class EveryKind : public testing::TestWithParam<Variant> {
 protected:
  std::unique_ptr<Mixer> build(DType type, std::int64_t width = 8) const {
    return test::build_mixer(GetParam(), type, width);
  }
};

class KindWithState : public EveryKind {};
class KindWithoutState : public EveryKind {};

// A state that the mixer itself produced, as leaves.
State used_state(Mixer& mixer, std::int64_t batch, std::int64_t width, DType type) {
  State state, leaves;
  ForwardContext context;
  context.state_out = &state;
  test::forward(mixer, Var(normal_tensor({batch, 4, width}, "prefix", 1, type)), context);
  for (const auto& [name, value] : state.pieces()) leaves.set(name, Var::leaf(value.value().clone()));
  return leaves;
}

// One pass over the whole sequence or over pieces of it, forward and backward.
struct Pass {
  Tensor y, grad_x;
  State final_state;
  std::map<std::string, Tensor> grads;  // parameters and the first state, by name
};

Pass run_pieces(Mixer& mixer, const Tensor& x, const Tensor& cotangent, const State* first,
                const std::vector<std::int64_t>& ends, bool carries_state = true) {
  for (Parameter* const p : mixer.parameters()) p->var.clear_grad();
  State start;
  if (first != nullptr) {
    for (const auto& [name, value] : first->pieces()) start.set(name, Var::leaf(value.value()));
  }
  Pass pass;
  std::vector<Var> inputs, outputs;
  Tensors values, seeds;
  Tape tape;
  std::int64_t begin = 0;
  State before = start;
  for (const std::int64_t end : ends) {
    State after;
    ForwardContext context;
    if (carries_state) {
      context.state_in = first != nullptr || begin > 0 ? &before : nullptr;
      context.state_out = &after;
    }
    inputs.push_back(Var::leaf(test::slice_time(x, begin, end)));
    outputs.push_back(test::forward(mixer, inputs.back(), context));
    values.push_back(outputs.back().value());
    seeds.push_back(test::slice_time(cotangent, begin, end));
    before = after;
    begin = end;
  }
  tape.backward(outputs, seeds);
  pass.y = test::join_time(values);
  pass.final_state = before.detached();
  Tensors grads;
  for (const Var& input : inputs) grads.push_back(input.grad());
  pass.grad_x = test::join_time(grads);
  for (const Parameter* const p : mixer.parameters()) pass.grads[p->name] = p->var.grad();
  for (const auto& [name, value] : start.pieces()) pass.grads[name] = value.grad();
  return pass;
}

Pass run_whole(Mixer& mixer, const Tensor& x, const Tensor& cotangent, bool carries_state = true) {
  return run_pieces(mixer, x, cotangent, nullptr, {x.shape()[1]}, carries_state);
}

void expect_equal(const Pass& actual, const Pass& expected, double tolerance) {
  EXPECT_TRUE(test::close(actual.y, expected.y, tolerance));
  EXPECT_TRUE(test::close(actual.grad_x, expected.grad_x, tolerance)) << "gradient of x";
  for (const auto& [name, grad] : expected.grads) {
    // Gradients that cancel to nothing are compared with the size of the cotangents, 1.
    EXPECT_TRUE(test::close(actual.grads.at(name), grad, tolerance, 0.1)) << "gradient of " << name;
  }
  ASSERT_EQ(actual.final_state.pieces().size(), expected.final_state.pieces().size());
  for (const auto& [name, value] : expected.final_state.pieces()) {
    ASSERT_NE(actual.final_state.find(name), nullptr) << name;
    EXPECT_TRUE(test::close(actual.final_state.find(name)->value(), value.value(), tolerance)) << "state " << name;
  }
}

bool equal_passes(const Pass& a, const Pass& b) {
  bool equal = test::equal_bytes(a.y, b.y) && test::equal_bytes(a.grad_x, b.grad_x);
  for (const auto& [name, grad] : a.grads) equal &= test::equal_bytes(grad, b.grads.at(name));
  return equal;
}

// Each split as the ends of its pieces.
std::vector<std::vector<std::int64_t>> token_by_token_and_random_splits(std::int64_t time) {
  std::vector<std::vector<std::int64_t>> all(1);
  for (std::int64_t t = 1; t <= time; ++t) all[0].push_back(t);
  for (std::uint64_t draw = 0; draw < 4; ++draw) {
    const RandomStream random(draw, "split");
    std::vector<std::int64_t> ends;
    for (std::int64_t t = 1; t < time; ++t) {
      if (random.uniform(static_cast<std::uint64_t>(t)) < 0.3) ends.push_back(t);
    }
    ends.push_back(time);
    all.push_back(ends);
  }
  return all;
}

TEST_P(EveryKind, GradientsAgreeWithDifferences) {
  for (const auto& [batch, tokens] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {2, 5}}) {
    SCOPED_TRACE(testing::Message() << batch << " x " << tokens);
    const auto mixer = build(DType::f64);
    const Var x = Var::leaf(normal_tensor({batch, tokens, 8}, "x"));
    test::Leaves leaves = {{"x", x}};
    for (const Parameter* const p : mixer->parameters()) leaves.emplace_back(p->name, p->var);
    test::GradientCheckOptions options;
    options.samples = 8;
    EXPECT_TRUE(test::gradients_agree(
        leaves, [&] { return std::vector{test::forward(*mixer, x, {})}; }, options));
    for (const auto& [name, leaf] : leaves) {
      EXPECT_TRUE(leaf.grad().defined() || tokens == 1) << name << " gets no gradient";
    }
    if (!GetParam().carries_state) continue;
    // From a used state, and on into a second chunk, whose output shows the gradient through the state between them.
    const State start = used_state(*mixer, batch, 8, DType::f64);
    for (const auto& [name, value] : start.pieces()) leaves.emplace_back(name, value);
    const auto two_chunks = [&] {
      State between;
      ForwardContext first, second;
      first.state_in = &start;
      first.state_out = &between;
      const Var y = test::forward(*mixer, x, first);
      second.state_in = &between;
      return std::vector{y, test::forward(*mixer, x, second)};
    };
    EXPECT_TRUE(test::gradients_agree(leaves, two_chunks, options)) << "two chunks";
  }
}

TEST_P(KindWithState, ParallelFormEqualsSequentialFormForAnySplit) {
  constexpr std::int64_t batch = 3, time = 13, width = 8;
  const std::vector<std::vector<std::int64_t>> splits = token_by_token_and_random_splits(time);
  // float32: sums of thirteen tokens in another order, and of whole chunks by products of matrices where pieces go
  // token by token: gradients whose terms are several times larger than they (of a decay, of a carried token) differ by
  // up to 9e-6, with AVX-512 by 4e-6. float64: as demanded of the definition.
  for (const auto& [type, tolerance] : {std::pair{DType::f32, 1.2e-5}, std::pair{DType::f64, 1e-12}}) {
    const auto mixer = build(type);
    const Tensor x = normal_tensor({batch, time, width}, "x", 1, type);
    const Tensor cotangent = normal_tensor({batch, time, width}, "cotangent", 1, type);
    const State used = used_state(*mixer, batch, width, type), fresh = mixer->initial_state(batch, type);
    for (const State* const start : {static_cast<const State*>(nullptr), &fresh, &used}) {
      const Pass whole = run_pieces(*mixer, x, cotangent, start, {time});
      for (const auto& ends : splits) {
        SCOPED_TRACE(std::string(name(type)) + ", ends " + testing::PrintToString(ends) +
                     (start == nullptr  ? ", no state"
                      : start == &fresh ? ", initial state"
                                        : ", used state"));
        expect_equal(run_pieces(*mixer, x, cotangent, start, ends), whole, tolerance);
      }
    }
    // The initial state means the same as none.
    const Pass none = run_whole(*mixer, x, cotangent), initial = run_pieces(*mixer, x, cotangent, &fresh, {time});
    EXPECT_TRUE(test::equal_bytes(none.y, initial.y));
  }
}

TEST_P(KindWithoutState, SaysSo) {
  const auto mixer = build(DType::f32);
  const Var x(normal_tensor({1, 3, 8}, "x", 1, DType::f32));
  State state;
  ForwardContext writes, reads;
  writes.state_out = &state;
  reads.state_in = &state;
  for (const ForwardContext* const context : {&writes, &reads}) {
    try {
      test::forward(*mixer, x, *context);
      ADD_FAILURE() << "no error";
    } catch (const ShapeError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("cannot carry a state"), std::string::npos) << message;
      EXPECT_NE(message.find("blocks.1.mix"), std::string::npos) << message;
    }
  }
}

TEST_P(EveryKind, TheFutureDoesNotChangeThePast) {
  constexpr std::int64_t batch = 2, time = 9, seen = 5;
  for (const DType type : {DType::f32, DType::f64}) {
    const auto mixer = build(type);
    if (!mixer->is_causal()) return;
    const Tensor x = normal_tensor({batch, time, 8}, "x", 1, type);
    const Tensor other = test::join_time(
        {test::slice_time(x, 0, seen), normal_tensor({batch, time - seen, 8}, "another future", 3, type)});
    const Tensor a = test::forward(*mixer, Var(x), {}).value(), b = test::forward(*mixer, Var(other), {}).value();
    EXPECT_TRUE(test::equal_bytes(test::slice_time(a, 0, seen), test::slice_time(b, 0, seen)));
    EXPECT_FALSE(test::equal_bytes(a, b)) << "the test changed nothing";
  }
}

TEST_P(EveryKind, BatchEntriesDoNotInteract) {
  constexpr std::int64_t time = 7;
  const auto mixer = build(DType::f32);
  const bool carries_state = GetParam().carries_state;
  const Tensor x = normal_tensor({3, time, 8}, "x", 1, DType::f32), other = x.clone();
  other.rows(1, 2).copy_from(normal_tensor({1, time, 8}, "another entry", 100, DType::f32));
  const Tensor cotangent = normal_tensor({3, time, 8}, "cotangent", 1, DType::f32);
  const Pass a = run_whole(*mixer, x, cotangent, carries_state);
  const Pass b = run_whole(*mixer, other, cotangent, carries_state);
  for (const std::int64_t entry : {0, 2}) {
    EXPECT_TRUE(test::equal_bytes(a.y.rows(entry, entry + 1), b.y.rows(entry, entry + 1)));
    EXPECT_TRUE(test::equal_bytes(a.grad_x.rows(entry, entry + 1), b.grad_x.rows(entry, entry + 1)));
    for (const auto& [name, value] : a.final_state.pieces()) {
      EXPECT_TRUE(test::equal_bytes(value.value().rows(entry, entry + 1),
                                    b.final_state.find(name)->value().rows(entry, entry + 1)));
    }
  }
  // Alone in the batch: the same numbers, though not the same products.
  const Pass alone = run_whole(*mixer, x.rows(2, 3).clone(), cotangent.rows(2, 3).clone(), carries_state);
  EXPECT_TRUE(test::close(alone.y, a.y.rows(2, 3), 2e-6));
  EXPECT_TRUE(test::close(alone.grad_x, a.grad_x.rows(2, 3), 2e-6));
}

// Wide and long enough for every kernel to cut its work into several pieces.
TEST_P(EveryKind, TheThreadCountDoesNotChangeAByte) {
  constexpr std::int64_t batch = 3, time = 67, width = 48;
  struct RestoreThreads {
    int count = kernels::threads();
    ~RestoreThreads() { kernels::set_threads(count); }
  } const restore;
  const auto mixer = build(DType::f32, width);
  const Tensor x = normal_tensor({batch, time, width}, "x", 1, DType::f32);
  const Tensor cotangent = normal_tensor({batch, time, width}, "cotangent", 1, DType::f32);
  kernels::set_threads(1);
  const Pass one = run_whole(*mixer, x, cotangent, GetParam().carries_state);
  EXPECT_TRUE(test::all_finite(one.y));
  for (const int count : {2, 5}) {
    kernels::set_threads(count);
    EXPECT_TRUE(equal_passes(run_whole(*mixer, x, cotangent, GetParam().carries_state), one)) << count << " threads";
  }
}

TEST_P(EveryKind, Float32AgreesWithFloat64) {
  const auto single = build(DType::f32), exact = build(DType::f64);
  for (std::size_t i = 0; i < exact->parameters().size(); ++i) {  // The same, rounded, numbers in both.
    exact->parameters()[i]->var = Var::leaf(single->parameters()[i]->var.value().to(DType::f64));
  }
  const Tensor x = normal_tensor({2, 13, 8}, "x", 1, DType::f32), c = normal_tensor({2, 13, 8}, "c", 1, DType::f32);
  const bool carries_state = GetParam().carries_state;
  // A few dozen roundings at 6e-8 and the functions of vector_math.h at 5e-7; a norm over a head multiplies them where
  // the head's output nearly cancels.
  expect_equal(run_whole(*single, x, c, carries_state),
               run_whole(*exact, x.to(DType::f64), c.to(DType::f64), carries_state), 2e-5);
}

TEST_P(EveryKind, ParametersRoundTripByName) {
  const auto mixer = build(DType::f32);
  if (mixer->parameters().empty()) return;  // Nothing to save.
  const auto copy = test::build_mixer(GetParam(), DType::f32, 8, "other");
  const Var x(normal_tensor({2, 5, 8}, "x", 1, DType::f32));
  EXPECT_FALSE(test::equal_bytes(test::forward(*mixer, x, {}).value(), test::forward(*copy, x, {}).value()));
  std::map<std::string, Tensor> saved;
  for (const Parameter* const p : mixer->parameters()) {
    EXPECT_EQ(p->name.rfind("blocks.1.mix.", 0), 0U) << p->name;
    EXPECT_EQ(p->var.shape(), p->shape);
    EXPECT_TRUE(saved.emplace(p->name, p->var.value()).second) << p->name << " occurs twice";
  }
  for (const Parameter* const p : copy->parameters()) p->var.value().copy_from(saved.at(p->name));
  EXPECT_TRUE(test::equal_bytes(test::forward(*mixer, x, {}).value(), test::forward(*copy, x, {}).value()));
}

TEST_P(EveryKind, InitialValuesAreFiniteInAnyLayer) {
  const Choice choice = make_choice(GetParam().slot, GetParam().kind, parse_yaml(GetParam().parameters, "variant"));
  for (const MixerSite& site : {MixerSite{0, 1, 8}, MixerSite{0, 2, 8}, MixerSite{1, 2, 8}}) {
    const auto mixer = make_root(build_kind<Mixer, MixerSite>(GetParam().slot, choice, site), "m");
    mixer->allocate(1);
    for (const Parameter* const p : mixer->parameters()) EXPECT_TRUE(test::all_finite(p->var.value())) << p->name;
    EXPECT_TRUE(test::all_finite(test::forward(*mixer, Var(normal_tensor({1, 3, 8}, "x", 1, DType::f32)), {}).value()));
  }
}

TEST_P(KindWithState, DeclaredStateIsTheWrittenState) {
  const auto mixer = build(DType::f32);
  State state;
  ForwardContext context;
  context.state_out = &state;
  const Var y = test::forward(*mixer, Var(normal_tensor({2, 3, 8}, "x", 1, DType::f32)), context);
  EXPECT_EQ(y.shape(), (Shape{2, 3, 8}));
  const State declared = mixer->initial_state(2);
  EXPECT_EQ(declared.pieces().size(), state.pieces().size());
  for (const auto& [name, value] : declared.pieces()) {
    ASSERT_NE(state.find(name), nullptr) << name;
    // A piece that grows begins with no row and gets one per token.
    const bool grows = value.shape().rank() > 1 && value.shape()[1] == 0;
    EXPECT_EQ(state.find(name)->shape(), grows ? (Shape{2, 3, value.shape()[2]}) : value.shape()) << name;
  }
}

TEST_P(EveryKind, ProbesHaveTheAxesTheyName) {
  struct Axes final : ProbeSink {
    void probe(const std::string& path, const Var& value, std::string_view dimensions) override {
      std::vector<std::string> names(1);
      for (const char c : dimensions) c == ',' ? names.emplace_back() : names.back() += c;
      ASSERT_EQ(static_cast<int>(names.size()), value.shape().rank()) << path << ": " << dimensions;
      for (int i = 0; i < value.shape().rank(); ++i) {
        const std::int64_t size = value.shape()[i];
        EXPECT_EQ(size, names[i] == "batch" ? 3 : names[i] == "time" ? 7 : size) << path << ": " << dimensions;
      }
    }
  } axes;
  ForwardContext context;
  context.probes = &axes;
  test::forward(*build(DType::f32), Var(normal_tensor({3, 7, 8}, "x", 1, DType::f32)), context);
}

TEST_P(EveryKind, ShapeOnlyGivesTheShapes) {
  const ShapeOnly shape_only;
  const auto mixer = make_root(
      build_kind<Mixer, MixerSite>(
          GetParam().slot, make_choice(GetParam().slot, GetParam().kind, parse_yaml(GetParam().parameters, "variant")),
          MixerSite{1, 3, 4096}),
      "m");
  mixer->allocate_uninitialised();
  const Var x = Var::leaf(Tensor::empty({64, 1024, 4096}));
  Tape tape;
  const Var y = test::forward(*mixer, x, {});
  EXPECT_EQ(y.shape(), x.shape());
  tape.backward({y}, {Tensor::empty(y.shape())});
  EXPECT_EQ(x.grad().shape(), x.shape());
  for (const Parameter* const p : mixer->parameters()) EXPECT_EQ(p->var.grad().shape(), p->shape) << p->name;
}

TEST_P(EveryKind, WrongWidthIsAShapeErrorWithThePath) {
  const auto mixer = build(DType::f32);
  if (mixer->parameters().empty()) return;  // Any width fits.
  try {
    test::forward(*mixer, Var(Tensor::zeros({2, 3, 7})), {});
    ADD_FAILURE() << "no error";
  } catch (const ShapeError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("blocks.1.mix"), std::string::npos) << message;
    EXPECT_NE(message.find("[2, 3, 7]"), std::string::npos) << message;
  }
}

std::vector<Variant> variants_with_state(bool carries_state) {
  std::vector<Variant> chosen;
  for (const Variant& variant : test::all_variants()) {
    if (variant.carries_state == carries_state) chosen.push_back(variant);
  }
  return chosen;
}

std::string name_of(const testing::TestParamInfo<Variant>& variant) {
  return test::variant_name(variant.param) + "_" + std::to_string(variant.index);
}
INSTANTIATE_TEST_SUITE_P(Mixers, EveryKind, testing::ValuesIn(test::all_variants()), name_of);
INSTANTIATE_TEST_SUITE_P(Mixers, KindWithState, testing::ValuesIn(variants_with_state(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Mixers, KindWithoutState, testing::ValuesIn(variants_with_state(false)), name_of);

TEST(Variants, CoverEverySlotAndTheTableNamesRealKinds) {
  std::set<std::string> slots;
  for (const Variant& variant : test::all_variants()) slots.insert(variant.slot);
  EXPECT_EQ(slots, (std::set<std::string>{"channel_mix", "time_mix"}));
  for (const Variant& variant : test::hand_written_variants()) {
    EXPECT_NO_THROW(make_choice(variant.slot, variant.kind, parse_yaml(variant.parameters, "variant")));
  }
  // Defaults of three kinds, four flags and three activations at the least.
  EXPECT_GE(test::all_variants().size(), 10 + test::hand_written_variants().size());
}

}  // namespace
}  // namespace rwkvlab
