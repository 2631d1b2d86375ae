// A training step against its own matrix products.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/breakdown.h"
#include "data/image_data_set.h"
#include "models/language_model.h"
#include "run/experiment.h"

namespace rwkvlab {

/// What is trained: a model and the size of a batch.
struct TrainWorkload {
  std::string name;
  LanguageModelParams model;
  int batch = 8;
  int context = 256;
  double l2wrap = 1e-4;
  std::string precision = float32_precision;  ///< train.precision
  std::shared_ptr<const TokenDataSet> data;   ///< where batches come from; null: one batch of random tokens
  Choice image_model;                         ///< a model of images in place of `model`; then there are `images`
  Choice objective;                           ///< of it; left out: to name what an image shows
  std::shared_ptr<const ImageDataSet> images = {};
};

/// "<model>-small": 6 layers, width 256, context 256, batch 8, 256 symbols. "<model>-169m": 12 layers, width 768,
/// context 512, batch 4, 50277 symbols. The models are rwkv4, rwkv5, rwkv6, rwkv7 and transformer, heads have 64
/// channels; "small" and "169m" are RWKV-4. "vrwkv-tiny", "vrwkv6-tiny" and "vit-tiny" name random images of 224 x 224
/// pixels, batch 16. Throws ConfigError for another name.
TrainWorkload train_workload(const std::string& name);
std::vector<std::string> train_workload_names();
/// Those of language models.
std::vector<std::string> language_workload_names();
/// Throws ConfigError when the workload is a model of images; `bench` names the benchmark that needs tokens.
void require_language_model(const TrainWorkload& workload, const char* bench);
/// What an experiment file trains, without its accumulation. Throws ConfigError or DataError.
TrainWorkload train_workload(const LoadedExperiment& loaded);

struct TrainBenchOptions {
  int repetitions = 5;     ///< of each measurement
  double seconds = 1.0;    ///< that one repetition lasts at least
  int profiled_steps = 3;  ///< after the measurements, for the breakdown
};

/// Times in seconds per step, each the least of the repetitions, which other programs disturb least; memory in bytes.
struct TrainBenchReport {
  std::string workload;
  int threads = 0;
  std::string precision;  ///< that was used (train/precision.h), in the step and in its products alone
  double step = 0;        ///< forward, backward, clipping and AdamW
  double products =
      0;  ///< the step's matrix products alone: oneDNN on its own threads, the same shapes and number formats
  double forward = 0;  ///< forward pass and loss, recorded
  double forward_backward = 0;
  double inference = 0;           ///< forward pass and loss without anything kept for a backward pass
  double inference_products = 0;  ///< its matrix products alone
  double product_flops = 0;       ///< of one step
  double data = 0;                ///< of the step: making the batch
  double tokens = 0;              ///< of one step; of images, patches
  double peak_resident = 0;       ///< of the process, after training steps and before the products' own operands exist
  double peak_tensors = 0;        ///< of that, held by tensors
  Breakdown breakdown;            ///< of further steps

  std::string against;      ///< another workload that was measured in turns with this one; empty: none
  double against_step = 0;  ///< its step

  double ratio() const { return step / products; }
  double inference_ratio() const { return inference / inference_products; }
  double against_ratio() const { return step / against_step; }
};

/// Measures step and products, and the step of `against` if there is one, in turns within one run, with the threads
/// that kernels are set to.
TrainBenchReport bench_train(const TrainWorkload& workload, const TrainBenchOptions& options,
                             const TrainWorkload* against = nullptr);

std::string text(const TrainBenchReport& report, const BreakdownView& view = {});
nlohmann::json json(const TrainBenchReport& report, const BreakdownView& view = {});

/// What making batches costs beside training on them, in seconds; the least of the repetitions.
struct DataTiming {
  double tokens = 0;  ///< of one batch
  double batch = 0;   ///< making it
  double step = 0;    ///< training on it, without
};

/// `workload.data` is not null.
DataTiming time_data(const TrainWorkload& workload, const TrainBenchOptions& options);

}  // namespace rwkvlab
