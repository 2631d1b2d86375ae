#include "bench/generate_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

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
  std::vector<std::string> names = train_workload_names();
  names.emplace_back(world_model);
  return names;
}

GenerateBenchReport bench_generate(const TrainWorkload& workload, const GenerateBenchOptions& options) {
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
  const std::int64_t read_bytes = stored->bytes_read() / 512 * 512;
  const std::shared_ptr<Buffer> to_read = Buffer::allocate(static_cast<std::size_t>(read_bytes));
  std::fill_n(to_read->data(), read_bytes, std::byte{1});

  const kernels::SpinningTeam team;
  std::uint64_t sink = 0;
  const Candidate reading = {"read", [&] { sink ^= kernels::read_stream(to_read->data(), read_bytes); }};
  Generator generator(*model, stored.get(), options.sequences);
  std::int64_t read = 0;
  for (const std::int64_t position : positions) {
    generator.read(
        std::span(tokens).subspan(static_cast<std::size_t>(read), static_cast<std::size_t>(position - read)));
    read = position;
    const GenerationState before = generator.state();
    const auto go_back = [&] {
      if (before.logits.defined()) {
        generator.set_state(before);
      } else {
        generator = Generator(*model, stored.get(), options.sequences);
      }
    };
    // Where the state has one size, no step depends on how many came before, and going back would only take time.
    const bool grows = !Generator::mixes_lengths(*model);
    const Candidate step = {"token", [&] {
                              if (grows) go_back();
                              generator.step(next);
                            }};
    const std::vector<Timing> timings = measure({reading, step}, options.repetitions, options.seconds);
    report.read = report.read == 0 ? timings[0].minimum : std::min(report.read, timings[0].minimum);
    report.positions.push_back({position, timings[1].minimum, state_bytes(generator.state())});
    go_back();
  }
  report.peak_resident = peak_resident_bytes();
  return report;
}

std::string text(const std::vector<GenerateBenchReport>& reports) {
  std::string out = fmt::format("{:<16} {:<9} {:>7} {:>9} {:>9} {:>10} {:>9} {:>9} {:>10} {:>6} {:>10}\n", "workload",
                                "format", "threads", "sequences", "position", "tokens/s", "MB/token", "GB/s",
                                "reads GB/s", "share", "state MB");
  for (const GenerateBenchReport& report : reports) {
    for (const GenerateBenchPosition& at : report.positions) {
      out += fmt::format("{:<16} {:<9} {:>7} {:>9} {:>9} {:>10.1f} {:>9.1f} {:>9.1f} {:>10.1f} {:>5.0f}% {:>10.2f}\n",
                         report.workload, report.format, report.threads, report.sequences, at.position,
                         static_cast<double>(report.sequences) / at.token, report.weight_bytes * 1e-6,
                         report.weight_bytes / at.token * 1e-9, report.bandwidth() * 1e-9, 100 * report.share(at),
                         at.state_bytes * 1e-6);
    }
  }
  out += fmt::format("peak resident memory {:.0f} MB\n", reports.empty() ? 0 : reports.back().peak_resident * 1e-6);
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
                           {"state_bytes", at.state_bytes}});
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
