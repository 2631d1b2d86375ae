#include "analysis/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "analysis/table_size.h"
#include "base/error.h"
#include "base/nearest.h"
#include "config/diagnostics.h"

namespace rwkvlab {
namespace {

constexpr std::size_t most_runs_named = 8;

const std::vector<std::string> known_columns = {"parameters", "flops", "state", "steps", "runs", "seconds", "best_of"};

void require_word(const char* option, const std::string& word, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), word) != known.end()) return;
  throw ConfigError(
      fmt::format("{} {}{}; expected one of {}", option, quote(word), did_you_mean(word, known), join_names(known)));
}

void remove(std::vector<std::string>& names, const std::vector<std::string>& unwanted) {
  std::erase_if(names, [&](const std::string& name) {
    return std::find(unwanted.begin(), unwanted.end(), name) != unwanted.end();
  });
}

// The section of the sweep with the options over it. An axis that an option moves leaves its old place.
TableParams effective(const TableOptions& options, const TableParams& section) {
  TableParams params = section;
  if (options.rows) {
    params.rows = *options.rows;
    if (!options.columns) remove(params.columns, params.rows);
  }
  if (options.columns) {
    params.columns = *options.columns;
    if (!options.rows) remove(params.rows, params.columns);
  }
  if (options.metrics) params.metrics = *options.metrics;
  if (options.show) params.show = *options.show;
  if (options.value) params.value = *options.value;
  if (options.title) params.title = *options.title;
  if (options.digits) params.digits = *options.digits;
  for (const std::string& word : params.show) require_word("--show", word, known_columns);
  require_word("--value", params.value, {"last", "best", "first"});
  require_word("--best", options.best, {"auto", "min", "max", "none"});
  if (params.digits < 0 || params.digits > 12) {
    throw ConfigError(fmt::format("--digits {}: expected 0 (chosen from the deviations) to 12", params.digits));
  }
  for (const std::string& axis : params.columns) {
    if (std::find(params.rows.begin(), params.rows.end(), axis) != params.rows.end()) {
      throw ConfigError(fmt::format("The axis '{}' cannot make both rows and columns.", axis));
    }
  }
  return params;
}

Direction direction_for(const std::string& metric, const std::string& best) {
  if (best == "min") return Direction::lower;
  if (best == "max") return Direction::higher;
  return direction_of(metric);
}

// Which axes make rows and columns. Without a word about rows they are all that is left.
ShownAxes lay_out_axes(Table& table, const TableParams& params) {
  std::vector<std::string> first = params.rows;
  first.insert(first.end(), params.columns.begin(), params.columns.end());
  ShownAxes shown = choose_axes(table.results, first, params.rows.empty());
  table.column_axes = params.columns;
  table.row_axes = shown.axes;
  remove(table.row_axes, table.column_axes);
  shown.axes = table.row_axes;
  shown.axes.insert(shown.axes.end(), table.column_axes.begin(), table.column_axes.end());
  return shown;
}

std::string steps_text(const std::vector<const ComparedRun*>& runs) {
  std::vector<double> steps;
  for (const ComparedRun* const run : runs) {
    if (run->is_done()) steps.push_back(static_cast<double>(run->steps));
  }
  if (steps.empty()) return "";
  const MeanAndDeviation summary = mean_and_deviation(steps);
  return summary.deviation.value_or(0) > 0 ? fmt::format("{:.0f} ± {:.0f}", summary.mean, *summary.deviation)
                                           : fmt::format("{:.0f}", summary.mean);
}

// Tokens over speed: a run that was interrupted has no clock of its own.
std::optional<double> mean_seconds(const std::vector<const ComparedRun*>& runs) {
  std::vector<double> seconds;
  for (const ComparedRun* const run : runs) {
    const auto tokens = value_of(*run, "train/tokens_seen", {});
    if (tokens && run->tokens_per_second > 0) seconds.push_back(tokens->value / run->tokens_per_second);
  }
  return seconds.empty() ? std::nullopt : std::optional(mean_and_deviation(seconds).mean);
}

// Rows and columns in the order in which the sweep names their labels.
void lay_out_labels(Table& table, const std::vector<RunGroup>& groups) {
  const auto n = static_cast<std::ptrdiff_t>(table.row_axes.size());
  std::map<std::vector<std::size_t>, std::vector<std::string>> rows, columns;
  for (const RunGroup& group : groups) {
    rows[{group.order.begin(), group.order.begin() + n}] = {group.labels.begin(), group.labels.begin() + n};
    columns[{group.order.begin() + n, group.order.end()}] = {group.labels.begin() + n, group.labels.end()};
  }
  for (auto& [order, labels] : rows) table.rows.push_back(labels);
  for (auto& [order, labels] : columns) table.columns.push_back(labels);
}

void fill_cells(Table& table, const std::vector<RunGroup>& groups, const std::string& best) {
  std::map<std::vector<std::string>, const RunGroup*> by_labels;
  for (const RunGroup& group : groups) by_labels[group.labels] = &group;
  ModelSizes sizes;
  const auto shows = [&table](const char* word) {
    return std::find(table.show.begin(), table.show.end(), word) != table.show.end();
  };
  const bool shows_size = shows("parameters") || shows("flops") || shows("state");
  for (const auto& row : table.rows) {
    for (const auto& column : table.columns) {
      std::vector<std::string> labels = row;
      labels.insert(labels.end(), column.begin(), column.end());
      const auto found = by_labels.find(labels);
      for (const std::string& metric : table.metrics) {
        TableCell& cell = table.cells.emplace_back();
        cell.row = row;
        cell.column = column;
        cell.metric = metric;
        if (found == by_labels.end()) continue;
        const RunGroup& group = *found->second;
        cell.exists = true;
        cell.runs = group.runs;
        cell.chosen = group.chosen;
        cell.steps = steps_text(group.runs);
        cell.statistics = statistics_of(group, metric, {table.value, direction_for(metric, best)});
        if (shows("seconds")) cell.seconds = mean_seconds(group.runs);
        if (shows_size) cell.size = sizes.of(group.runs);
      }
    }
  }
}

// Decimals that show the first figure of the usual deviation, and at least two figures or so of the values.
int decimals_for(const Table& table, const std::string& metric) {
  std::vector<double> deviations;
  double largest = 0;
  for (const TableCell& cell : table.cells) {
    if (cell.metric != metric || cell.statistics.count() == 0) continue;
    largest = std::max(largest, std::abs(cell.statistics.mean));
    if (cell.statistics.deviation.value_or(0) > 0) deviations.push_back(*cell.statistics.deviation);
  }
  const int least = largest < 10 ? 2 : largest < 100 ? 1 : 0;
  // Three figures of small values; those below 1e-4 are printed with exponents.
  if (deviations.empty())
    return largest < 0.1 && largest >= 1e-4 ? 2 - static_cast<int>(std::floor(std::log10(largest))) : least + 1;
  std::nth_element(deviations.begin(), deviations.begin() + deviations.size() / 2, deviations.end());
  return std::clamp(static_cast<int>(-std::floor(std::log10(deviations[deviations.size() / 2]))), least, 6);
}

// Zeros would hide a value below the decimals of the others, unless its deviation hides it anyway.
bool needs_exponent(const GroupStatistics& s, int digits) {
  const double size = std::abs(s.mean);
  return size > 0 && size < 0.5 * std::pow(10, -digits) && s.deviation.value_or(0) < size;
}

std::string mean_text(const GroupStatistics& s, int digits) {
  return needs_exponent(s, digits) ? fmt::format("{:.3g}", s.mean) : fmt::format("{:.{}f}", s.mean, digits);
}

void mark_best(Table& table, std::size_t column, std::size_t metric, Direction direction) {
  std::vector<TableCell*> cells;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    TableCell& cell = table.cells[(row * table.columns.size() + column) * table.metrics.size() + metric];
    if (cell.statistics.count() > 0) cells.push_back(&cell);
  }
  if (direction == Direction::unknown || cells.size() < 2) return;
  const auto best = *std::max_element(cells.begin(), cells.end(), [&](const TableCell* a, const TableCell* b) {
    const bool is_less = a->statistics.mean < b->statistics.mean;
    return direction == Direction::higher ? is_less : b->statistics.mean < a->statistics.mean;
  });
  // What looks the same is marked the same.
  const int digits = table.digits[metric];
  const std::string text = mean_text(best->statistics, digits);
  for (TableCell* const cell : cells) cell->is_best = mean_text(cell->statistics, digits) == text;
}

std::string seeds_text(const Table& table) {
  std::set<int> expected;
  for (const TableCell& cell : table.cells) {
    if (cell.exists) expected.insert(cell.statistics.expected);
  }
  if (expected.empty() || *expected.rbegin() == 1) return "one seed";
  const std::string count = expected.size() == 1 ? fmt::format("{}", *expected.begin())
                                                 : fmt::format("{} to {}", *expected.begin(), *expected.rbegin());
  return fmt::format("mean ± standard deviation over {} seeds", count);
}

void note_numbers(Table& table, const ShownAxes& shown) {
  std::string metrics;
  for (const std::string& metric : table.metrics) metrics += (metrics.empty() ? "" : ", ") + metric;
  const std::string record =
      table.value == "best" ? "best evaluation of each run" : table.value + " record of each run";
  table.notes.push_back(fmt::format("{}: {}; {}.", metrics, record, seeds_text(table)));
  const bool marks = std::any_of(table.cells.begin(), table.cells.end(), [](const auto& cell) { return cell.is_best; });
  if (marks) table.notes.back() += " Marked: the best of each column.";
  if (std::string text = reduction_text(table.results, shown); !text.empty()) table.notes.push_back(text);
}

// Runs that gave no number, by why.
void note_missing(Table& table) {
  std::map<std::pair<ResultState, std::string>, std::vector<std::string>> by_reason;
  std::vector<std::string> silent;
  for (const ComparedRun& run : table.results.runs) {
    if (!run.is_done()) {
      by_reason[{run.state, run.message}].push_back(run.name);
      continue;
    }
    for (const std::string& metric : table.metrics) {
      if (run.metrics.count(metric) == 0) silent.push_back(fmt::format("{} ({})", run.name, metric));
    }
  }
  const auto note = [&](const std::vector<std::string>& names, const std::string& what) {
    table.notes.push_back(fmt::format("{} {} {}: {}.", names.size(), names.size() == 1 ? "run" : "runs", what,
                                      list_text(names, most_runs_named)));
  };
  for (const auto& [reason, names] : by_reason) {
    note(names, std::string(to_string(reason.first)) + (reason.second.empty() ? "" : " (" + reason.second + ")"));
  }
  if (!silent.empty()) note(silent, "without the metric");
  std::vector<std::string> infinite;
  for (const TableCell& cell : table.cells) {
    for (const ComparedRun* const run : cell.runs) {
      const bool has_value = std::any_of(cell.statistics.entries.begin(), cell.statistics.entries.end(),
                                         [&](const auto& entry) { return entry.run == run; });
      if (run->is_done() && run->metrics.count(cell.metric) != 0 && !has_value) infinite.push_back(run->name);
    }
  }
  if (!infinite.empty()) note(infinite, "ended with a value that is not finite");
}

}  // namespace

Table make_table(const TableOptions& options) {
  std::vector<std::string> shown_axes = options.rows.value_or(std::vector<std::string>{});
  if (options.columns) shown_axes.insert(shown_axes.end(), options.columns->begin(), options.columns->end());
  Table table;
  table.results = read_results(options.sources, shown_axes);
  const TableParams params = effective(options, table.results.table);
  table.title = params.title;
  table.show = params.show;
  table.value = params.value;
  table.metrics = require_metrics(table.results, params.metrics);
  const ShownAxes shown = lay_out_axes(table, params);
  const std::vector<RunGroup> groups = group_runs(table.results, shown, table.value);
  lay_out_labels(table, groups);
  fill_cells(table, groups, options.best);
  for (std::size_t metric = 0; metric < table.metrics.size(); ++metric) {
    table.digits.push_back(params.digits > 0 ? params.digits : decimals_for(table, table.metrics[metric]));
    if (options.best == "none") continue;
    for (std::size_t column = 0; column < table.columns.size(); ++column) {
      mark_best(table, column, metric, direction_for(table.metrics[metric], options.best));
    }
  }
  note_numbers(table, shown);
  note_missing(table);
  table.notes.insert(table.notes.end(), table.results.notes.begin(), table.results.notes.end());
  return table;
}

std::string cell_text(const Table& table, const TableCell& cell, std::size_t metric) {
  if (!cell.exists) return "";
  const GroupStatistics& s = cell.statistics;
  const std::string counts = s.count() < s.expected ? fmt::format(" ({}/{})", s.count(), s.expected) : "";
  if (s.count() == 0) return "—" + counts;
  const int digits = table.digits[metric];
  const std::string mean = mean_text(s, digits);
  if (!s.deviation) return mean + counts;
  if (needs_exponent(s, digits)) return fmt::format("{} ± {:.1g}{}", mean, *s.deviation, counts);
  return fmt::format("{} ± {:.{}f}{}", mean, *s.deviation, digits, counts);
}

}  // namespace rwkvlab
