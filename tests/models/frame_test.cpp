// The frame around the mixers: tied head, learned positions, patterns, initial values, logits where targets count.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "base/error.h"
#include "kernels/matmul.h"
#include "models/language_model.h"
#include "tests/models/params_of.h"
#include "tests/support/gradient_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;
using test::params_of;

// Parameters are random, because the official initial values are zero where a mistake could hide.
std::unique_ptr<LanguageModel> model_of(const std::string& yaml, DType type = DType::f64) {
  auto model = make_language_model(params_of(yaml));
  model->allocate_uninitialised(type);
  for (const Parameter* const p : model->parameters()) {
    p->var.value().copy_from(normal_tensor(p->shape, p->name, 0.3).to(type));
  }
  return model;
}

const Parameter* find(const Module& model, const std::string& name) {
  for (const Parameter* const p : model.parameters()) {
    if (p->name == name) return p;
  }
  return nullptr;
}

Var value(const Module& model, const std::string& name) { return find(model, name)->var; }

// Every fourth of [batch, time] counts, counted from `first`.
Tensor sparse_targets(const Shape& shape, std::int64_t vocabulary, std::int64_t first = 3) {
  const Tensor targets = test::random_tokens(shape, vocabulary, "targets");
  for (std::int64_t i = 0; i < targets.elements(); ++i) {
    if (i % 4 != first) targets.data<std::int64_t>()[i] = kernels::ignored_target;
  }
  return targets;
}

std::vector<Tensor> gradients(const LanguageModel& model, const Tensor& tokens, const Tensor& targets, bool everywhere,
                              double* loss) {
  Tape tape;
  const Var result =
      everywhere ? cross_entropy(model.logits(tokens, {}), targets).loss : model.loss(tokens, targets, 0, {}).loss;
  *loss = result.value().item();
  tape.backward(result);
  std::vector<Tensor> found;
  for (Parameter* const p : model.parameters()) {
    found.push_back(p->var.grad());
    p->var.clear_grad();
  }
  return found;
}

TEST(TargetLogits, LossAndGradientsAreThoseOfAllLogits) {
  const auto model = model_of("{layers: 2, width: 6, vocabulary_size: 7}");
  const Tensor tokens = test::random_tokens({3, 13}, 7, "tokens");
  for (const std::int64_t first : {0, 3}) {
    const Tensor targets = sparse_targets({3, 13}, 7, first);
    double expected = 0, found = 0;
    const auto wanted = gradients(*model, tokens, targets, true, &expected);
    const auto had = gradients(*model, tokens, targets, false, &found);
    EXPECT_NEAR(found, expected, 1e-14);  // Sums of ten rows in float64.
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_TRUE(test::close(had[i], wanted[i], 1e-13)) << i;
  }
}

TEST(TargetLogits, RowsAreThoseOfTheTargetsInTheirOrder) {
  const auto model = model_of("{layers: 1, width: 6, vocabulary_size: 7}");
  const Tensor tokens = test::random_tokens({2, 18}, 7, "tokens"), targets = sparse_targets({2, 18}, 7);
  const TargetLogits scored = model->target_logits(tokens, targets, {});
  const Tensor all = model->logits(tokens, {}).value();
  ASSERT_EQ(scored.logits.shape(), (Shape{1, 9, 7}));  // 9 of 36 count; rows come in steps of 3.
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < 36; ++i) {
    const std::int64_t target = targets.data<std::int64_t>()[i];
    if (target == kernels::ignored_target) continue;
    EXPECT_EQ(scored.targets.data<std::int64_t>()[at], target);
    EXPECT_TRUE(test::close(scored.logits.value().reshaped({9, 7}).rows(at, at + 1),
                            all.reshaped({36, 7}).rows(i, i + 1), 1e-14));
    ++at;
  }
}

TEST(TargetLogits, TheHeadSeesNoMoreThanItMust) {
  const auto model = model_of("{layers: 1, width: 6, vocabulary_size: 70}", DType::f32);
  const Tensor tokens = test::random_tokens({2, 32}, 70, "tokens");
  const auto flops = [&](const Tensor& targets, double l2wrap) {
    const kernels::MatmulRecorder recorder;
    model->loss(tokens, targets, l2wrap, {});
    return recorder.flops();
  };
  const Tensor few = sparse_targets({2, 32}, 70);
  const double head = 2.0 * 6 * 70;
  EXPECT_EQ(flops(tokens, 0) - flops(few, 0), 48 * head);
  EXPECT_EQ(flops(few, 1e-4), flops(tokens, 0)) << "L2Wrap pulls at all rows";
  const Tensor none = Tensor::full({2, 32}, kernels::ignored_target, DType::i64);
  EXPECT_EQ(model->loss(tokens, none, 0, {}).loss.value().item(), 0);
  const auto copying = model_of("{layers: 1, width: 6, vocabulary_size: 70, copy_head: 2}");
  EXPECT_EQ(copying->target_logits(tokens, few, {}).logits.shape(), (Shape{2, 32, 70}));
}

TEST(TargetLogits, WithoutMemoryAllRowsAreThere) {
  const ShapeOnly shape_only;
  const auto model = make_language_model(params_of("{layers: 1, width: 6, vocabulary_size: 7}"));
  model->allocate_uninitialised();
  const Tensor tokens = Tensor::empty({2, 32}, DType::i64);
  EXPECT_EQ(model->target_logits(tokens, tokens, {}).logits.shape(), (Shape{2, 32, 7}));
}

TEST(TiedHead, LogitsAreProductsWithTheTable) {
  const auto model = model_of("{layers: 1, width: 6, vocabulary_size: 7, tied_head: true}");
  EXPECT_EQ(find(*model, "head.weight"), nullptr);
  const Tensor tokens = test::random_tokens({2, 5}, 7, "tokens");
  const Var x = model->layer(0, model->embed(tokens, {}), {}, {});
  const Var normed = layer_norm(x, value(*model, "ln_out.weight"), value(*model, "ln_out.bias"), 1e-5);
  EXPECT_TRUE(
      test::close(model->logits(tokens, {}).value(), linear(normed, value(*model, "emb.weight")).value(), 1e-14));
}

TEST(LearnedPositions, AreAddedToTheEmbeddings) {
  const auto model =
      model_of("{layers: 1, width: 4, vocabulary_size: 7, positions: learned, max_length: 6, embedding_norm: false}");
  const Tensor tokens = test::random_tokens({2, 6}, 7, "tokens");
  const Tensor raw = model->raw_embedding(tokens, {}).value(), found = model->embed(tokens, {}).value();
  const Tensor table = value(*model, "positions.weight").value();
  for (std::int64_t i = 0; i < found.elements(); ++i) {
    EXPECT_EQ(found.data<double>()[i], raw.data<double>()[i] + table.data<double>()[i % 24]);
  }
}

TEST(LearnedPositions, ChunksWithCarriedStateEqualOnePass) {
  const auto model = model_of("{layers: 2, width: 8, vocabulary_size: 13, positions: learned, max_length: 9}");
  const Tensor tokens = test::random_tokens({1, 9}, 13, "tokens");
  const Tensor whole = model->logits(tokens, {}).value();
  State state = model->initial_state(1, DType::f64);
  for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 4}, {4, 5}, {5, 9}}) {
    State next;
    ForwardContext context;
    context.state_in = &state;
    context.state_out = &next;
    const Tensor part = tokens.reshaped({9}).rows(begin, end).reshaped({1, end - begin});
    EXPECT_TRUE(test::close(model->logits(part, context).value().reshaped({end - begin, 13}),
                            whole.reshaped({9, 13}).rows(begin, end), 1e-12));
    state = next;
  }
  ForwardContext context;
  context.state_in = &state;
  try {
    model->logits(test::random_tokens({1, 1}, 13, "more"), context);
    ADD_FAILURE();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("10 tokens is longer than the model's 9"), std::string::npos)
        << error.what();
  }
}

TEST(Pattern, EntriesTakeTurnsAndOverridesWin) {
  const auto model =
      make_language_model(params_of("{layers: 5, width: 4, vocabulary_size: 7, pattern: [{time_mix: {kind: rwkv6}}, "
                                    "{channel_mix: {kind: identity}}], "
                                    "layer_overrides: [{layers: [4], time_mix: {kind: rwkv7}}]}"));
  for (const int layer : {0, 2}) {
    const std::string block = "blocks." + std::to_string(layer);
    EXPECT_NE(find(*model, block + ".att.time_maa_x"), nullptr) << layer;
    EXPECT_NE(find(*model, block + ".ffn.key.weight"), nullptr) << layer;
  }
  for (const int layer : {1, 3}) {
    const std::string block = "blocks." + std::to_string(layer);
    EXPECT_NE(find(*model, block + ".att.time_first"), nullptr) << layer;
    EXPECT_EQ(find(*model, block + ".ffn.key.weight"), nullptr) << layer;
  }
  EXPECT_NE(find(*model, "blocks.4.att.r_k"), nullptr);
  EXPECT_NE(find(*model, "blocks.4.ffn.key.weight"), nullptr);
}

// The recurrence of Zoology's blocks, two variables h and x, written out.
TEST(Frame, WithoutAChannelMixIsThatOfZoology) {
  const auto model = model_of(
      "{layers: 2, width: 6, vocabulary_size: 7, tied_head: true, embedding_norm: false, "
      "channel_mix: {kind: identity}}");
  const Tensor tokens = test::random_tokens({2, 5}, 7, "tokens");
  const auto norm = [&](const Var& x, const std::string& name) {
    return layer_norm(x, value(*model, name + ".weight"), value(*model, name + ".bias"), 1e-5);
  };
  Var h, x = model->raw_embedding(tokens, {});
  for (int i = 0; i < 2; ++i) {
    const std::string block = "blocks." + std::to_string(i);
    h = h.defined() ? add(h, x) : x;
    auto mixer = make_root(
        build_kind<Mixer, MixerSite>("time_mix", make_choice("time_mix", "rwkv4"), MixerSite{i, 2, 6}), block + ".att");
    for (Parameter* const p : mixer->parameters()) p->var = value(*model, p->name);
    x = mixer->forward(norm(h, block + ".ln1"), {});
    h = add(h, x);
    x = norm(h, block + ".ln2");
  }
  const Var expected = linear(norm(add(h, x), "ln_out"), value(*model, "emb.weight"));
  EXPECT_TRUE(test::close(model->logits(tokens, {}).value(), expected.value(), 1e-13));
}

TEST(InitialValues, OfGpt2) {
  const auto model = make_language_model(
      params_of("{layers: 8, width: 64, vocabulary_size: 300, initial_values: gpt2, positions: learned, "
                "max_length: 100, time_mix: {kind: rwkv4}}"));
  model->allocate(3);
  const auto deviation = [&](const std::string& name) {
    double sum = 0;
    const std::vector<double> values = value(*model, name).value().to_doubles();
    for (const double w : values) sum += w * w;
    return std::sqrt(sum / static_cast<double>(values.size()));
  };
  // At least 4096 values each: the deviation is known to 1 / sqrt(2 · 4096) = 1.1 %.
  for (const char* const name : {"emb.weight", "positions.weight", "head.weight", "blocks.0.att.key.weight",
                                 "blocks.7.ffn.receptance.weight", "blocks.3.ffn.key.weight"}) {
    EXPECT_NEAR(deviation(name), 0.02, 0.02 * 0.05) << name;
  }
  for (const char* const name : {"blocks.0.att.output.weight", "blocks.7.ffn.value.weight"}) {
    EXPECT_NEAR(deviation(name), 0.02 / 4, 0.02 / 4 * 0.05) << name;
  }
  EXPECT_NEAR(value(*model, "blocks.0.att.time_decay").value().to_doubles()[0], -5, 1e-6) << "not a projection";
}

TEST(EmbeddingDropout, IsOnItsOwn) {
  const auto model = model_of("{layers: 1, width: 8, vocabulary_size: 7, dropout: 0.5, embedding_dropout: 0}");
  const Tensor tokens = test::random_tokens({2, 6}, 7, "tokens");
  ForwardContext training;
  training.training = true;
  EXPECT_TRUE(test::equal_bytes(model->embed(tokens, training).value(), model->embed(tokens, {}).value()));
  EXPECT_FALSE(test::equal_bytes(model->logits(tokens, training).value(), model->logits(tokens, {}).value()));
}

}  // namespace
}  // namespace rwkvlab
