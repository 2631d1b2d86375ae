// Experiments on images, from YAML to the run file, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/image_tokens.h"
#include "base/error.h"
#include "base/file.h"
#include "record/run_file_reader.h"
#include "run/describe.h"
#include "run/initial_weights.h"
#include "run/load_image_model.h"
#include "run/load_model.h"
#include "run/run_experiment.h"
#include "tests/run/make_experiment.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string small_data =
    "data: {kind: glyph_pairs, rows: 5, columns: 5, pairs: 1, images: 40, held_out_images: 12}\n";
const std::string small_training =
    "train: {steps: 6, batch: 4, checkpoint_every: 3, schedule: {kind: constant}}\neval: {every: 3}\n";
const std::string small_classifier =
    "model: {kind: image_classifier, layers: 2, width: 8, patch_size: 3, drop_path: 0.2}\n"
    "log: {decays_every: 3, probes: [{match: 'backbone.layers.*.output', every: 3, as: statistics}]}\n";

RunOptions silent(const std::filesystem::path& folder) {
  RunOptions options;
  options.folder = folder;
  options.output = -1;
  return options;
}

std::vector<double> losses(const RunResult& result) {
  return RunFileReader(result.run_file).scalars("metrics/train/loss").values;
}

TEST(ImageExperiment, IsRunRecordedAndContinuedBitForBit) {
  const TemporaryFolder folder;
  const auto file = folder.make("images.yaml", small_classifier + small_data + small_training);
  const LoadedExperiment loaded = load_experiment(file);
  EXPECT_EQ(loaded.experiment.train.objective.kind, "image_classification");
  EXPECT_EQ(loaded.experiment.train.tokens_per_step(), 4);
  const RunResult whole = run_experiment(loaded, silent(folder / "whole"));
  ASSERT_TRUE(whole.evaluation && whole.evaluation->accuracy);
  EXPECT_EQ(whole.evaluation->unit.text(), "nats per image");
  EXPECT_EQ(whole.evaluation->tokens, 12);
  const RunFileReader reader(whole.run_file);
  EXPECT_THAT(reader.steps("metrics/eval/accuracy"), ElementsAre(3, 6));
  EXPECT_EQ(reader.list("metrics/train/loss").front().unit, "nats per image");
  EXPECT_EQ(reader.list("metrics/train/tokens_seen").front().unit, "images");
  EXPECT_EQ(reader.scalars("metrics/train/tokens_seen").values.back(), 24);
  EXPECT_TRUE(reader.has("decay/backbone.layers.0.att.spatial_decay")) << "spatial decays are recorded";
  EXPECT_FALSE(reader.list("statistics/backbone.layers.1.output").empty());

  run_experiment(load_experiment(file, {"train.steps=3"}), silent(folder / "parts"));
  RunOptions again = silent(folder / "parts");
  again.resume = true;
  const RunResult parts = run_experiment(loaded, again);
  const std::vector<double> all = losses(whole), rest = losses(parts);
  EXPECT_EQ(rest.back(), all.back());
  EXPECT_EQ(parts.evaluation->loss, whole.evaluation->loss);

  TrainedImageModel trained = open_image_model(folder / "whole");
  const std::vector<double> before = trained.model->parameters().front()->var.value().to_doubles();
  trained.load_weights();
  EXPECT_NE(trained.model->parameters().front()->var.value().to_doubles(), before);
  EXPECT_THAT(message_of<ConfigError>([&] { load_trained_model(folder / "whole"); }), HasSubstr("model of images"));
}

TEST(ImageExperiment, SegmentationAndMaskedAutoencodingHaveTheirOwnMetrics) {
  const TemporaryFolder folder;
  const RunResult segmented = run_experiment(
      load_experiment(folder.make("segment.yaml",
                                  "model: {kind: image_segmenter, layers: 1, width: 8, patch_size: 4}\n"
                                  "data: {kind: shape_segmentation, size: 16, images: 20, held_out_images: 6}\n" +
                                      small_training)),
      silent(folder / "segment"));
  const RunFileReader reader(segmented.run_file);
  EXPECT_EQ(segmented.evaluation->tokens, 6 * 16 * 16);
  ASSERT_EQ(segmented.evaluation->metrics.size(), 1U);
  EXPECT_EQ(reader.scalars("metrics/eval/mean_iou").values.back(), segmented.evaluation->metrics[0].value);
  EXPECT_EQ(reader.list("metrics/eval/loss").front().unit, "nats per pixel");

  const RunResult hidden = run_experiment(
      load_experiment(folder.make(
          "hidden.yaml",
          "model: {kind: masked_autoencoder, layers: 1, width: 8, patch_size: 3, decoder_layers: 1, decoder_width: 8, "
          "time_mix: {kind: vision_rwkv, token_shift: previous}, channel_mix: {kind: vision_rwkv, token_shift: "
          "none}}\n" +
              small_data + small_training)),
      silent(folder / "hidden"));
  EXPECT_EQ(hidden.evaluation->unit.text(), "squared error per patch");
  EXPECT_FALSE(hidden.evaluation->accuracy);
  EXPECT_FALSE(RunFileReader(hidden.run_file).has("metrics/eval/accuracy"));
}

// Values of a parameter of a model.
std::vector<double> values_of(const Module& model, const std::string& name) {
  for (const Parameter* const parameter : model.parameters()) {
    if (parameter->name == name) return parameter->var.value().to_doubles();
  }
  return {};
}

TEST(ImageExperiment, TheEncoderOfAMaskedAutoencoderStartsOtherModels) {
  const TemporaryFolder folder;
  const auto hidden = folder.make(
      "hidden.yaml",
      "model: {kind: masked_autoencoder, layers: 2, width: 8, patch_size: 3, decoder_layers: 1, decoder_width: 8, "
      "time_mix: {kind: vision_rwkv, token_shift: previous}, channel_mix: {kind: vision_rwkv, token_shift: "
      "previous}}\n" +
          small_data + small_training);
  run_experiment(load_experiment(hidden), silent(folder / "hidden"));
  const TensorFile weights = open_tensor_file(weights_file(folder / "hidden"));
  const auto experiment = [&](const std::string& model, const std::string& data) {
    return load_experiment(folder.make(
        "tuned.yaml", "model: {patch_size: 3, " + model + "}\ndata: {" + data +
                          ", images: 20, held_out_images: 6}\ntrain: {steps: 2, batch: 4, start_from: hidden}\n"));
  };
  const std::string classifier = "kind: image_classifier, layers: 2, width: 8";
  const std::string same = "kind: glyph_pairs, rows: 5, columns: 5, pairs: 1";

  // A larger image: 6 x 6 patches.
  const LoadedExperiment larger = experiment(classifier, "kind: glyph_pairs, rows: 6, columns: 6, pairs: 1");
  BuiltExperiment built = build_experiment(larger);
  built.model->allocate(1);
  const std::vector<double> head = values_of(*built.model, "head.fc.weight");
  const std::string told = load_initial_weights(larger, *built.model);
  EXPECT_THAT(told, HasSubstr("positions doubled and resized from 5 x 5 to 6 x 6; new: head.fc.weight, head.fc.bias"));
  EXPECT_EQ(values_of(*built.model, "head.fc.weight"), head);
  for (const std::string name : {"att.key.weight", "att.spatial_decay", "ffn.spatial_mix_k", "ln2.bias"}) {
    EXPECT_EQ(values_of(*built.model, "backbone.layers.1." + name), weights.tensor("blocks.1." + name).to_doubles())
        << name;
  }
  EXPECT_EQ(values_of(*built.model, "backbone.ln1.weight"), weights.tensor("ln1.weight").to_doubles());
  const std::vector<double> stored = weights.tensor("pos_embed").to_doubles();
  const Var twice = scale(Var(weights.tensor("pos_embed")), 2);
  EXPECT_EQ(values_of(*built.model, "backbone.pos_embed"),
            resize_grid(twice, {5, 5}, {6, 6}, "bicubic").value().to_doubles());

  // A segmenter of images of the same size, trained, and what it says.
  const LoadedExperiment segmenter = experiment("kind: image_segmenter, layers: 2, width: 8, class_token: true",
                                                "kind: shape_segmentation, size: 15, channels: 1");
  const RunResult run = run_experiment(segmenter, silent(folder / "segment"));
  EXPECT_THAT(read_text(run.folder / "log.txt", 1 << 20), HasSubstr("start  "));
  built = build_experiment(segmenter);
  built.model->allocate(1);
  EXPECT_THAT(load_initial_weights(segmenter, *built.model),
              HasSubstr("positions doubled; new: backbone.cls_token, head.1.weight, head.1.bias"));
  std::vector<double> doubled = stored;
  for (double& value : doubled) value *= 2;
  EXPECT_EQ(values_of(*built.model, "backbone.pos_embed"), doubled);

  const auto refusal = [&](const std::string& model, const std::string& data) {
    return message_of<DataError>([&] { build_experiment(experiment(model, data)); });
  };
  EXPECT_THAT(refusal("kind: image_classifier, layers: 3, width: 8", same),
              AllOf(HasSubstr("train.start_from"), HasSubstr("missing"), HasSubstr("blocks.2."),
                    HasSubstr("must be those of")));
  EXPECT_THAT(refusal("kind: image_classifier, layers: 1, width: 8", same), HasSubstr("unexpected"));
  EXPECT_THAT(refusal("kind: image_classifier, layers: 2, width: 16", same), HasSubstr("another shape"));
  const std::string wide = "kind: glyph_pairs, rows: 5, columns: 6, pairs: 1";
  EXPECT_THAT(refusal(classifier, wide), AllOf(HasSubstr("25 positions"), HasSubstr("model.position_height")));
  EXPECT_NO_THROW(build_experiment(experiment(classifier + ", position_height: 15, position_width: 15", wide)));
}

TEST(ImageExperiment, AdaptersStandBesideTheMatricesOfAllLayers) {
  const TemporaryFolder folder;
  run_experiment(load_experiment(folder.make("whole.yaml", small_classifier + small_data + small_training)),
                 silent(folder / "whole"));
  const auto tuned = folder.make("tuned.yaml", small_classifier + small_data +
                                                   "train: {steps: 2, batch: 4, start_from: whole, tune: {kind: lora, "
                                                   "rank: 2, also: ['head.*']}}\n");
  const RunResult run = run_experiment(load_experiment(tuned), silent(folder / "tuned"));
  const TensorFile adapters = open_tensor_file(weights_file(run.folder));
  EXPECT_TRUE(adapters.contains("backbone.layers.1.ffn.value.weight.lora_A"));
  EXPECT_TRUE(adapters.contains("head.fc.bias"));
  EXPECT_FALSE(adapters.contains("backbone.layers.1.ffn.value.weight"));
  // What looks at trained models finds the weights beside them.
  TrainedImageModel model = open_image_model(run.folder);
  const auto value = [&] { return values_of(*model.built.model, "backbone.layers.1.ffn.value.weight"); };
  const std::vector<double> before = value();
  model.load_weights();
  EXPECT_NE(value(), before);
}

TEST(ImageExperiment, WhatMakesNoSenseIsRefused) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& yaml) {
    return message_of<ConfigError>([&] { build_experiment(load_experiment(folder.make("wrong.yaml", yaml))); });
  };
  EXPECT_THAT(refusal(small_classifier + small_data + "train: {context: 64}\n"),
              HasSubstr("a row of images is one image"));
  EXPECT_THAT(refusal(small_classifier + small_data + "eval: {carry_state: true}\n"), HasSubstr("eval.carry_state"));
  EXPECT_THAT(refusal(small_classifier + small_data + "eval: {by_position: true}\n"), HasSubstr("eval.by_position"));
  EXPECT_THAT(refusal("model: {kind: language_model, vocabulary_size: 7}\n" + small_data), HasSubstr("made of tokens"));
  EXPECT_THAT(refusal("model: {kind: image_classifier, channels: 1, image_height: 9, image_width: 9, classes: 4}\n"
                      "data: {kind: copying, symbols: 3, train: [{count: 2}]}\n"),
              HasSubstr("made of images"));
  EXPECT_THAT(refusal("model: {kind: image_segmenter, layers: 1, width: 8}\n" + small_data),
              HasSubstr("train an image_classifier"));
  EXPECT_THAT(refusal("model: {kind: image_classifier, layers: 1, width: 8, classes: 2}\n" + small_data),
              HasSubstr("the data has 4 classes"));
}

TEST(ImageExperiment, IsDescribedPerImage) {
  const auto model = build_model(load_experiment(std::string(RWKVLAB_SOURCE_DIR "/configs/models/vrwkv_tiny.yaml")));
  const ModelDescription description = describe_model(*model, {.batch = 2});
  EXPECT_EQ(description.parameters, 6155176);
  EXPECT_EQ(description.context, 196);
  // Patches and projections of all layers, and the head on one of the 196 tokens.
  const double products = 2.0 * (196 * (768 * 192 + 12 * 13 * 192 * 192) + 192 * 1000);
  EXPECT_NEAR(description.forward_flops_per_image(), products, 1e-6 * products);
  EXPECT_THAT(describe_text(description), HasSubstr("1.1714 G as arXiv:2403.02308"));
  EXPECT_NEAR(describe_json(description).at("published_flops_per_image").get<double>(), 1.1714e9, 1e5);
}

}  // namespace
}  // namespace rwkvlab
