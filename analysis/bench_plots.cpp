#include "analysis/bench_plots.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"

namespace rwkvlab {
namespace {

using Json = nlohmann::json;

/// A number of every point of a report, and how to show it.
struct Quantity {
  std::string name, field, title;
  double factor = 1;  ///< from the file's unit to that of the title
  bool logarithmic_x = true, logarithmic_y = true;
  std::string option = {};  ///< of the benchmark, without which it does not measure this
};

/// One sort of benchmark.
struct Bench {
  std::string command, points, x, x_title;
  double first_x = 0;          ///< added to x
  bool has_tic_per_x = false;  ///< few places, and not decades
  std::vector<Quantity> quantities;
};

const Bench& generation_bench() {
  static const Bench bench = {
      "generate",
      "positions",
      "position",
      "position of the token",
      1,  // The token behind none is the first.
      false,
      {{"time", "token_seconds", "time of a token (ms)", 1e3},
       {"state", "state_bytes", "state (MB)", 1e-6},
       {"memory", "peak_tensor_bytes", "memory (MB)", 1e-6},
       {"cumulative", "cumulative_seconds", "time of all tokens (s)", 1, false, false, "--cumulative"}}};
  return bench;
}

const Bench& context_bench() {
  static const Bench bench = {"context",
                              "contexts",
                              "context",
                              "context (tokens)",
                              0,
                              true,
                              {{"time", "step_seconds", "time of a step (s)", 1, true, false},
                               {"memory", "peak_tensor_bytes", "memory (MB)", 1e-6, true, false},
                               {"throughput", "tokens_per_second", "tokens per second", 1, true, false}}};
  return bench;
}

const Bench& resolution_bench() {
  static const Bench bench = {
      "resolution",
      "sides",
      "side",
      "side of the image (pixels)",
      0,
      true,
      {{"time", "forward_seconds", "time of a forward pass (s)"},
       {"memory", "forward_peak_tensor_bytes", "memory (MB)", 1e-6},
       {"training_time", "training_seconds", "time of a forward and backward pass (s)", 1, true, true, "--training"},
       {"training_memory", "training_peak_tensor_bytes", "memory (MB)", 1e-6, true, true, "--training"}}};
  return bench;
}

std::vector<std::string> names_of(const Bench& bench) {
  std::vector<std::string> names;
  for (const Quantity& quantity : bench.quantities) names.push_back(quantity.name);
  return names;
}

const Quantity& quantity_of(const Bench& bench, const std::string& name) {
  if (name.empty()) return bench.quantities.front();
  for (const Quantity& quantity : bench.quantities) {
    if (quantity.name == name) return quantity;
  }
  throw ConfigError(fmt::format("'{}' is nothing that `rwkvlab bench {}` measures; expected one of {}", name,
                                bench.command, fmt::join(names_of(bench), ", ")));
}

std::vector<Json> read_reports(const std::vector<std::filesystem::path>& files, const Bench& bench) {
  if (files.empty()) throw ConfigError(fmt::format("expected a file of `rwkvlab bench {} -o FILE`", bench.command));
  std::vector<Json> reports;
  for (const std::filesystem::path& file : files) {
    const Json all = Json::parse(read_text(file), nullptr, false);
    const auto is_report = [&](const Json& report) {
      return report.is_object() && report.contains("workload") && report["workload"].is_string() &&
             report.contains(bench.points) && report[bench.points].is_array() && !report[bench.points].empty();
    };
    if (!all.is_array() || all.empty() || !std::all_of(all.begin(), all.end(), is_report)) {
      throw DataError(
          fmt::format("'{}' is not what `rwkvlab bench {} -o FILE` writes: expected a list of reports with {}",
                      file.string(), bench.command, bench.points));
    }
    reports.insert(reports.end(), all.begin(), all.end());
  }
  return reports;
}

double number_at(const Json& report, const Json& point, const std::string& field, const std::string& option,
                 const Bench& bench) {
  if (point.is_object() && point.contains(field) && point[field].is_number()) return point[field].get<double>();
  throw DataError(fmt::format("the report of {} has no {}{}", report["workload"].get<std::string>(), field,
                              option.empty()
                                  ? fmt::format(" in one of its {}", bench.points)
                                  : fmt::format("; measure with `rwkvlab bench {} {}`", bench.command, option)));
}

/// What tells the reports apart besides their workloads.
std::string label_of(const Json& report, const std::vector<Json>& all) {
  std::string label = report["workload"].get<std::string>();
  const auto show = [&](const char* field, const auto& words) {
    std::set<Json> values;
    for (const Json& each : all) values.insert(each.value(field, Json()));
    if (values.size() > 1 && report.contains(field)) label += ", " + words(report[field]);
  };
  const auto as_text = [](const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); };
  show("format", as_text);
  show("precision", as_text);
  show("threads", [&](const Json& value) { return as_text(value) + (value == 1 ? " thread" : " threads"); });
  show("sequences", [&](const Json& value) { return as_text(value) + " at once"; });
  show("tokens", [&](const Json& value) { return as_text(value) + " tokens a step"; });
  return label;
}

// What all reports have in common, for the small print.
std::string common_text(const std::vector<Json>& reports) {
  std::set<std::string> threads;
  for (const Json& report : reports) threads.insert(report.value("threads", Json()).dump());
  std::string text = "Least of the repetitions of `rwkvlab bench`";
  if (threads.size() == 1) text += fmt::format(", {} thread{}", *threads.begin(), *threads.begin() == "1" ? "" : "s");
  return text + ".";
}

Figure bench_figure(const Bench& bench, const BenchPlotOptions& options) {
  const Quantity& quantity = quantity_of(bench, options.y);
  const std::vector<Json> reports = read_reports(options.files, bench);
  Figure figure;
  Panel panel;
  for (const Json& report : reports) {
    Curve curve;
    curve.label = label_of(report, reports);
    curve.color = static_cast<int>(panel.curves.size());
    curve.has_points = true;
    for (const Json& point : report[bench.points]) {
      curve.x.push_back(number_at(report, point, bench.x, {}, bench) + bench.first_x);
      curve.y.push_back(number_at(report, point, quantity.field, quantity.option, bench) * quantity.factor);
    }
    panel.curves.push_back(std::move(curve));
  }
  panel.x = {bench.x_title, quantity.logarithmic_x, std::nullopt};
  panel.y = {quantity.title, quantity.logarithmic_y, std::nullopt};
  std::set<double> places;
  double highest = 0;
  for (const Curve& curve : panel.curves) {
    places.insert(curve.x.begin(), curve.x.end());
    highest = std::max(highest, *std::max_element(curve.y.begin(), curve.y.end()));
  }
  if (bench.has_tic_per_x) {
    for (const double place : places) panel.x.tics.emplace_back(place, fmt::format("{:g}", place));
  }
  // From 0 on, so that heights compare.
  if (!quantity.logarithmic_y && highest > 0) panel.y.range = std::pair{0.0, 1.05 * highest};
  figure.title = options.title;
  figure.legend = Legend::right;
  figure.width_cm = 16;
  figure.caption = quantity.name == "cumulative" ? "Tokens generated one by one, timed once." : common_text(reports);
  if (quantity.name == "memory" || quantity.name == "training_memory")
    figure.caption = "The most that tensors held, weights included.";
  if (quantity.name == "state") figure.caption = "What is carried from token to token.";
  figure.panels.push_back(std::move(panel));
  return figure;
}

}  // namespace

std::vector<std::string> generation_quantities() { return names_of(generation_bench()); }
std::vector<std::string> context_quantities() { return names_of(context_bench()); }
std::vector<std::string> resolution_quantities() { return names_of(resolution_bench()); }

Figure generation_figure(const BenchPlotOptions& options) { return bench_figure(generation_bench(), options); }
Figure context_figure(const BenchPlotOptions& options) { return bench_figure(context_bench(), options); }
Figure resolution_figure(const BenchPlotOptions& options) { return bench_figure(resolution_bench(), options); }

FigureFiles plot_generation(const BenchPlotOptions& options) {
  return draw_figure(generation_figure(options), options.output);
}
FigureFiles plot_context(const BenchPlotOptions& options) {
  return draw_figure(context_figure(options), options.output);
}
FigureFiles plot_resolution(const BenchPlotOptions& options) {
  return draw_figure(resolution_figure(options), options.output);
}

}  // namespace rwkvlab
