#include "bench/breakdown.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace rwkvlab {
namespace {

constexpr std::size_t top_rows = 10;

double limit_of(const Breakdown& breakdown, const ProfileRow& row) {
  return breakdown.limits.seconds(row.flops, row.bfloat16_flops, row.bytes);
}

ProfileRow sum(const std::vector<ProfileRow>& rows) {
  ProfileRow total;
  for (const ProfileRow& row : rows) total.add(row);
  return total;
}

double per_step(const Breakdown& breakdown, double value) {
  return value / static_cast<double>(std::max<std::int64_t>(breakdown.summary.steps, 1));
}

std::string number(double value, const char* format) {
  return value > 0 ? fmt::format(fmt::runtime(format), value) : "-";
}

// Calls may be odd in number of steps: one decimal then.
std::string count(double calls) { return fmt::format("{:.{}f}", calls, calls == std::floor(calls) ? 0 : 1); }

std::string line(const Breakdown& b, const ProfileRow& row, const std::string& name) {
  const auto milliseconds = [&](double seconds) { return number(1e3 * per_step(b, seconds), "{:.2f}"); };
  const double seconds = row.seconds();
  return fmt::format("  {:<26}{:>7}{:>10}{:>10}{:>10}{:>10}{:>8.1f} %{:>9}{:>8}{:>9}\n", name,
                     count(per_step(b, static_cast<double>(row.calls))), milliseconds(row.forward),
                     milliseconds(row.backward), milliseconds(row.recompute), milliseconds(seconds),
                     100 * seconds / b.summary.step_seconds, number(1e-9 * row.flops / seconds, "{:.1f}"),
                     number(1e-9 * row.bytes / seconds, "{:.1f}"),
                     number(100 * limit_of(b, row) / seconds, "{:.0f} %"));
}

std::string head(const char* what) {
  return fmt::format("  {:<26}{:>7}{:>10}{:>10}{:>10}{:>10}{:>10}{:>9}{:>8}{:>9}\n", what, "calls", "forward",
                     "backward", "again", "ms", "of step", "GFLOP/s", "GB/s", "of limit");
}

std::string operations_text(const Breakdown& b, std::size_t rows) {
  const std::vector<ProfileRow>& all = b.summary.operations;
  std::string text = head("operation");
  const std::size_t shown = std::min(rows, all.size());
  for (std::size_t i = 0; i < shown; ++i) text += line(b, all[i], all[i].name);
  if (shown < all.size())
    text += line(b, sum({all.begin() + static_cast<std::ptrdiff_t>(shown), all.end()}), "the others");
  return text;
}

// A module's children are indented below it.
std::string indented(const ProfileRow& row) {
  if (row.is_part) return row.name;
  if (row.name.empty()) return "the model";
  const std::size_t dots = static_cast<std::size_t>(std::count(row.name.begin(), row.name.end(), '.'));
  const std::size_t depth = row.name.starts_with("blocks.") ? dots : dots + 1;
  return std::string(2 * (depth > 0 ? depth - 1 : 0) + 1, ' ') + row.name;
}

std::string modules_text(const Breakdown& b, bool per_layer) {
  std::string text = head("module");
  for (const ProfileRow& row : module_tree(b.summary.modules, per_layer)) text += line(b, row, indented(row));
  return text;
}

nlohmann::json json_of(const Breakdown& b, const ProfileRow& row) {
  const double limit = limit_of(b, row);
  return {{"name", row.name},
          {"is_part", row.is_part},
          {"calls", per_step(b, static_cast<double>(row.calls))},
          {"seconds", per_step(b, row.seconds())},
          {"forward_seconds", per_step(b, row.forward)},
          {"backward_seconds", per_step(b, row.backward)},
          {"recompute_seconds", per_step(b, row.recompute)},
          {"other_seconds", per_step(b, row.other)},
          {"share_of_step", row.seconds() / b.summary.step_seconds},
          {"flops", per_step(b, row.flops)},
          {"bfloat16_flops", per_step(b, row.bfloat16_flops)},
          {"bytes", per_step(b, row.bytes)},
          {"limit_seconds", per_step(b, limit)},
          {"limit_share", row.seconds() > 0 ? limit / row.seconds() : 0.0}};
}

nlohmann::json json_of(const Breakdown& b, const std::vector<ProfileRow>& rows) {
  nlohmann::json result = nlohmann::json::array();
  for (const ProfileRow& row : rows) result.push_back(json_of(b, row));
  return result;
}

}  // namespace

double Breakdown::arithmetic_limit() const {
  const ProfileRow all = sum(summary.operations);
  return per_step(*this, limits.seconds(all.flops, all.bfloat16_flops, 0));
}

double Breakdown::memory_limit() const { return bytes() / limits.memory_rate; }

double Breakdown::limit() const {
  double seconds = 0;
  for (const ProfileRow& row : summary.operations) seconds += limit_of(*this, row);
  return per_step(*this, seconds);
}

double Breakdown::bytes() const { return per_step(*this, sum(summary.operations).bytes); }

std::string text(const Breakdown& b, const BreakdownView& view) {
  if (view.tables == "none" || b.summary.steps == 0) return "";
  std::string result = text(b.limits);
  result += fmt::format(
      "the profiled step ({} of them): {:.1f} ms; at the limits {:.1f} ms of arithmetic, {:.1f} ms of memory traffic "
      "({:.0f} MB), {:.1f} ms operation by operation\n",
      b.summary.steps, 1e3 * per_step(b, b.summary.step_seconds), 1e3 * b.arithmetic_limit(), 1e3 * b.memory_limit(),
      1e-6 * b.bytes(), 1e3 * b.limit());
  if (view.tables.empty()) result += operations_text(b, top_rows);
  if (view.tables == "operations" || view.tables == "both") result += operations_text(b, b.summary.operations.size());
  if (view.tables == "modules" || view.tables == "both") result += modules_text(b, view.per_layer);
  return result;
}

nlohmann::json json(const Breakdown& b, const BreakdownView& view) {
  return {{"steps", b.summary.steps},
          {"step_seconds", per_step(b, b.summary.step_seconds)},
          {"limits", json(b.limits)},
          {"arithmetic_limit_seconds", b.arithmetic_limit()},
          {"memory_limit_seconds", b.memory_limit()},
          {"limit_seconds", b.limit()},
          {"bytes", b.bytes()},
          {"operations", json_of(b, b.summary.operations)},
          {"modules", json_of(b, module_tree(b.summary.modules, view.per_layer))}};
}

}  // namespace rwkvlab
