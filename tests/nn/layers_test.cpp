#include "nn/layers.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "autograd/ops/elementwise.h"
#include "base/error.h"
#include "tests/support/gradient_check.h"
#include "tests/support/largest_difference.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

test::Leaves leaves_of(const Module& module, const std::string& input_name, const Var& input) {
  test::Leaves leaves = {{input_name, input}};
  for (const Parameter* const p : module.parameters()) leaves.emplace_back(p->name, p->var);
  return leaves;
}

// Every parameter gets random values, so that zeros and ones hide nothing.
void randomise(const Module& module) {
  for (const Parameter* const p : module.parameters()) {
    p->var.value().copy_from(normal_tensor(p->shape, p->name, 0.5, p->var.dtype()));
  }
}

TEST(LinearLayer, ComputesAndDifferentiates) {
  for (const bool has_bias : {false, true}) {
    Linear layer(5, 3, initialise::constant(0), has_bias);
    layer.set_path("layer");
    layer.allocate(1, DType::f64);
    randomise(layer);
    EXPECT_EQ(layer.parameters().size(), has_bias ? 2U : 1U);
    EXPECT_EQ(layer.parameters()[0]->name, "layer.weight");
    EXPECT_EQ(layer.parameters()[0]->shape, (Shape{3, 5}));
    EXPECT_TRUE(layer.parameters()[0]->rules.weight_decay);
    if (has_bias) {
      EXPECT_FALSE(layer.parameters()[1]->rules.weight_decay);
    }
    EXPECT_EQ(layer.summary(), "5 -> 3");
    const Var x = Var::leaf(normal_tensor({2, 4, 5}, "x"));
    EXPECT_TRUE(test::gradients_agree(leaves_of(layer, "x", x), [&] { return std::vector{layer.forward(x, {})}; }));
  }
}

// Two layers under one root, as channel mixes have them.
struct TwoLayers final : Module {
  explicit TwoLayers(bool has_bias)
      : key(child<Linear>("key", 5, 7, initialise::constant(0), has_bias)),
        value(child<Linear>("value", 7, 3, initialise::constant(0), has_bias)) {
    set_path("ffn");
    allocate(1, DType::f64);
    randomise(*this);
  }
  Linear &key, &value;
};

struct NamedProbes final : ProbeSink {
  void probe(const std::string& path, const Var& value, std::string_view) override {
    values[path] = value.value().to_doubles();
  }
  bool wants(const std::string& path) const override { return path != ignored; }
  std::map<std::string, std::vector<double>> values;
  std::string ignored;
};

TEST(LinearLayer, OfAHiddenLayerIsBothLayersAndDifferentiates) {
  for (const kernels::Activation kind : {kernels::Activation::squared_relu, kernels::Activation::silu}) {
    for (const bool has_bias : {false, true}) {
      const TwoLayers layers(has_bias);
      const Var x = Var::leaf(normal_tensor({2, 4, 5}, "x"));
      const auto both = [&](const ForwardContext& context) {
        return layers.value.forward_hidden(layers.key, kind, x, context);
      };
      EXPECT_TRUE(test::gradients_agree(leaves_of(layers, "x", x), [&] { return std::vector{both({})}; }));
      const Var apart = layers.value.forward(activation(kind, layers.key.forward(x, {})), {});
      NamedProbes probes;
      ForwardContext looked_at;
      looked_at.probes = &probes;
      EXPECT_EQ(both(looked_at).value().to_doubles(), apart.value().to_doubles());
      EXPECT_EQ(probes.values["ffn.value.output"], apart.value().to_doubles());
      EXPECT_EQ(probes.values["ffn.key.output"], layers.key.forward(x, {}).value().to_doubles());
      NamedProbes uninterested;
      uninterested.ignored = "ffn.key.output";
      looked_at.probes = &uninterested;
      EXPECT_EQ(both(looked_at).value().to_doubles(), apart.value().to_doubles());
      // The operation that is both layers does not compute what nobody looks at.
      const bool at_once = !has_bias && kind == kernels::Activation::squared_relu;
      EXPECT_EQ(uninterested.values.size(), at_once ? 1 : 2);
    }
  }
}

// Three layers that read blends of every token with the one before it.
struct MixedLayers final : Module {
  explicit MixedLayers(bool has_bias) {
    for (const char* const name : {"key", "value", "receptance"}) {
      layers.push_back(&child<Linear>(name, 5, 4, initialise::constant(0), has_bias));
      mixes.push_back(Var::leaf(normal_tensor({5}, std::string("mix of ") + name)));
    }
    set_path("att");
    allocate(1, DType::f64);
    randomise(*this);
  }
  std::vector<const Linear*> layers;
  std::vector<Var> mixes;
};

TEST(LinearLayer, OnBlendsIsTokenMixAndEveryLayer) {
  // Enough tokens for one operation, which layers with a bias are not part of, and too few.
  for (const auto& [tokens, has_bias] : {std::pair{550, false}, {550, true}, {4, false}}) {
    SCOPED_TRACE(fmt::format("2 x {} tokens, bias {}", tokens, has_bias));
    const MixedLayers mixed(has_bias);
    const Var x = Var::leaf(normal_tensor({2, tokens, 5}, "x"));
    NamedProbes probes;
    ForwardContext context;
    context.probes = &probes;
    const std::vector<Var> results = forward_mixed(mixed.layers, {x, {}, mixed.mixes}, context);
    const std::vector<Var> blends = token_mix(x, {}, mixed.mixes);
    for (std::size_t j = 0; j < 3; ++j) {
      const Tensor apart = mixed.layers[j]->forward(blends[j], {}).value();
      // Sums of five terms, whose order may differ.
      EXPECT_LT(test::largest_difference(results[j].value(), apart), 1e-15) << j;
      EXPECT_EQ(probes.values[mixed.layers[j]->path() + ".output"], results[j].value().to_doubles());
    }
    test::Leaves leaves = leaves_of(mixed, "x", x);
    for (const Var& mix : mixed.mixes) leaves.emplace_back("mix", mix);
    EXPECT_TRUE(test::gradients_agree(leaves, [&] { return forward_mixed(mixed.layers, {x, {}, mixed.mixes}, {}); }));
  }
}

TEST(GroupNormLayer, StartsAsGivenAndDifferentiates) {
  GroupNorm layer(6, 2, 64e-5, initialise::constant(0.5));
  layer.set_path("ln_x");
  layer.allocate(1, DType::f64);
  EXPECT_EQ(layer.parameters()[0]->name, "ln_x.weight");
  EXPECT_EQ(layer.parameters()[0]->var.value().to_doubles(), std::vector<double>(6, 0.5));
  EXPECT_EQ(layer.parameters()[1]->var.value().to_doubles(), std::vector<double>(6, 0));
  EXPECT_EQ(layer.summary(), "2 groups, epsilon 0.00064");
  randomise(layer);
  const Var x = Var::leaf(normal_tensor({2, 3, 6}, "x"));
  EXPECT_TRUE(test::gradients_agree(leaves_of(layer, "x", x), [&] { return std::vector{layer.forward(x, {})}; }));
}

TEST(LayerNormLayer, StartsWithOneAndZeroAndDifferentiates) {
  LayerNorm layer(7, 1e-5);
  layer.set_path("ln");
  layer.allocate(1, DType::f64);
  EXPECT_EQ(layer.parameters()[0]->var.value().to_doubles(), std::vector<double>(7, 1));
  EXPECT_EQ(layer.parameters()[1]->var.value().to_doubles(), std::vector<double>(7, 0));
  randomise(layer);
  const Var x = Var::leaf(normal_tensor({2, 3, 7}, "x")), branch = Var::leaf(normal_tensor({2, 3, 7}, "branch"));
  test::Leaves leaves = leaves_of(layer, "x", x);
  EXPECT_TRUE(test::gradients_agree(leaves, [&] { return std::vector{layer.forward(x, {})}; }));
  leaves.emplace_back("branch", branch);
  EXPECT_TRUE(test::gradients_agree(leaves, [&] {
    const auto [sum, y] = layer.forward_residual(x, branch, {});
    return std::vector{sum, y};
  }));
}

TEST(EmbeddingLayer, LooksUpRowsAndDifferentiates) {
  Embedding layer(9, 4, initialise::normal(1));
  layer.set_path("emb");
  layer.allocate(3, DType::f64);
  const Tensor tokens = test::random_tokens({2, 5}, 9, "tokens");
  const Var y = layer.forward(tokens, {});
  const Tensor& table = layer.parameters()[0]->var.value();
  for (std::int64_t i = 0; i < 10; ++i) {
    for (std::int64_t c = 0; c < 4; ++c) {
      EXPECT_EQ(y.value().data<double>()[i * 4 + c], table.data<double>()[tokens.data<std::int64_t>()[i] * 4 + c]);
    }
  }
  EXPECT_TRUE(test::gradients_agree({{"weight", layer.parameters()[0]->var}},
                                    [&] { return std::vector{layer.forward(tokens, {})}; }));
}

TEST(DropoutLayer, IsTheIdentityOutsideTraining) {
  Dropout layer(0.5);
  layer.set_path("drop");
  const Var x(normal_tensor({100}, "x", 1, DType::f32));
  EXPECT_TRUE(test::equal_bytes(layer.forward(x, {}).value(), x.value()));
  Dropout none(0);
  ForwardContext training;
  training.training = true;
  EXPECT_TRUE(test::equal_bytes(none.forward(x, training).value(), x.value()));
  EXPECT_FALSE(none.active());
}

TEST(DropoutLayer, DropsTheGivenShareAndKeepsTheMean) {
  const std::int64_t count = 100000;
  for (const double p : {0.1, 0.5, 0.9}) {
    Dropout layer(p);
    layer.set_path("drop");
    ForwardContext training;
    training.training = true;
    const std::vector<double> y = layer.forward(Var(Tensor::full({count}, 1)), training).value().to_doubles();
    std::int64_t dropped = 0;
    for (const double value : y) {
      dropped += value == 0;
      if (value != 0) {
        EXPECT_NEAR(value, 1 / (1 - p), 1e-6 / (1 - p));
      }
    }
    // Five standard deviations of a binomial.
    EXPECT_NEAR(static_cast<double>(dropped), p * count, 5 * std::sqrt(p * (1 - p) * count));
  }
}

TEST(DropoutLayer, TheMaskDependsOnSeedStepAndPathOnly) {
  const auto mask = [](std::uint64_t seed, std::uint64_t step, const char* path, DType type) {
    Dropout layer(0.5);
    layer.set_path(path);
    ForwardContext context;
    context.training = true;
    context.seed = seed;
    context.step = step;
    std::vector<double> y = layer.forward(Var(Tensor::full({7, 31}, 1, type)), context).value().to_doubles();
    return y;
  };
  const std::vector<double> base = mask(1, 1, "a", DType::f32);
  EXPECT_EQ(base, mask(1, 1, "a", DType::f32));
  EXPECT_EQ(base, mask(1, 1, "a", DType::f64));
  EXPECT_NE(base, mask(2, 1, "a", DType::f32));
  EXPECT_NE(base, mask(1, 2, "a", DType::f32));
  EXPECT_NE(base, mask(1, 1, "b", DType::f32));
}

TEST(DropoutLayer, TheGradientPassesWhereTheValueDid) {
  Dropout layer(0.4);
  layer.set_path("drop");
  ForwardContext context;
  context.training = true;
  const Var x = Var::leaf(normal_tensor({5, 9}, "x"));
  EXPECT_TRUE(test::gradients_agree({{"x", x}}, [&] { return std::vector{layer.forward(x, context)}; }));
}

TEST(Layers, ShapeErrorsCarryTheModulePath) {
  struct Outer : Module {
    Linear& inner = child<Linear>("inner", 3, 2, initialise::constant(0));
    Var forward(const Var& x) {
      return in_module(*this, {}, [&] { return inner.forward(x, {}); });
    }
  } outer;
  outer.set_path("blocks.4.att");
  outer.allocate(1);
  try {
    outer.forward(Var(Tensor::zeros({2, 5})));
    ADD_FAILURE();
  } catch (const ShapeError& error) {
    const std::string message = error.what();
    // The innermost module, once.
    EXPECT_NE(message.find("(in blocks.4.att.inner)"), std::string::npos) << message;
    EXPECT_EQ(message.find("(in "), message.rfind("(in ")) << message;
    EXPECT_NE(message.find("[2, 5]"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace rwkvlab
