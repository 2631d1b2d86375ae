#include "run/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "base/error.h"
#include "kernels/matmul.h"
#include "models/image_model.h"
#include "models/language_model.h"
#include "tensor/memory.h"
#include "train/precision.h"

namespace rwkvlab {
namespace {

// Adds the products that run while a module is entered to that module, by its path.
class FlopCounter final : public ModuleListener {
 public:
  void enter(const Module& module) override { open_.push_back({module.path(), recorder_.flops()}); }
  void leave(const Module&) override {
    const auto [path, before] = open_.back();
    open_.pop_back();
    flops_[path] += recorder_.flops() - before;
  }
  double of(const std::string& path) const {
    const auto found = flops_.find(path);
    return found == flops_.end() ? 0.0 : found->second;
  }
  double total() const { return recorder_.flops(); }

 private:
  kernels::MatmulRecorder recorder_;
  std::vector<std::pair<std::string, double>> open_;
  std::map<std::string, double> flops_;
};

std::string short_name(const std::string& full, const std::string& path) {
  return path.empty() ? full : full.substr(path.size() + 1);
}

ModuleDescription describe_module(const Module& module, const std::string& name, const FlopCounter& counter,
                                  double tokens) {
  ModuleDescription result;
  result.name = name;
  result.path = module.path();
  result.summary = module.summary();
  for (const auto& parameter : module.own_parameters()) {
    result.own_parameters.emplace_back(short_name(parameter->name, module.path()), parameter->shape);
    result.parameters += parameter->shape.elements();
  }
  double below = 0;
  for (const auto& [child_name, child] : module.children()) {
    result.children.push_back(describe_module(*child, child_name, counter, tokens));
    result.parameters += result.children.back().parameters;
    below += result.children.back().flops_per_token;
  }
  // A module whose caller uses its parts directly is never entered itself; its parts are.
  result.flops_per_token = std::max(counter.of(module.path()) / tokens, below);
  return result;
}

// The loss of one pass of a training; `tokens` are the batch of a language model, [batch, context].
CrossEntropyLoss trial_loss(const Module& model, const Tensor& tokens, const ForwardContext& context) {
  if (const auto* const images = dynamic_cast<const ImageModel*>(&model))
    return {images->trial_pass(tokens.shape()[0], context), {}, 0};
  return dynamic_cast<const LanguageModel&>(model).loss(tokens, tokens, 0, context);
}

std::vector<std::string> recomputed_layers(const Module& model) {
  if (const auto* const images = dynamic_cast<const ImageModel*>(&model)) return images->recomputed_layers();
  const LanguageModelParams& params = dynamic_cast<const LanguageModel&>(model).params();
  std::vector<std::string> paths;
  for (int layer = 0; layer < params.layers; ++layer) {
    if (params.recomputes(layer, params.layers)) paths.push_back(fmt::format("blocks.{}", layer));
  }
  return paths;
}

double flops_of(const ModuleDescription& module, const std::vector<std::string>& paths) {
  if (std::find(paths.begin(), paths.end(), module.path) != paths.end()) return module.flops_per_token;
  double sum = 0;
  for (const ModuleDescription& child : module.children) sum += flops_of(child, paths);
  return sum;
}

// A pass of its own, because layers that are listened to keep to themselves (Linear::forward_hidden).
void describe_products(Module& model, const Tensor& batch, double tokens, ModelDescription& result) {
  FlopCounter counter;
  ForwardContext context;
  context.training = true;
  context.listener = &counter;
  trial_loss(model, batch, context);
  result.forward_flops_per_token = counter.total() / tokens;
  result.root = describe_module(model, "model", counter, tokens);
}

}  // namespace

ModelDescription describe_model(Module& model, const DescribeOptions& options) {
  const auto* const images = dynamic_cast<const ImageModel*>(&model);
  ModelDescription result;
  result.batch = options.batch;
  result.reads_images = images != nullptr;
  result.context = images != nullptr ? images->patches() : options.context;
  if (images != nullptr) result.published_flops = images->published_flops();
  const auto tokens = static_cast<double>(result.batch * result.context);
  const ShapeOnly shape_only;
  model.allocate_uninitialised();
  for (Parameter* const parameter : model.parameters()) {
    if (options.frozen.contains(parameter->name)) parameter->var = parameter->var.detached();
  }
  const Tensor batch = Tensor::empty({options.batch, options.context}, DType::i64);  // No part of what a step adds.
  describe_products(model, batch, tokens, result);
  result.precision = precision_used(options.precision);
  const PrecisionScope precision(options.precision);
  const std::int64_t before = memory_use().live;
  reset_peak_memory();
  {
    Tape tape;
    ForwardContext context;
    context.training = true;
    const CrossEntropyLoss loss = trial_loss(model, batch, context);
    result.memory.activations = memory_use().live - before;
    tape.backward(loss.loss);
  }
  result.recomputed_flops_per_token = flops_of(result.root, recomputed_layers(model));
  result.parameters = result.root.parameters;
  for (const StatePiece& piece : model.state_pieces()) {
    if (piece.grows()) {
      const auto& sizes = piece.shape.sizes();
      result.state_elements_per_token +=
          std::accumulate(sizes.begin() + 1, sizes.end(), std::int64_t{1}, std::multiplies<>());
    } else {
      result.state_elements += piece.shape.elements();
    }
  }
  if (images != nullptr) result.state_elements = result.state_elements_per_token = 0;  // They are read whole.
  result.state_elements += options.context * result.state_elements_per_token;
  const auto element = static_cast<std::int64_t>(bytes_per_element(DType::f32));
  result.memory.parameters = element * (result.parameters + options.elements_beside_model);
  const std::int64_t trained = options.trained_parameters < 0 ? result.parameters : options.trained_parameters;
  result.trained_parameters = trained;
  result.memory.gradients = element * trained;
  result.memory.optimizer = element * trained * options.optimizer_values;
  result.memory.peak = memory_use().peak - before;
  if (options.keeps_gradients)
    result.memory.peak = std::max(result.memory.peak, result.memory.gradients + result.memory.activations);
  for (Parameter* const parameter : model.parameters()) parameter->var = Var();
  return result;
}

}  // namespace rwkvlab
