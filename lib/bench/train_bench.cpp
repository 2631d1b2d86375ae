#include "bench/train_bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "bench/bench_training.h"
#include "bench/image_workload.h"
#include "bench/measure.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"

namespace rwkvlab {
namespace {

// What the models of the named workloads are made of; head sizes are 64 by default.
struct NamedModel {
  const char *name, *time_mix, *channel_mix;
  Node time_mix_parameters = Node(Node::Map{});
};

Node heads_of_64() {
  Node parameters(Node::Map{});
  parameters.insert("head_size", Node(std::int64_t{64}));
  return parameters;
}

const std::vector<NamedModel>& named_models() {
  static const std::vector<NamedModel> models = {{"rwkv4", "rwkv4", "rwkv4"},
                                                 {"rwkv5", "rwkv5", "rwkv5"},
                                                 {"rwkv6", "rwkv6", "rwkv6"},
                                                 {"rwkv7", "rwkv7", "rwkv7"},
                                                 {"transformer", "attention", "gelu_mlp", heads_of_64()}};
  return models;
}

TrainWorkload sized_workload(const std::string& name, const NamedModel& model, bool is_small) {
  TrainWorkload workload;
  workload.name = name;
  workload.model.layers = is_small ? 6 : 12;
  workload.model.width = is_small ? 256 : 768;
  workload.model.vocabulary_size = is_small ? 256 : 50277;
  workload.model.time_mix = make_choice("time_mix", model.time_mix, model.time_mix_parameters);
  workload.model.channel_mix = make_choice("channel_mix", model.channel_mix);
  workload.batch = is_small ? 8 : 4;
  workload.context = is_small ? 256 : 512;
  return workload;
}

TrainWorkload image_workload(const NamedImageModel& model) {
  TrainWorkload workload;
  workload.name = model.name;
  workload.image_model = model.model();
  workload.images = random_images(224, 224);
  workload.batch = 16;
  workload.context = 1;
  return workload;
}

// Replays products on operands of the right sizes. Products of one shape share their operands, so the caches are at
// least as warm as in a step, and bfloat16 operands are there already: the comparison favours the products.
class Products {
 public:
  explicit Products(std::vector<kernels::MatmulCall> calls) : calls_(std::move(calls)) {}

  void run() {
    for (const auto& call : calls_) {
      const auto a = call.batch * call.m * call.k, b = call.batch * call.k * call.n;
      float* const c = operand(2, call.batch * call.m * call.n).data<float>();
      if (call.bfloat16) {
        kernels::batched_matmul_as_onednn_would(call, rounded(0, a).bfloat16(), rounded(1, b).bfloat16(), c);
      } else {
        kernels::batched_matmul_as_onednn_would(call, operand(0, a).data<float>(), operand(1, b).data<float>(), c);
      }
    }
  }

  double flops() const {
    double total = 0;
    for (const auto& call : calls_) total += call.flops();
    return total;
  }

 private:
  const ProductOperand& rounded(int role, std::int64_t elements) {
    ProductOperand& copy = rounded_[{role, elements}];
    if (!copy.is_bfloat16()) copy = ProductOperand::rounded(operand(role, elements));
    return copy;
  }

  const Tensor& operand(int role, std::int64_t elements) {
    Tensor& tensor = operands_[{role, elements}];
    if (!tensor.defined()) {
      tensor = Tensor::empty({elements});
      const RandomStream random(2, "operands");
      for (std::int64_t i = 0; i < elements; ++i) tensor.data<float>()[i] = static_cast<float>(random.uniform(i) - 0.5);
    }
    return tensor;
  }

  std::vector<kernels::MatmulCall> calls_;
  std::map<std::pair<int, std::int64_t>, Tensor> operands_;
  std::map<std::pair<int, std::int64_t>, ProductOperand> rounded_;
};

}  // namespace

std::vector<std::string> language_workload_names() {
  std::vector<std::string> names = {"small", "169m"};
  for (const NamedModel& model : named_models()) {
    for (const char* const size : {"small", "169m"}) names.push_back(fmt::format("{}-{}", model.name, size));
  }
  return names;
}

void require_language_model(const TrainWorkload& workload, const char* bench) {
  if (!workload.image_model) return;
  throw ConfigError(fmt::format(
      "'{}' is a model of images, which reads and generates no tokens: `bench {}` needs one that does, such as {}",
      workload.name, bench, fmt::join(language_workload_names(), ", ")));
}

std::vector<std::string> train_workload_names() {
  std::vector<std::string> names = language_workload_names();
  for (const NamedImageModel& model : named_image_models()) names.emplace_back(model.name);
  return names;
}

TrainWorkload train_workload(const std::string& name) {
  for (const NamedImageModel& model : named_image_models()) {
    if (name == model.name) return image_workload(model);
  }
  const std::string full = name == "small" || name == "169m" ? "rwkv4-" + name : name;
  for (const NamedModel& model : named_models()) {
    for (const bool is_small : {true, false}) {
      if (full == fmt::format("{}-{}", model.name, is_small ? "small" : "169m")) {
        return sized_workload(name, model, is_small);
      }
    }
  }
  throw ConfigError(fmt::format("unknown workload '{}'; there are {}, or name an experiment file that ends in .yaml",
                                name, fmt::join(train_workload_names(), ", ")));
}

TrainWorkload train_workload(const LoadedExperiment& loaded) {
  const Experiment& e = loaded.experiment;
  BuiltExperiment built = build_experiment(loaded);
  const auto* const model = dynamic_cast<const LanguageModel*>(built.model.get());
  TrainWorkload workload;
  workload.name = e.name;
  if (model == nullptr) {
    workload.image_model = e.model;
    workload.objective = e.train.objective;
    const ImageDataSet& images = image_data(*built.data);
    workload.images =
        std::shared_ptr<const ImageDataSet>(std::shared_ptr<const DataSet>(std::move(built.data)), &images);
    workload.batch = e.train.batch;
    workload.context = e.train.context;
    workload.precision = e.train.precision;
    return workload;
  }
  workload.model = model->params();
  workload.model.vocabulary_size = model->vocabulary();
  workload.batch = e.train.batch;
  workload.context = e.train.context;
  workload.precision = e.train.precision;
  const TokenDataSet& tokens = token_data(*built.data);
  workload.data = std::shared_ptr<const TokenDataSet>(std::shared_ptr<const DataSet>(std::move(built.data)), &tokens);
  // L2Wrap decides whether the head sees all tokens.
  const Node* const l2wrap = loaded.tree.find_path("train.objective.l2wrap");
  if (l2wrap != nullptr) workload.l2wrap = l2wrap->number();
  return workload;
}

TrainBenchReport bench_train(const TrainWorkload& workload, const TrainBenchOptions& options,
                             const TrainWorkload* against) {
  TrainBenchReport report;
  report.workload = workload.name;
  report.threads = kernels::threads();
  report.precision = precision_used(workload.precision);

  reset_peak_memory();
  BenchTraining training(workload);
  for (int i = 0; i < 3; ++i) training.step();
  report.peak_resident = peak_resident_bytes();
  report.peak_tensors = static_cast<double>(memory_use().peak);
  report.tokens = training.tokens();

  Products products(training.products());
  report.product_flops = products.flops();
  products.run();
  Products inference_products(training.inference_products());
  inference_products.run();
  std::vector<Candidate> candidates = {{"step", [&] { training.step(); }},
                                       {"products", [&] { products.run(); }},
                                       {"forward", [&] { training.forward(); }},
                                       {"forward_backward", [&] { training.forward_backward(); }},
                                       {"data", [&] { training.make_batch(); }},
                                       {"inference", [&] { training.infer(); }},
                                       {"inference_products", [&] { inference_products.run(); }}};
  const LimitProbe probe;
  const std::size_t first_limit = candidates.size();
  for (Candidate& candidate : probe.candidates()) candidates.push_back(std::move(candidate));
  std::optional<BenchTraining> other;
  if (against != nullptr) {
    report.against = against->name;
    other.emplace(*against);
    other->step();
    candidates.push_back({"against", [&] { other->step(); }});
  }
  const auto timings = measure(candidates, options.repetitions, options.seconds);
  report.step = timings[0].minimum;
  report.products = timings[1].minimum;
  report.forward = timings[2].minimum;
  report.forward_backward = timings[3].minimum;
  report.data = timings[4].minimum;
  report.inference = timings[5].minimum;
  report.inference_products = timings[6].minimum;
  if (against != nullptr) report.against_step = timings.back().minimum;

  Profiler profiler;
  for (int i = 0; i < options.profiled_steps; ++i) training.step();
  profiler.stop();
  report.breakdown = {summarise(profiler), LimitProbe::limits(timings, first_limit), chrome_trace(profiler)};
  if (report.precision == float32_precision) {  // Else there are products of both kinds.
    report.breakdown.limits.reached(report.product_flops, false, report.products);
  }
  return report;
}

DataTiming time_data(const TrainWorkload& workload, const TrainBenchOptions& options) {
  BenchTraining training(workload);
  training.step();
  DataTiming result;
  result.tokens = training.tokens();
  const auto timings = measure({{"batch", [&] { training.make_batch(); }}, {"step", [&] { training.step(); }}},
                               options.repetitions, options.seconds);
  result.batch = timings[0].minimum;
  result.step = std::max(timings[1].minimum - timings[0].minimum, 0.0);
  return result;
}

std::string text(const TrainBenchReport& r, const BreakdownView& view) {
  const auto line = [](const char* what, double seconds, const std::string& note) {
    return fmt::format("  {:<28}{:>10.1f} ms   {}\n", what, seconds * 1e3, note);
  };
  const double rate = r.product_flops / r.products * 1e-9;
  return fmt::format("workload {}, {} thread{}, {}\n", r.workload, r.threads, r.threads == 1 ? "" : "s", r.precision) +
         line("training step", r.step, fmt::format("{:.0f} tokens/s", r.tokens / r.step)) +
         line("  making the batch", r.data, fmt::format("{:.1f} % of the step", 100 * r.data / r.step)) +
         line("  forward", r.forward - r.data, "") + line("  backward", r.forward_backward - r.forward, "") +
         line("  clipping and AdamW", std::max(0.0, r.step - r.forward_backward), "") +
         line("its matrix products alone", r.products,
              fmt::format("{:.1f} GFLOP, {:.0f} GFLOP/s", r.product_flops * 1e-9, rate)) +
         fmt::format("  step / matrix products      {:>10.2f}\n", r.ratio()) +
         line("forward without a tape", r.inference,
              fmt::format("{:.2f} times its matrix products alone", r.inference_ratio())) +
         (r.against.empty() ? ""
                            : line(("step of " + r.against).c_str(), r.against_step,
                                   fmt::format("{:.2f} times as long is the step above", r.against_ratio()))) +
         fmt::format("  peak resident memory        {:>10.0f} MB   {:.0f} MB of it in tensors\n",
                     r.peak_resident * 1e-6, r.peak_tensors * 1e-6) +
         text(r.breakdown, view);
}

nlohmann::json json(const TrainBenchReport& r, const BreakdownView& view) {
  nlohmann::json result = {{"workload", r.workload},
                           {"threads", r.threads},
                           {"precision", r.precision},
                           {"step_seconds", r.step},
                           {"data_seconds", r.data},
                           {"forward_seconds", r.forward},
                           {"forward_backward_seconds", r.forward_backward},
                           {"product_seconds", r.products},
                           {"product_flops", r.product_flops},
                           {"step_to_products", r.ratio()},
                           {"inference_seconds", r.inference},
                           {"inference_to_products", r.inference_ratio()},
                           {"tokens_per_second", r.tokens / r.step},
                           {"peak_resident_bytes", r.peak_resident},
                           {"peak_tensor_bytes", r.peak_tensors},
                           {"breakdown", json(r.breakdown, view)}};
  if (!r.against.empty()) {
    result["against"] = r.against;
    result["against_step_seconds"] = r.against_step;
    result["step_to_against"] = r.against_ratio();
  }
  return result;
}

}  // namespace rwkvlab
