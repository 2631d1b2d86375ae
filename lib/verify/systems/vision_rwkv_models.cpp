// Models of Vision-RWKV (arXiv:2403.02308): classifiers, feature maps, the masked autoencoder and the effective
// receptive field. Config keys are the official ones of its classification models.
#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/image_losses.h"
#include "base/error.h"
#include "models/image_classifier.h"
#include "models/masked_autoencoder.h"
#include "models/receptive_field.h"
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t most_pixels = 1 << 14;

std::string text_of(const CaseConfig& config, const std::string& key, const std::string& fallback,
                    const std::vector<std::pair<std::string, std::string>>& meanings) {
  const std::string found = config.text_or(key, fallback);
  std::string known;
  for (const auto& [text, meaning] : meanings) {
    if (text == found) return meaning;
    known += (known.empty() ? "" : ", ") + text;
  }
  throw DataError(fmt::format("config.{} is '{}', expected one of {}", key, found.substr(0, 60), known));
}

bool is_sixth(const CaseConfig& config) {
  return text_of(config, "variant", "vrwkv", {{"vrwkv", "4"}, {"vrwkv6", "6"}}) == "6";
}

// What both mixes of a layer say of their token shift.
Node shift_parameters(const CaseConfig& config) {
  const bool sixth = is_sixth(config);
  const std::int64_t pixels = config.integer_or("shift_pixel", 1, 0, 1000);
  std::string shift = text_of(config, "shift_mode", sixth ? "q_shift_multihead" : "q_shift",
                              {{"q_shift", "q_shift"},
                               {"q_shift_multihead", "q_shift_heads"},
                               {"single_shift", "previous"},
                               {"double_shift", "double"}});
  if (pixels == 0) shift = "none";
  Node node = map_of({{"token_shift", Node(shift)},
                      {"shift_pixels", Node(std::max<std::int64_t>(pixels, 1))},
                      {"channel_gamma", Node(config.number_or("channel_gamma", 0.25))},
                      {"key_norm", Node(config.flag_or("key_norm", false))}});
  if (config.has("head_size")) {
    node.insert("head_size", Node(config.integer("head_size", 1, most_channels)));
  } else if (config.has("num_heads")) {
    const std::int64_t width = config.integer("embed_dims", 1, most_channels);
    node.insert("head_size", Node(width / config.integer("num_heads", 1, width)));
  }
  return node;
}

Node time_mix_parameters(const CaseConfig& config) {
  Node node = shift_parameters(config);
  if (!is_sixth(config)) {
    node.insert("kernel_form", Node(text_of(config, "kernel_form", "paper_eq5",
                                            {{"paper_eq5", "paper"}, {"official_cuda", "official_cuda"}})));
    return with_kind("vision_rwkv", std::move(node));
  }
  node.insert("mix_rank", Node(config.integer_or("time_mix_extra_dim", 32, 1, most_channels)));
  node.insert("decay_rank", Node(config.integer_or("time_decay_extra_dim", 64, 1, most_channels)));
  return with_kind("vision_rwkv6", std::move(node));
}

Node channel_mix_parameters(const CaseConfig& config) {
  Node node = shift_parameters(config);
  node.insert("hidden_rate", Node(config.number_or("hidden_rate", 4)));
  return with_kind(is_sixth(config) ? "vision_rwkv6" : "vision_rwkv", std::move(node));
}

// The layers and the size of the images, as every model has them.
Node layer_parameters(const CaseConfig& config) {
  const std::vector<std::int64_t> size = config.integers("img_size", 1, most_pixels);
  if (size.empty() || size.size() > 2)
    throw DataError("config.img_size is expected to be one number or [height, width]");
  Node node = map_of({{"layers", Node(config.integer("depth", 1, 1000))},
                      {"width", Node(config.integer("embed_dims", 1, 65536))},
                      {"channels", Node(config.integer_or("in_channels", 3, 1, 1024))},
                      {"image_height", Node(size.front())},
                      {"image_width", Node(size.back())},
                      {"patch_size", Node(config.integer_or("patch_size", 16, 1, 4096))},
                      {"norm", Node(config.flag_or("post_norm", false) ? "after" : "before")},
                      {"drop_path", Node(config.number_or("drop_path_rate", 0))},
                      {"time_mix", time_mix_parameters(config)},
                      {"channel_mix", channel_mix_parameters(config)}});
  if (config.states("init_values")) node.insert("layer_scale", Node(config.number("init_values")));
  return node;
}

ImageClassifierParams classifier_parameters(const CaseConfig& config) {
  Node node = layer_parameters(config);
  node.insert("position_resize",
              Node(text_of(config, "interpolate_mode", "bicubic", {{"bicubic", "bicubic"}, {"bilinear", "bilinear"}})));
  node.insert("class_token", Node(config.flag_or("with_cls_token", false)));
  node.insert("dropout", Node(config.number_or("drop_rate", 0)));
  node.insert("final_norm", Node(config.flag_or("final_norm", true)));
  node.insert("classes", Node(config.integer_or("num_classes", 1, 1, most_channels)));
  node.insert("head", Node(text_of(config, "head", "linear", {{"linear", "linear"}, {"mlp_tanh", "mlp_tanh"}})));
  node.insert("head_width", Node(config.integer_or("head_hidden_dims", 0, 0, most_channels)));
  return make_choice("model", "image_classifier", node).as<ImageClassifierParams>();
}

// in.image, whose size must agree with the config.
Var image_input(CaseRun& run, std::int64_t patch, double widest) {
  const Var image = run.input("image");
  const Shape& shape = image.shape();
  if (shape.rank() != 4) {
    throw DataError(
        fmt::format("tensor 'in.image' has shape {}, expected [batch, channels, height, width]", shape.text()));
  }
  run.config().agree("batch", shape[0], "'in.image'");
  run.config().agree("in_channels", shape[1], "'in.image'");
  run.config().agree("input_height", shape[2], "'in.image'");
  run.config().agree("input_width", shape[3], "'in.image'");
  const std::int64_t rows = shape[2] / patch + 1, columns = shape[3] / patch + 1;
  const auto tokens = static_cast<double>(rows * columns);
  check_size(static_cast<double>(shape[0]) * tokens * widest, "an activation of the model");
  return image;
}

double widest_of(const Module& module) {
  double widest = 1;
  for (const Parameter* const p : module.parameters()) widest = std::max(widest, static_cast<double>(p->shape[0]));
  return widest;
}

void run_classifier(CaseRun& run) {
  const auto model = make_root(std::make_unique<ImageClassifier>(classifier_parameters(run.config()), ModelSite()));
  run.load(*model);
  const Var image = image_input(run, model->params().patch_size, widest_of(*model));
  const Var logits = model->logits(image, {});
  run.output("logits", logits);
  if (run.reference().inputs.count("labels") == 0) return;
  const Tensor labels = run.integer_input("labels", 1);
  const Tensor targets =
      smoothed_targets(labels, {}, logits.shape()[1], run.config().number_or("label_smoothing", 0), run.precision());
  run.output("loss", soft_cross_entropy(logits, targets).loss);
}

struct CaseBackbone {
  ImageClassifierParams params;
  std::unique_ptr<ImageBackbone> module;
  Var image;
};

CaseBackbone load_backbone(CaseRun& run) {
  CaseBackbone result;
  result.params = classifier_parameters(run.config());
  const ModelSite image = resolve_image_site(result.params, 1, {});
  result.module = make_root(std::make_unique<ImageBackbone>(result.params, image));
  run.load(*result.module);
  result.image = image_input(run, result.params.patch_size, widest_of(*result.module));
  return result;
}

void run_features(CaseRun& run) {
  const CaseBackbone backbone = load_backbone(run);
  const int layers = backbone.params.layers;
  std::vector<int> stages;
  // The layer behind the last one is accepted and gives nothing, as in the published code.
  for (const std::int64_t stage : run.config().integers("out_indices", -layers, layers)) {
    if (stage != layers) stages.push_back(static_cast<int>(stage));
  }
  stages = resolve_stages(stages, layers);
  const ImageFeatures features = backbone.module->forward(backbone.image, {}, stages);
  const std::int64_t batch = backbone.image.shape()[0];
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const Var& tokens = features.stages[i];
    run.output(fmt::format("feature.{}", stages[i]),
               reshape(channels_first(features.places(tokens)),
                       {batch, backbone.params.width, features.grid.rows, features.grid.columns}));
    if (features.grid.extra > 0) run.output(fmt::format("cls_token.{}", stages[i]), features.class_token(tokens));
  }
}

void run_receptive_field(CaseRun& run) {
  const CaseBackbone backbone = load_backbone(run);
  const std::vector<double> contribution = receptive_field(*backbone.module, backbone.image);
  const Shape shape = {backbone.image.shape()[2], backbone.image.shape()[3]};
  run.output("contribution", shape, contribution);
  run.output("heatmap", shape, receptive_field_map(contribution));
}

void run_masked_autoencoder(CaseRun& run) {
  const CaseConfig& config = run.config();
  Node node = layer_parameters(config);
  node.insert("decoder_layers", Node(config.integer("decoder_depth", 1, 1000)));
  node.insert("decoder_width", Node(config.integer("decoder_embed_dims", 1, 65536)));
  node.insert("mask_ratio", Node(config.number_or("mask_ratio", 0.75)));
  node.insert("normalised_pixels", Node(config.flag_or("norm_pix_loss", false)));
  const auto params = make_choice("model", "masked_autoencoder", node).as<MaskedAutoencoderParams>();
  const auto model = make_root(std::make_unique<MaskedAutoencoder>(params, ModelSite()));
  run.load(*model);
  const Var image = image_input(run, params.patch_size, widest_of(*model));
  const MaskedPrediction result = model->forward(image, run.real_input("noise", 2), {});
  run.output("loss", result.error.loss);
  run.output("pred", result.prediction);
  run.output("mask", Var(result.mask));
}

// Norms behind every branch, norms of the keys and small layer scales each leave fewer exact digits.
Tolerances of_classifier(const CaseConfig& config) {
  if (config.flag_or("key_norm", false)) return {5e-6, 5e-5, {}};
  if (is_sixth(config)) return {2e-6, 4e-5, {}};
  return {2e-6, config.flag_or("post_norm", false) ? 2e-5 : 1e-5, {}};
}

Tolerances of_features(const CaseConfig& config) {
  return is_sixth(config) ? Tolerances{3e-5, 2e-4, {}} : Tolerances{5e-6, 3e-5, {}};
}

std::vector<CaseKind> kinds() {
  std::vector<CaseKind> all = {
      case_kind("model", "a classifier: image -> logits; with labels the loss", {5e-6, 5e-5, {}}, run_classifier),
      case_kind("features", "a backbone: image -> feature maps, class tokens", {3e-5, 2e-4, {}}, run_features),
      case_kind("mae", "a masked autoencoder: image, noise -> loss, pred, mask", {5e-6, 4e-5, {}},
                run_masked_autoencoder),
      case_kind("erf", "the effective receptive field: image -> contribution, heatmap", {2e-5, 0, {}},
                run_receptive_field),
  };
  all[0].tolerances_of = of_classifier;
  all[1].tolerances_of = of_features;
  return all;
}

const RegisterCases registered("vision_rwkv", kinds());

}  // namespace
}  // namespace rwkvlab
