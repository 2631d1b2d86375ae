// Decays that depend on the data, from checkpoints of models that were never trained.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/token_decay_plot.h"
#include "base/error.h"
#include "config/registry.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "config/yaml_writer.h"
#include "run/load_model.h"
#include "tensor/safetensors.h"
#include "tests/temporary_folder.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TokenDecay : public ::testing::Test {
 protected:
  /// A checkpoint of a model with two layers of width 8 over the characters of "ab c\n".
  std::filesystem::path write_model(const std::string& time_mix, const std::string& held_out = "0.5") {
    folder_.make("text.txt", "ab c\nab c\nab c\nab c\n");
    const std::string text = "name: small\nmodel: {kind: language_model, layers: 2, width: 8, time_mix: " + time_mix +
                             "}\ndata: {kind: text, files: [" + (folder_ / "text.txt").string() +
                             "], tokens: characters, held_out_fraction: " + held_out + "}\ntrain: {context: 6}\n";
    const Node tree = resolve(parse_yaml(text, "small.yaml"), experiment_schema());
    const Experiment e = bind<Experiment>(tree, experiment_schema());
    const auto tokenizer = Tokenizer::characters({U'\n', U' ', U'a', U'b', U'c'});
    const auto model =
        make_root(build_kind<Module, ModelSite>("model", e.model, ModelSite{.vocabulary = tokenizer.size()}));
    model->allocate(3);
    // At the start the correction of the decay is zero, and all tokens would look alike.
    for (Parameter* const parameter : model->parameters()) {
      const bool is_correction = parameter->name.ends_with("decay_w1") || parameter->name.ends_with(".w1");
      if (is_correction) initialise::uniform(-2, 2)(parameter->var.value(), RandomStream(1, parameter->name));
    }
    save_weights(*model, folder_ / "model.safetensors",
                 {{"config", to_yaml(tree)}, {"vocabulary", tokenizer.json().dump()}});
    return folder_ / "model.safetensors";
  }
  TemporaryFolder folder_;
};

TEST_F(TokenDecay, OfEveryTokenAndChannel) {
  for (const char* const kind : {"rwkv6", "rwkv7", "gated_linear_attention"}) {
    const bool has_head_size = std::string(kind).starts_with("rwkv");
    const auto path = write_model(fmt::format("{{kind: {}, {}}}", kind, has_head_size ? "head_size: 4" : "heads: 2"));
    const TokenDecays decays = read_token_decays(path, folder_ / "text.txt", 7);
    EXPECT_THAT(decays.tokens, ElementsAre("a", "b", "␣", "c", "⏎", "a", "b"));
    ASSERT_EQ(decays.layers.size(), 2U) << kind;
    for (const LayerTokenDecay& layer : decays.layers) {
      EXPECT_EQ(layer.heads, 2) << kind;
      EXPECT_EQ(layer.tokens(), 7) << kind;
      EXPECT_EQ(layer.layer, &layer - decays.layers.data());
      bool differs = false;
      for (std::int64_t channel = 0; channel < layer.channels; ++channel) {
        const double w = std::exp(layer.at(2, 1, channel));
        EXPECT_GT(w, 0) << kind;
        EXPECT_LT(w, 1) << kind;
        differs = differs || layer.at(2, 1, channel) != layer.at(3, 1, channel);
      }
      EXPECT_TRUE(differs) << kind;
    }
  }
}

// The probe of RWKV-6 against its formula, with the correction off: w = exp(-exp(time_decay)).
TEST_F(TokenDecay, FollowsTheFormulaOfTheBlock) {
  const auto path = write_model("{kind: rwkv6, head_size: 4}");
  const TrainedModel trained = load_trained_model(path);
  std::vector<double> raw;
  for (Parameter* const parameter : trained.root->parameters()) {
    if (parameter->name.ends_with("decay_w1")) parameter->var.value().fill(0);
    if (parameter->name == "blocks.1.att.time_decay") raw = parameter->var.value().to_doubles();
  }
  save_weights(*trained.root, folder_ / "plain.safetensors", SafetensorsFile(path).metadata());
  const TokenDecays decays = read_token_decays(folder_ / "plain.safetensors", "", 0);
  EXPECT_EQ(decays.tokens.size(), 6U);  // The context of the run.
  EXPECT_THAT(decays.source, HasSubstr("held-out"));
  ASSERT_EQ(raw.size(), 8U);
  for (int channel = 0; channel < 8; ++channel) {
    // float32 arithmetic.
    EXPECT_NEAR(decays.layers[1].at(4, channel / 4, channel % 4), -std::exp(raw[channel]), 1e-6);
  }
}

TEST_F(TokenDecay, SaysWhatWasRead) {
  EXPECT_EQ(read_token_decays(write_model("{kind: rwkv6, head_size: 4}"), "", 4).source,
            "4 tokens of the run's held-out data");
  EXPECT_EQ(read_token_decays(write_model("{kind: rwkv6, head_size: 4}", "0"), "", 4).source,
            "4 tokens of the run's training data");
}

TEST_F(TokenDecay, RefusesWhatHasNone) {
  const auto message = [&](const std::filesystem::path& model, const std::string& text) {
    return message_of<DataError>([&] { read_token_decays(model, text.empty() ? "" : folder_ / text, 0); });
  };
  EXPECT_THAT(message(write_model("{kind: rwkv4}"), ""), HasSubstr("no layer of this model has a decay"));
  EXPECT_THAT(message(write_model("{kind: rwkv6, head_size: 4, decay: learned}"), ""), HasSubstr("no layer"));
  folder_.make("empty.txt", "");
  folder_.make("strange.txt", "xyz");
  const auto path = write_model("{kind: rwkv7, head_size: 4}");
  EXPECT_THAT(message(path, "empty.txt"), HasSubstr("empty"));
  EXPECT_THAT(message(path, "strange.txt"), HasSubstr("strange.txt"));
  EXPECT_THAT(message(path, "missing.txt"), HasSubstr("missing.txt"));
  std::filesystem::remove(folder_ / "text.txt");
  EXPECT_THAT(message(path, ""), HasSubstr("--text"));
  write_safetensors(folder_ / "bare.safetensors", {{"emb.weight", Tensor::zeros({5, 8})}});
  EXPECT_THAT(message(folder_ / "bare.safetensors", ""), HasSubstr("expected the layers of a model"));
}

TokenDecays sample() {
  // One layer, two heads of two channels, three tokens: w is 0.5 or 0.25, and the third token forgets head 1.
  LayerTokenDecay layer{3, 2, 2, {}};
  for (const double w : {0.5, 0.25, 0.5, 0.25, 0.5, 0.25, 0.5, 0.25, 0.5, 0.25, 1e-3, 1e-3}) {
    layer.log_decay.push_back(std::log(w));
  }
  return {{"a", "␣", "b"}, {layer}, "the text"};
}

TEST(TokenDecayFigure, DistributionPerHead) {
  const Figure figure = token_decay_figure(sample(), {});
  ASSERT_EQ(figure.panels.size(), 1U);
  EXPECT_EQ(figure.panels[0].title, "layer 3");
  const Curve& median = figure.panels[0].curves[2];
  EXPECT_NEAR(median.y[0], 0.375, 1e-12);  // Of head 0: 0.25 and 0.5, thrice each; rounding.
  EXPECT_NEAR(median.y[3], 0.25, 1e-12);   // Of head 1: 0.001, 0.001, 0.25, 0.25, 0.5, 0.5.
  EXPECT_TRUE(std::isnan(median.y[2]));
  TokenDecayPlotOptions options;
  options.half_life = true;
  EXPECT_NEAR(token_decay_figure(sample(), options).panels[0].curves[1].y[1], 0.5, 1e-12);  // w = 0.25
}

TEST(TokenDecayFigure, HeatMaps) {
  TokenDecayPlotOptions options;
  options.heat_map = true;
  Figure figure = token_decay_figure(sample(), options);
  const HeatMap& heads = *figure.panels[0].heat;
  ASSERT_EQ(heads.rows.size(), 2U);
  EXPECT_NEAR(heads.rows[0][2], std::sqrt(0.125), 1e-12);
  EXPECT_NEAR(heads.rows[1][2], 1e-3, 1e-12);
  EXPECT_EQ(figure.panels[0].x.tics[1].second, "␣");
  options.layer = 3;
  options.head = 0;
  figure = token_decay_figure(sample(), options);
  EXPECT_NEAR(figure.panels[0].heat->rows[1][0], 0.5, 1e-12);  // Slow channels above.
  const TemporaryFolder folder;
  for (const char* const name : {"map.svg", "map.png"}) {
    EXPECT_TRUE(std::filesystem::exists(draw_figure(figure, folder / name).figure));
  }
  EXPECT_THAT(gnuplot_data(figure), HasSubstr("0.25 0.25 0.25 \n0.5 0.5 0.5 \n"));
  options.head = 2;
  EXPECT_THAT(message_of<ConfigError>([&] { token_decay_figure(sample(), options); }), HasSubstr("heads 0 to 1"));
  options.layer = 1;
  EXPECT_THAT(message_of<ConfigError>([&] { token_decay_figure(sample(), options); }), HasSubstr("there are 3"));
  options.layer.reset();
  EXPECT_THAT(message_of<ConfigError>([&] { token_decay_figure(sample(), options); }), HasSubstr("--layer"));
  options.heat_map = false;
  EXPECT_THAT(message_of<ConfigError>([&] { token_decay_figure(sample(), options); }), HasSubstr("--heatmap"));
}

}  // namespace
}  // namespace rwkvlab
