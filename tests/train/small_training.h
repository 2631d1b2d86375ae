// A small language model on generated tokens, for the tests of training.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "data/data_set.h"
#include "models/language_model.h"
#include "tests/temporary_folder.h"
#include "train/language_modelling.h"
#include "train/trainer.h"

namespace rwkvlab::test {

inline constexpr std::int64_t small_vocabulary = 11;

/// Token i of an endless text is drawn from (seed 5, i), biased towards the token before it so that there is something
/// to learn. Rows of a batch are separate streams that go on from batch to batch.
class GeneratedText final : public TokenDataSet {
 public:
  explicit GeneratedText(std::int64_t held_out = 60, bool is_sequential = true)
      : held_out_(held_out), is_sequential_(is_sequential), tokenizer_(Tokenizer::characters(symbols())) {}

  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::int64_t training_tokens() const override { return 1 << 20; }
  double bytes_per_token() const override { return 1; }
  std::string describe() const override { return "generated"; }

  Batch training_batch(std::int64_t step, std::int64_t rows, std::int64_t context) const override {
    Batch batch = windows(
        rows, context, [&](std::int64_t row) { return row * 4096 + step * context; }, 1 << 20);
    batch.carries_state = is_sequential_ && step > 0;
    return batch;
  }
  std::int64_t held_out_batches(std::int64_t rows, std::int64_t context, std::int64_t limit) const override {
    const std::int64_t all = (held_out_ - 1 + rows * context - 1) / (rows * context);
    return held_out_ < 2 ? 0 : limit > 0 ? std::min(all, limit) : all;
  }
  Batch held_out_batch(std::int64_t index, std::int64_t rows, std::int64_t context) const override {
    return windows(
        rows, context, [&](std::int64_t row) { return (index * rows + row) * context; }, held_out_);
  }

 private:
  static std::vector<char32_t> symbols() {
    std::vector<char32_t> all;
    for (std::int64_t i = 0; i < small_vocabulary; ++i) all.push_back(U'a' + static_cast<char32_t>(i));
    return all;
  }
  std::int64_t token(std::int64_t i) const {
    const auto key = static_cast<std::uint64_t>(i);
    return static_cast<std::int64_t>(random_.below(key, 3) + 3 * random_.below(key / 4 + 1000000, 3));
  }
  template <class Start>
  Batch windows(std::int64_t rows, std::int64_t context, Start start, std::int64_t end) const {
    Batch batch;
    batch.tokens = Tensor::empty({rows, context}, DType::i64);
    batch.targets = Tensor::empty({rows, context}, DType::i64);
    for (std::int64_t i = 0; i < rows * context; ++i) {
      const std::int64_t at = start(i / context) + i % context;
      batch.tokens.data<std::int64_t>()[i] = token(at);
      batch.targets.data<std::int64_t>()[i] = at + 1 < end ? token(at + 1) : no_target;
      batch.source_bytes += at + 1 < end ? 1 : 0;
    }
    return batch;
  }

  std::int64_t held_out_;
  bool is_sequential_;
  Tokenizer tokenizer_;
  RandomStream random_{5, "text"};
};

inline LanguageModelParams small_model_params() {
  LanguageModelParams params;
  params.layers = 2;
  params.width = 16;
  params.embedding_scale = 0.1;
  params.time_mix = make_choice("time_mix", "rwkv4");
  params.channel_mix = make_choice("channel_mix", "rwkv4");
  return params;
}

/// Allocated, with noise on every parameter: the official initial values have zero matrices, which hide mistakes.
inline std::unique_ptr<LanguageModel> small_model(const LanguageModelParams& params = small_model_params(),
                                                  DType type = DType::f32) {
  auto model = make_language_model(params, small_vocabulary);
  model->allocate(3, type);
  for (Parameter* const p : model->parameters()) {
    const RandomStream noise(4, p->name);
    for_real(type, [&]<class Real>(Real) {
      std::uint64_t i = 0;
      for (Real& value : p->var.value().span<Real>()) value += static_cast<Real>(0.1 * noise.normal(i++));
    });
  }
  return model;
}

inline TrainParams small_train_params() {
  TrainParams params;
  params.steps = 8;
  params.batch = 2;
  params.context = 12;
  params.learning_rate = 5e-3;
  params.checkpoint_every = 0;
  return params;
}

/// Notes what it is told, and sets the flag after a given step.
class Witness : public TrainingObserver {
 public:
  explicit Witness(std::int64_t stop_after = -1) : stop_after_(stop_after) {}

  void step_finished(const StepReport& report, const Module&) override {
    reports.push_back(report);
    system_calls.push_back(memory_use().system_calls);
    if (report.step == stop_after_) stop = true;
  }
  void evaluation_finished(std::int64_t step, const Evaluation& evaluation, double) override {
    evaluations.emplace_back(step, evaluation);
  }
  void checkpoint_written(std::int64_t step, const std::filesystem::path& path) override {
    checkpoints.emplace_back(step, path);
  }
  void diverged(std::int64_t step, const std::string&) override { diverged_at = step; }

  std::atomic<bool> stop{false};
  std::vector<StepReport> reports;
  std::vector<std::int64_t> system_calls;
  std::vector<std::pair<std::int64_t, Evaluation>> evaluations;
  std::vector<std::pair<std::int64_t, std::filesystem::path>> checkpoints;
  std::int64_t diverged_at = -1;

 private:
  std::int64_t stop_after_;
};

/// Everything a training needs, fresh.
struct SmallTraining {
  explicit SmallTraining(TrainParams train = small_train_params(), std::filesystem::path checkpoints = {},
                         LanguageModellingParams objective_params = {},
                         const LanguageModelParams& model_params = small_model_params(),
                         const EvaluationParams& evaluation = {})
      : params(std::move(train)),
        model(small_model(model_params)),
        objective(make_language_modelling(objective_params, {model.get(), &text, params.batch, params.context})),
        trainer(params, evaluation, {objective.get(), 7, std::move(checkpoints), {"steps: 8\n", "{}"}}) {}

  TrainParams params;
  GeneratedText text;
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Objective> objective;
  Trainer trainer;
};

/// All elements of all parameters.
inline std::vector<double> all_weights(const Module& model) {
  std::vector<double> all;
  for (const Parameter* const p : model.parameters()) {
    const std::vector<double> values = p->var.value().to_doubles();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace rwkvlab::test
