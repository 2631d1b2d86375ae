// What a model is made of and what it costs, found without allocating a single weight.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"
#include "tensor/shape.h"

namespace rwkvlab {

/// One module of the tree.
struct ModuleDescription {
  std::string name;     ///< its name in its parent, "att"; the kind of model for the root
  std::string path;     ///< full name, "blocks.0.att"; empty for the root
  std::string summary;  ///< "768 -> 3072"
  std::vector<std::pair<std::string, Shape>> own_parameters;  ///< short name and shape
  std::int64_t parameters = 0;                                ///< elements, here and below
  double flops_per_token = 0;                                 ///< of forward, here and below
  std::vector<ModuleDescription> children;
};

/// Bytes of tensor memory that one training step needs.
struct TrainingMemory {
  std::int64_t parameters = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;    ///< moments kept by the optimiser
  std::int64_t activations = 0;  ///< what forward leaves for backward
  std::int64_t peak = 0;         ///< most of activations and gradients together: one is freed while the other grows
  std::int64_t total() const { return parameters + optimizer + peak; }
};

/// A model, its size and its cost. FLOPs are counted as the papers do: matrix products alone, a multiplication and an
/// addition as one each, the embedding look-up not at all; training costs three times the forward pass. For RWKV-4 this
/// is 2 (V D + 13 D² L) per token (arXiv:2305.13048).
struct ModelDescription {
  ModuleDescription root;
  std::int64_t parameters = 0;
  std::int64_t trained_parameters = 0;  ///< that the optimiser changes; adapters are not among `parameters`
  double forward_flops_per_token = 0;
  double recomputed_flops_per_token = 0;  ///< of layers that the backward pass runs forward again
  double training_flops_per_token() const { return 3 * forward_flops_per_token + recomputed_flops_per_token; }
  std::int64_t state_elements = 0;            ///< per sequence, of `context` tokens where the state grows; float32 each
  std::int64_t state_elements_per_token = 0;  ///< how much it grows with every token: the cache of attention
  std::int64_t batch = 0;                     ///< sequences, or images, of one forward pass
  std::int64_t context = 0;                   ///< tokens per sequence, or patches per image
  bool reads_images = false;
  double published_flops = 0;  ///< ImageModel::published_flops, per image; 0: the paper does not count this model
  double forward_flops_per_image() const { return forward_flops_per_token * static_cast<double>(context); }
  std::string precision =
      "float32";  ///< of the training that `memory` is of: train.precision, as this processor has it
  TrainingMemory memory;
};

/// Sizes that memory depends on besides the model.
struct DescribeOptions {
  std::int64_t batch = 1;
  std::int64_t context = 1024;
  bool keeps_gradients = false;            ///< gradients of earlier micro-batches are there during forward
  std::int64_t optimizer_values = 2;       ///< kept per trained parameter: AdamW keeps two moments
  std::int64_t trained_parameters = -1;    ///< elements that are not frozen; -1: all
  std::set<std::string> frozen = {};       ///< parameters whose gradient is not computed
  std::int64_t elements_beside_model = 0;  ///< adapters and the weights that they are added to
  std::string precision = "float32";       ///< train.precision: rounded operands take memory of their own
};

/// Describes a rooted language model that has no memory yet. Runs one forward and backward pass in shape-only mode, so
/// a model of any size takes milliseconds. Models of images take images of their own size; their tokens are patches.
ModelDescription describe_model(Module& model, const DescribeOptions& options);

/// The tree with shapes and parameter counts, then cost and memory. Equal neighbours are shown once ("blocks.1 to
/// blocks.11, each").
std::string describe_text(const ModelDescription& description);

/// The same as JSON, all modules in full; numbers in bytes and FLOPs.
nlohmann::ordered_json describe_json(const ModelDescription& description);

/// "169,342,464".
std::string grouped(std::int64_t value);
/// "1.23 MFLOP".
std::string flops_text(double flops);
/// "1.23 GiB".
std::string bytes_text(std::int64_t bytes);

}  // namespace rwkvlab
