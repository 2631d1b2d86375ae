// Models of images: sizes, scan plans, gradients, and what is refused.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "autograd/ops/image_losses.h"
#include "base/error.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "models/image_classifier.h"
#include "models/image_segmenter.h"
#include "models/masked_autoencoder.h"
#include "models/receptive_field.h"
#include "models/sine_positions.h"
#include "tests/support/gradient_check.h"
#include "tests/support/tensors.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;
using testing::HasSubstr;

struct ModelFile {
  Choice model;
};

std::unique_ptr<Module> model_of(const Node& tree, const ModelSite& data) {
  const auto file = bind<ModelFile>(tree, make_schema<ModelFile>([](Fields<ModelFile>& f) {
                                      f.doc("A model.");
                                      f.kind("model", &ModelFile::model, "model", "the model", "image_classifier");
                                    }));
  return make_root(build_kind<Module, ModelSite>("model", file.model, data));
}

// Images of 2 channels, 7 x 10 pixels, in patches of 3: a grid of 3 x 4; 5 classes.
constexpr ModelSite small_images = {0, 2, 7, 10, 5};

// Of three layers of width 8 and patches of 3 pixels, where `yaml` says nothing else.
template <class Model>
std::unique_ptr<Model> small_model(const std::string& yaml, DType type = DType::f64) {
  std::string text = "model: {" + yaml;
  for (const std::string standard : {"layers: 3", "width: 8", "patch_size: 3", "kind: image_classifier"}) {
    const std::string key = standard.substr(0, standard.find(':') + 1);
    if (yaml.find(key) != 0 && yaml.find(", " + key) == std::string::npos) text += ", " + standard;
  }
  auto built = model_of(parse_yaml(text + "}", "test.yaml"), small_images);
  built->allocate(1, type);
  return std::unique_ptr<Model>(&dynamic_cast<Model&>(*built.release()));
}

// All parameters away from 0 and 1, so that every gradient counts.
void shake(Module& module) {
  for (Parameter* const p : module.parameters()) {
    const Tensor noise = normal_tensor(p->shape, p->name, 0.3);
    for (std::int64_t i = 0; i < noise.elements(); ++i) p->var.value().data<double>()[i] += noise.data<double>()[i];
  }
}

Tensor images(std::int64_t batch = 2, std::int64_t height = 7, std::int64_t width = 10) {
  return normal_tensor({batch, 2, height, width}, "images");
}

std::string mix(const std::string& kind) { return "time_mix: {kind: " + kind + "}"; }
std::string text_mix(const std::string& kind) { return mix(kind) + ", channel_mix: {kind: gelu_mlp}"; }

TEST(ImageModels, PublishedSizesAndFlops) {
  // arXiv:2403.02308, table 1, and the models of its repository; G of multiply-adds.
  const std::map<std::string, std::pair<std::int64_t, double>> published = {
      {"vrwkv_tiny", {6155176, 1.171}},     {"vrwkv_small", {23820136, 4.597}}, {"vrwkv_base", {93645544, 18.211}},
      {"vrwkv_large", {334881768, 189.51}}, {"vrwkv6_tiny", {7641256, 1.659}},  {"vrwkv6_small", {27677032, 5.745}},
      {"vrwkv6_base", {104898280, 21.200}}};
  for (const auto& [name, size] : published) {
    SCOPED_TRACE(name);
    const auto model = model_of(read_yaml(RWKVLAB_SOURCE_DIR "/configs/models/" + name + ".yaml", name), {});
    std::int64_t count = 0;
    for (const Parameter* const p : model->parameters()) count += p->shape.elements();
    EXPECT_EQ(count, size.first);
    // The table has four or five digits.
    EXPECT_NEAR(dynamic_cast<const ImageModel&>(*model).published_flops() / 1e9, size.second,
                0.5e-3 * std::max(1.0, size.second / 20));
  }
  const auto vit = model_of(read_yaml(RWKVLAB_SOURCE_DIR "/configs/models/vit_tiny.yaml", "vit_tiny"), {});
  // DeiT-Tiny: 1.26 G without its class token; 2 T² C per layer beside the projections.
  EXPECT_NEAR(dynamic_cast<const ImageModel&>(*vit).published_flops() / 1e9, 1.26, 0.02);
}

TEST(ImageModels, EveryTextMixerRunsUnderEveryPlan) {
  for (const std::string& kind : KindRegistry::instance().kinds("time_mix")) {
    if (kind.starts_with("vision_")) continue;
    for (const std::string scan : {"raster", "bidirectional", "four_directional", "cross_scan"}) {
      for (const std::string shift : {"own", "q_shift"}) {
        SCOPED_TRACE(kind + " " + scan + " " + shift);
        const auto model = small_model<ImageClassifier>("class_token: true, scan: " + scan + ", token_shift: " + shift +
                                                        ", " + text_mix(kind));
        EXPECT_TRUE(test::all_finite(model->logits(Var(images()), {}).value()));
      }
    }
  }
}

TEST(ImageModels, MeansOverAllTokensReadRowsAndColumns) {
  // An image of one row has one order only, and of one column too.
  const Tensor row = images(1, 3, 10), square = images(1);
  const auto logits = [](const std::string& scan, const Tensor& image) {
    const auto model = small_model<ImageClassifier>("layers: 2, token_shift: q_shift, positions: none, scan: " + scan +
                                                    ", " + text_mix("vision_rwkv, token_shift: none"));
    return model->logits(Var(image), {}).value();
  };
  for (const std::string scan : {"four_directional", "cross_scan"}) {
    SCOPED_TRACE(scan);
    EXPECT_TRUE(test::close(logits(scan, row), logits("raster", row), 1e-12)) << "the mean of twice the same";
    EXPECT_FALSE(test::close(logits(scan, square), logits("raster", square), 1e-6)) << "other distances";
  }
}

// Which tokens of the last layer change with the image's pixel at `row`, `column`.
std::vector<bool> reached(const ImageClassifier& model, std::int64_t row, std::int64_t column) {
  Tensor changed = images(1).clone();
  changed.data<double>()[row * 10 + column] += 1;
  const Var before = model.backbone().forward(Var(images(1)), {}).tokens;
  const Var after = model.backbone().forward(Var(changed), {}).tokens;
  std::vector<bool> result;
  for (std::int64_t t = 0; t < before.shape()[1]; ++t) {
    double difference = 0;
    for (std::int64_t c = 0; c < 8; ++c)
      difference = std::max(
          difference, std::fabs(before.value().data<double>()[t * 8 + c] - after.value().data<double>()[t * 8 + c]));
    result.push_back(difference > 0);
  }
  return result;
}

TEST(ImageModels, ScanPlansReachWhatTheySay) {
  // Row 1, column 1 of the grid of 3 x 4 is token 5.
  const auto of = [](const std::string& scan, const char* shift = "own", const char* layers = "1") {
    auto model = small_model<ImageClassifier>(text_mix("rwkv6") + ", scan: " + scan + ", token_shift: " + shift +
                                              ", embedding_norm: false, final_norm: false, layers: " + layers);
    shake(*model);
    return reached(*model, 4, 4);
  };
  std::vector<bool> before_no_more(12, true);
  std::fill_n(before_no_more.begin(), 5, false);
  EXPECT_EQ(of("raster"), before_no_more);
  EXPECT_THAT(of("bidirectional"), testing::Each(true));
  EXPECT_THAT(of("cross_scan"), testing::Each(true));
  EXPECT_EQ(of("four_directional"), before_no_more);  // The first layer reads row by row.
  EXPECT_THAT(of("four_directional", "own", "2"), testing::Each(true));
  // Q-Shift lets a causal mix see the tokens to the right and below: those before it see token 5 through them.
  const std::vector<bool> shifted = of("raster", "q_shift");
  EXPECT_TRUE(shifted[4]);
  EXPECT_TRUE(shifted[1]);
  EXPECT_FALSE(shifted[0]);
}

TEST(ImageModels, GradientsOfWholeModels) {
  const std::vector<std::string> variants = {
      mix("vision_rwkv") + ", norm: after, layer_scale: 0.5, image_height: 5",
      mix("vision_rwkv6") +
          ", channel_mix: {kind: vision_rwkv6}, class_token: true, pooling: class_token, head: mlp_tanh",
      text_mix("rwkv7") + ", scan: bidirectional, token_shift: q_shift, recompute: blocks",
      text_mix("rwkv7") + ", scan: four_directional",
      text_mix("attention, causal: false, positions: none") + ", token_shift: q_shift, embedding_norm: false"};
  for (const std::string& variant : variants) {
    SCOPED_TRACE(variant);
    const auto model = small_model<ImageClassifier>(variant);
    shake(*model);
    const Var pixels = Var::leaf(images());
    test::Leaves leaves = {{"images", pixels}};
    for (Parameter* const p : model->parameters()) leaves.emplace_back(p->name, p->var);
    test::GradientCheckOptions options;
    options.samples = 2;
    EXPECT_TRUE(test::gradients_agree(
        leaves, [&] { return std::vector{model->logits(pixels, {})}; }, options));
  }
}

TEST(ImageModels, RecomputedLayersGiveTheSameGradients) {
  const auto gradients = [](const std::string& branches, const std::string& recompute) {
    const auto model =
        small_model<ImageClassifier>(text_mix("rwkv7") + branches + ", scan: cross_scan, recompute: " + recompute);
    ForwardContext context;
    context.training = true;
    context.seed = 3;
    context.step = 5;
    Tape tape;
    const Var logits = model->logits(Var(images(6)), context);
    tape.backward({logits}, {normal_tensor(logits.shape(), "seed")});
    std::map<std::string, std::vector<double>> result;
    for (Parameter* const p : model->parameters()) {
      if (p->var.grad().defined()) result[p->name] = p->var.grad().to_doubles();
    }
    return result;
  };
  // Without drop path and layer scale, layers leave their last branch to the next one's norm unless they are
  // recomputed.
  for (const std::string branches : {"", ", drop_path: 0.4, layer_scale: 0.7"}) {
    EXPECT_EQ(gradients(branches, "none"), gradients(branches, "blocks")) << branches;
    EXPECT_EQ(gradients(branches, "none"), gradients(branches, "blocks, recompute_layers: [1]")) << branches;
  }
}

TEST(ImageModels, LayersThatAreWatchedComputeTheSame) {
  const auto model = small_model<ImageClassifier>(mix("vision_rwkv"));
  shake(*model);
  const ImageFeatures alone = model->backbone().forward(Var(images()), {}, {});
  const ImageFeatures watched = model->backbone().forward(Var(images()), {}, {0, 1, 2});
  EXPECT_EQ(watched.stages.size(), 3);
  EXPECT_EQ(alone.tokens.value().to_doubles(), watched.tokens.value().to_doubles());
}

TEST(ImageModels, DropPathDropsWholeImagesAndKeepsTheMean) {
  const auto model = small_model<ImageClassifier>(text_mix("attention") + ", drop_path: 0.5");
  shake(*model);
  ForwardContext context;
  context.training = true;
  const Tensor plain = model->logits(Var(images(1)), {}).value();
  int equal = 0;
  std::vector<double> first;
  for (context.step = 0; context.step < 40; ++context.step) {
    const std::vector<double> logits = model->logits(Var(images(1)), context).value().to_doubles();
    EXPECT_EQ(logits, model->logits(Var(images(1)), context).value().to_doubles());
    if (first.empty()) first = logits;
    equal += logits == first ? 1 : 0;
  }
  // The last two layers have two branches each, kept with 3/4 and 1/2: no outcome has more than 9/64.
  EXPECT_GT(equal, 0);
  EXPECT_LT(equal, 30);
}

TEST(ImageModels, OtherSizesOfImagesAreRead) {
  const auto model = small_model<ImageClassifier>(mix("vision_rwkv"));
  EXPECT_EQ(model->logits(Var(images(2, 13, 5)), {}).shape(), Shape({2, 5}));
  EXPECT_THAT(message_of<ShapeError>([&] {
                model->logits(Var(Tensor::zeros({1, 3, 6, 6}, DType::f64)), {});
              }),
              HasSubstr("[batch, 2, height, width]"));
  const auto segmenter = small_model<ImageSegmenter>("kind: image_segmenter, stages: [0, -1]");
  EXPECT_EQ(segmenter->logits(Var(images(2, 8, 5)), {}).shape(), Shape({2, 40, 5}));
}

TEST(ImageModels, SinesSayWhereATokenIs) {
  const GridSize grid = {3, 4};
  const Tensor table = sine_positions(grid, 10, DType::f64);
  ASSERT_EQ(table.shape(), Shape({12, 10}));
  // Row 1, column 3: the column's angles are 3 and 3 / 100, the row's 1 and 1 / 100; two channels are left over.
  const double expected[] = {std::sin(3), std::sin(0.03),
                             std::cos(3), std::cos(0.03),
                             std::sin(1), std::sin(0.01),
                             std::cos(1), std::cos(0.01),
                             0,           0};
  for (std::int64_t c = 0; c < 10; ++c) EXPECT_NEAR(table.data<double>()[7 * 10 + c], expected[c], 1e-15) << c;
  for (std::int64_t i = 0; i < 120; ++i) EXPECT_EQ(table.data<double>()[i], sine_position(grid, 10, i));
  // What does not ask for places cannot tell images apart whose patches are exchanged; with sines it can.
  const std::string mixes =
      "time_mix: {kind: attention, causal: false, positions: none}, channel_mix: {kind: gelu_mlp}";
  Tensor exchanged = images(1).clone();
  for (std::int64_t i = 0; i < 2 * 7 * 3; ++i) {  // The first and the second column of patches.
    double* const line = exchanged.data<double>() + i / 3 * 10 + i % 3;
    std::swap(line[0], line[3]);
  }
  for (const std::string positions : {"none", "sine"}) {
    const auto model = small_model<ImageClassifier>("positions: " + positions + ", " + mixes);
    const std::vector<double> plain = model->logits(Var(images(1)), {}).value().to_doubles(),
                              other = model->logits(Var(exchanged), {}).value().to_doubles();
    const double distance = std::abs(plain[0] - other[0]);
    // Sums in another order against another position.
    EXPECT_EQ(distance < 1e-12, positions == "none") << distance;
    EXPECT_EQ(model->logits(Var(images(2, 13, 5)), {}).shape(), Shape({2, 5})) << "of any size";
  }
}

TEST(ImageModels, PaddingIsSaid) {
  EXPECT_EQ(small_model<ImageClassifier>("layers: 1")->summary(),
            "image_classifier, 1 layers, width 8, 7 x 10 pixels (padded to 9 x 12) of 2 channels, 5 classes");
  EXPECT_THAT(small_model<ImageSegmenter>("kind: image_segmenter, patch_size: 1")->summary(),
              HasSubstr(", 7 x 10 pixels of 2 channels"));
}

TEST(ImageModels, MaskedPatchesAreNotSeen) {
  const auto model = small_model<MaskedAutoencoder>(
      "kind: masked_autoencoder, decoder_layers: 2, decoder_width: 6, mask_ratio: 0.5, time_mix: {kind: vision_rwkv, "
      "token_shift: previous}, channel_mix: {kind: vision_rwkv, token_shift: previous}");
  shake(*model);
  std::vector<double> noise(12);
  for (std::size_t i = 0; i < 12; ++i) noise[i] = static_cast<double>((7 * i) % 12);
  const Tensor order = Tensor::from<double>({1, 12}, noise);
  const auto predict = [&](double change, std::int64_t token) {
    Tensor changed = images(1).clone();
    changed.data<double>()[token / 4 * 30 + token % 4 * 3] += change;
    return model->forward(Var(changed), order, {});
  };
  const MaskedPrediction plain = predict(0, 0);
  for (std::int64_t token = 0; token < 12; ++token) {
    const bool is_hidden = noise[static_cast<std::size_t>(token)] >= 6;
    EXPECT_EQ(plain.mask.data<double>()[token], is_hidden ? 1 : 0);
    EXPECT_EQ(predict(1, token).prediction.value().to_doubles() == plain.prediction.value().to_doubles(), is_hidden);
  }
  const Var pixels = Var::leaf(images(1));
  test::Leaves leaves = {{"images", pixels}};
  for (Parameter* const p : model->parameters()) leaves.emplace_back(p->name, p->var);
  test::GradientCheckOptions options;
  options.samples = 2;
  EXPECT_TRUE(test::gradients_agree(
      leaves, [&] { return std::vector{model->forward(pixels, order, {}).error.loss}; }, options));
}

TEST(ImageModels, ReceptiveFieldsOfCausalModelsEndBehindTheMiddle) {
  const auto model =
      small_model<ImageClassifier>(text_mix("rwkv4") + ", patch_size: 1, layers: 1, embedding_norm: false");
  shake(*model);
  const std::vector<double> field = receptive_field(model->backbone(), Var(images(3)));
  ASSERT_EQ(field.size(), 70U);
  double before = 0;
  for (std::size_t i = 0; i < 70; ++i) {
    if (i < 3 * 10 + 5) before += field[i];
    if (i <= 3 * 10 + 5) continue;
    EXPECT_EQ(field[i], 0) << i;
  }
  EXPECT_GT(before, 0);
  const std::vector<double> point = [] {
    std::vector<double> p(70, 0.0);
    p[35] = 2;
    return p;
  }();
  EXPECT_EQ(receptive_field_side(point, 7, 10, 0.99), 1);
  EXPECT_EQ(receptive_field_side(std::vector<double>(70, 1.0), 7, 10, 0.5),
            7);  // 25 of 70 pixels are less, 49 are more.
  const std::vector<double> map = receptive_field_map(point);
  EXPECT_EQ(*std::max_element(map.begin(), map.end()), 1);
}

TEST(ImageModels, WhatMakesNoSenseIsRefused) {
  const auto refusal = [](const std::string& yaml) {
    return message_of<ConfigError>([&] { small_model<ImageModel>(yaml); });
  };
  EXPECT_THAT(refusal(mix("vision_rwkv") + ", scan: bidirectional"), HasSubstr("the reverse would only compute"));
  EXPECT_THAT(refusal(mix("vision_rwkv") + ", scan: cross_scan"), HasSubstr("time_mix.token_shift: none"));
  EXPECT_THAT(refusal(mix("attention, causal: false, positions: none") + ", scan: cross_scan"), HasSubstr("attention"));
  EXPECT_THAT(refusal(mix("vision_rwkv6") + ", token_shift: q_shift"), HasSubstr("leave token_shift out"));
  EXPECT_THAT(refusal("time_mix: {kind: vision_rwkv, token_shift: previous}, channel_mix: {kind: vision_rwkv}, "
                      "token_shift: q_shift"),
              HasSubstr("set time_mix.token_shift: none"));
  EXPECT_THAT(refusal("pooling: class_token"), HasSubstr("class_token: true"));
  EXPECT_THAT(refusal("channels: 3"), HasSubstr("the images of the data have 2"));
  EXPECT_THAT(refusal("classes: 4"), HasSubstr("5 classes"));
  EXPECT_THAT(refusal("recompute_layers: [1]"), HasSubstr("recompute is none"));
  EXPECT_THAT(refusal("kind: image_segmenter, stages: [3]"), HasSubstr("layers 0 to 2"));
  EXPECT_THAT(refusal("kind: masked_autoencoder"), HasSubstr("token_shift: previous"));
  EXPECT_THAT(message_of<ConfigError>([] { model_of(parse_yaml("model: {kind: image_classifier}", "test.yaml"), {}); }),
              HasSubstr("model.channels is unknown"));
}

}  // namespace
}  // namespace rwkvlab
