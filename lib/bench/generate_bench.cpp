#include "bench/generate_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/random.h"
#include "bench/measure.h"
#include "kernels/parallel.h"
#include "kernels/row_product.h"
#include "kernels/spinning_team.h"
#include "models/generator.h"

namespace rwkvlab {
namespace {

constexpr const char* world_model = "rwkv7-0.1b";

std::vector<std::int64_t> random_tokens(std::int64_t count, std::int64_t vocabulary) {
  const RandomStream random(1, "tokens");
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<std::int64_t>(random.below(i, static_cast<std::uint64_t>(vocabulary)));
  }
  return tokens;
}

// Small numbers: official initial values take minutes to compute, and no time depends on them.
void fill_parameters(Module& model) {
  model.allocate_uninitialised();
  std::uint64_t bits = 1;
  for (const Parameter* const parameter : model.parameters()) {
    for (float& value : parameter->var.value().span<float>()) {
      bits = bits * 6364136223846793005U + 1442695040888963407U;
      value = static_cast<float>(bits >> 40) * 0x1p-28F - 0x1p-5F;
    }
  }
}

double state_bytes(const GenerationState& state) {
  double bytes = 0;
  for (const auto& [name, value] : state.state.pieces()) bytes += static_cast<double>(value.value().bytes());
  return bytes;
}

// With the room that a cache has to grow.
double held_bytes(const GenerationState& state) {
  if (!state.logits.defined()) return 0;
  double numbers = static_cast<double>(state.logits.room());
  for (const auto& [name, value] : state.state.pieces()) numbers += static_cast<double>(value.value().room());
  return numbers * sizeof(float);
}

// A generator that goes on to later and later positions and steps again from those where it has been. The cache of a
// single sequence grows in place: a step behind a stop starts from the memory of the one before, made shorter.
class Walk {
 public:
  Walk(const LanguageModel& model, const StoredWeights& stored, std::int64_t sequences,
       std::span<const std::int64_t> next)
      : model_(&model), stored_(&stored), next_(next), generator_(model, &stored, sequences) {}

  const Generator& generator() const { return generator_; }

  /// Reads the tokens and stays there: one by one, as the next one of all sequences, or at once. Returns the seconds.
  double go_on(std::span<const std::int64_t> tokens, bool one_by_one) {
    const auto start = std::chrono::steady_clock::now();
    if (one_by_one) {
      for (const std::int64_t token : tokens) generator_.step(std::vector<std::int64_t>(next_.size(), token));
    } else {
      generator_.read(tokens);
    }
    stops_.push_back(generator_.state());
    positions_.push_back(generator_.state().tokens);
    if (tokens.empty()) return 0;
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  /// One token behind the tokens of a stop. Where the state has one size, no step depends on how many came before, and
  /// going back to the same stop again and again would only take time.
  void step_at(std::size_t stop) {
    if (grows_ || at_ != stop) go_to(stop);
    generator_.step(next_);
  }

  /// The most bytes that tensors hold during such a token, without what only the other stops keep.
  double peak_at(std::size_t stop) {
    go_to(stop);
    reset_peak_memory();
    generator_.step(next_);
    double others = 0;
    for (std::size_t i = 0; i < stops_.size(); ++i) others += i != stop ? held_bytes(stops_[i]) : 0.0;
    return static_cast<double>(memory_use().peak) - others;
  }

 private:
  void go_to(std::size_t stop) {
    const bool moves = grows_ && next_.size() == 1;
    if (moves && at_) leave();
    if (positions_[stop] == 0) {
      generator_ = Generator(*model_, stored_, static_cast<std::int64_t>(next_.size()));
    } else {
      generator_.set_state(moves ? std::exchange(stops_[stop], {}) : stops_[stop]);
    }
    at_ = stop;
  }

  // Puts the state back to the stop that it came from, with as many tokens as it had there.
  void leave() {
    GenerationState state = generator_.release_state();
    const std::int64_t tokens = positions_[*at_];
    if (tokens == 0) return;
    for (const StatePiece& piece : model_->state_pieces()) {
      if (!piece.grows()) continue;
      const Tensor& longer = state.state.find(piece.name)->value();
      state.state.set(piece.name, Var(longer.stretched({1, tokens, longer.shape()[2]})));
    }
    stops_[*at_] = std::move(state);
  }

  const LanguageModel* model_;
  const StoredWeights* stored_;
  std::span<const std::int64_t> next_;
  Generator generator_;
  std::vector<GenerationState> stops_;
  std::vector<std::int64_t> positions_;  // tokens before each stop
  std::optional<std::size_t> at_;
  bool grows_ = !Generator::mixes_lengths(*model_);
};

}  // namespace

TrainWorkload generate_workload(const std::string& name) {
  if (name != world_model) return train_workload(name);
  TrainWorkload workload = train_workload("rwkv7-169m");
  workload.name = name;
  workload.model.vocabulary_size = 65536;
  Node parameters(Node::Map{});
  parameters.insert("rank_rule", Node("first"));
  workload.model.time_mix = make_choice("time_mix", "rwkv7", parameters);
  return workload;
}

std::vector<std::string> generate_workload_names() {
  std::vector<std::string> names = language_workload_names();
  names.emplace_back(world_model);
  return names;
}

GenerateBenchReport bench_generate(const TrainWorkload& workload, const GenerateBenchOptions& options) {
  require_language_model(workload, "generate");
  GenerateBenchReport report;
  report.workload = workload.name;
  report.format = kernels::name(options.format);
  report.threads = kernels::threads();
  report.sequences = options.sequences;

  const auto model = make_language_model(workload.model);
  fill_parameters(*model);
  const auto stored = store_weights(*model, options.format);
  report.weight_bytes = static_cast<double>(stored->bytes_read());

  std::vector<std::int64_t> positions = options.positions;
  if (positions.empty()) positions = {16};
  std::sort(positions.begin(), positions.end());
  const std::vector<std::int64_t> tokens =
      random_tokens(std::max<std::int64_t>(positions.back(), 1) + options.sequences, model->vocabulary());
  const std::span<const std::int64_t> next = std::span(tokens).last(static_cast<std::size_t>(options.sequences));
  const std::int64_t read_bytes = stored->bytes_read() / 512 * 512, held = memory_use().live;
  const std::shared_ptr<Buffer> to_read = Buffer::allocate(static_cast<std::size_t>(read_bytes));
  std::fill_n(to_read->data(), read_bytes, std::byte{1});
  const std::int64_t to_read_bytes = memory_use().live - held;  // No part of generation.
  const kernels::SpinningTeam team;
  std::uint64_t sink = 0;
  const Candidate reading = {"read", [&] { sink ^= kernels::read_stream(to_read->data(), read_bytes); }};
  Walk walk(*model, *stored, options.sequences, next);
  std::int64_t read = 0;
  double so_far = 0;
  for (const std::int64_t position : positions) {
    so_far +=
        walk.go_on(std::span(tokens).subspan(static_cast<std::size_t>(read), static_cast<std::size_t>(position - read)),
                   options.cumulative);
    read = position;
    report.positions.push_back({position});
    if (options.cumulative) report.positions.back().cumulative = so_far;
  }
  std::vector<Candidate> candidates = {reading};
  for (std::size_t i = 0; i < positions.size(); ++i) {
    report.positions[i].peak_tensors = walk.peak_at(i) - static_cast<double>(to_read_bytes);
    report.positions[i].state_bytes = state_bytes(walk.generator().state());
    candidates.push_back({std::to_string(i), [&walk, i] { walk.step_at(i); }});
  }
  const std::vector<Timing> timings = measure(candidates, options.repetitions, options.seconds);
  report.read = timings[0].minimum;
  for (std::size_t i = 0; i < positions.size(); ++i) report.positions[i].token = timings[i + 1].minimum;
  report.peak_resident = peak_resident_bytes();
  return report;
}

std::string text(const std::vector<GenerateBenchReport>& reports) {
  const bool is_timed = std::any_of(reports.begin(), reports.end(), [](const GenerateBenchReport& report) {
    return !report.positions.empty() && report.positions.front().cumulative;
  });
  std::string out = fmt::format("{:<17} {:<8} {:>7} {:>9} {:>8} {:>8} {:>8} {:>6} {:>10} {:>6} {:>8} {:>7}{}\n",
                                "workload", "format", "threads", "sequences", "position", "tokens/s", "MB/token",
                                "GB/s", "reads GB/s", "share", "state MB", "peak MB", is_timed ? "  s so far" : "");
  for (const GenerateBenchReport& report : reports) {
    for (const GenerateBenchPosition& at : report.positions) {
      out += fmt::format(
          "{:<17} {:<8} {:>7} {:>9} {:>8} {:>8.1f} {:>8.1f} {:>6.1f} {:>10.1f} {:>5.0f}% {:>8.2f} {:>7.0f}{}\n",
          report.workload, report.format, report.threads, report.sequences, at.position,
          static_cast<double>(report.sequences) / at.token, report.weight_bytes * 1e-6,
          report.weight_bytes / at.token * 1e-9, report.bandwidth() * 1e-9, 100 * report.share(at),
          at.state_bytes * 1e-6, at.peak_tensors * 1e-6, at.cumulative ? fmt::format(" {:>9.2f}", *at.cumulative) : "");
    }
  }
  out += fmt::format("peak resident memory {:.0f} MB\n", reports.empty() ? 0 : reports.back().peak_resident * 1e-6);
  for (const GenerateBenchReport& report : reports) {
    if (report.positions.size() < 2) continue;
    const GenerateBenchPosition &first = report.positions.front(), &last = report.positions.back();
    out += fmt::format(
        "{}, {}, {} thread{}: a token behind {} others takes {:.2f} times as long as behind {}, with {:.1f} times the "
        "state\n",
        report.workload, report.format, report.threads, report.threads == 1 ? "" : "s", last.position,
        report.slowdown(last), first.position, last.state_bytes / first.state_bytes);
  }
  return out;
}

nlohmann::json json(const std::vector<GenerateBenchReport>& reports) {
  nlohmann::json all = nlohmann::json::array();
  for (const GenerateBenchReport& report : reports) {
    nlohmann::json positions = nlohmann::json::array();
    for (const GenerateBenchPosition& at : report.positions) {
      positions.push_back({{"position", at.position},
                           {"token_seconds", at.token},
                           {"tokens_per_second", static_cast<double>(report.sequences) / at.token},
                           {"bytes_per_second", report.weight_bytes / at.token},
                           {"share_of_read_bandwidth", report.share(at)},
                           {"state_bytes", at.state_bytes},
                           {"peak_tensor_bytes", at.peak_tensors}});
      if (at.cumulative) positions.back()["cumulative_seconds"] = *at.cumulative;
    }
    all.push_back({{"workload", report.workload},
                   {"format", report.format},
                   {"threads", report.threads},
                   {"sequences", report.sequences},
                   {"weight_bytes_per_token", report.weight_bytes},
                   {"read_bandwidth_bytes_per_second", report.bandwidth()},
                   {"positions", positions},
                   {"peak_resident_bytes", report.peak_resident}});
  }
  return all;
}

}  // namespace rwkvlab
