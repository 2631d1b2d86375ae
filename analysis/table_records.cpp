// csv and json: one record per cell, with where its numbers come from.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/table_format.h"

namespace rwkvlab {
namespace {

using Json = nlohmann::ordered_json;

std::string run_file_name(const ComparedRun& run) {
  const bool is_folder = run.run_file.filename() == "run.h5" && !run.name.ends_with("run.h5");
  return is_folder ? run.name + "/run.h5" : run.name;
}

const MetricValue* value_in(const TableCell& cell, const ComparedRun* run) {
  for (const GroupStatistics::Entry& entry : cell.statistics.entries) {
    if (entry.run == run) return &entry.value;
  }
  return nullptr;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string csv_line(const std::vector<std::string>& fields) {
  std::string line;
  for (std::size_t i = 0; i < fields.size(); ++i) line += (i == 0 ? "" : ",") + csv_field(fields[i]);
  return line + "\n";
}

std::string csv_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : ""; }

// Lists in one field are separated by semicolons; runs without a value leave theirs empty.
std::vector<std::string> run_fields(const TableCell& cell) {
  std::vector<std::string> fields(5);
  for (std::size_t i = 0; i < cell.runs.size(); ++i) {
    const ComparedRun* const run = cell.runs[i];
    const MetricValue* const value = value_in(cell, run);
    const std::vector<std::string> of_run = {fmt::format("{}", run->seed), std::string(to_string(run->state)),
                                             value ? csv_number(value->value) : "",
                                             value ? fmt::format("{}", value->step) : "", run_file_name(*run)};
    for (std::size_t f = 0; f < fields.size(); ++f) fields[f] += (i == 0 ? "" : ";") + of_run[f];
  }
  return fields;
}

Json labels_json(const std::vector<std::string>& axes, const std::vector<std::string>& labels) {
  Json json = Json::object();
  for (std::size_t i = 0; i < axes.size(); ++i) json[axes[i]] = labels[i];
  return json;
}

Json number_json(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json cell_json(const Table& table, const TableCell& cell) {
  Json json;
  json["row"] = labels_json(table.row_axes, cell.row);
  json["column"] = labels_json(table.column_axes, cell.column);
  json["metric"] = cell.metric;
  json["mean"] = number_json(cell.statistics.mean);
  json["std"] = cell.statistics.deviation ? number_json(*cell.statistics.deviation) : Json(nullptr);
  json["n"] = cell.statistics.count();
  json["expected"] = cell.statistics.expected;
  json["failed"] = cell.statistics.failed;
  json["best"] = cell.is_best;
  if (table.results.best_of) json["best_of"] = cell.chosen;
  if (cell.size) {
    json["parameters"] = cell.size->parameters;
    json["flops_per_token"] = cell.size->flops_per_token;
    json["state"] = cell.size->state;
  }
  if (cell.seconds) json["seconds"] = *cell.seconds;
  json["runs"] = Json::array();
  for (const ComparedRun* const run : cell.runs) {
    Json entry;
    entry["run_file"] = run_file_name(*run);
    entry["seed"] = run->seed;
    entry["state"] = to_string(run->state);
    if (!run->message.empty()) entry["message"] = run->message;
    if (const MetricValue* const value = value_in(cell, run)) {
      entry["series"] = "metrics/" + cell.metric;
      entry["step"] = value->step;
      entry["value"] = value->value;
    }
    json["runs"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace

std::string table_csv(const Table& table) {
  std::vector<std::string> header = table.row_axes;
  header.insert(header.end(), table.column_axes.begin(), table.column_axes.end());
  for (const char* const name :
       {"metric", "value", "mean", "std", "n", "expected", "failed", "best", "best_of", "parameters", "flops_per_token",
        "state", "seeds", "states", "values", "value_steps", "run_files"}) {
    header.emplace_back(name);
  }
  std::string text = csv_line(header);
  for (const TableCell& cell : table.cells) {
    if (!cell.exists) continue;
    std::vector<std::string> fields = cell.row;
    fields.insert(fields.end(), cell.column.begin(), cell.column.end());
    const GroupStatistics& s = cell.statistics;
    for (std::string& field : std::vector<std::string>{
             cell.metric, table.value, csv_number(s.mean), s.deviation ? csv_number(*s.deviation) : "",
             fmt::format("{}", s.count()), fmt::format("{}", s.expected), fmt::format("{}", s.failed),
             cell.is_best ? "true" : "false", cell.chosen, cell.size ? fmt::format("{}", cell.size->parameters) : "",
             cell.size ? csv_number(cell.size->flops_per_token) : "",
             cell.size ? fmt::format("{}", cell.size->state) : ""}) {
      fields.push_back(std::move(field));
    }
    for (std::string& field : run_fields(cell)) fields.push_back(std::move(field));
    text += csv_line(fields);
  }
  return text;
}

std::string table_json(const Table& table) {
  Json json;
  json["rwkvlab_table"] = 1;
  json["name"] = table.results.name;
  json["title"] = table.title;
  json["rows"] = table.row_axes;
  json["columns"] = table.column_axes;
  json["metrics"] = table.metrics;
  json["value"] = table.value;
  if (const auto& rule = table.results.best_of) {
    json["best_of"] = {{"over", rule->over},
                       {"metric", rule->metric},
                       {"mode", rule->maximize ? "max" : "min"},
                       {"per_seed", rule->per_seed}};
  }
  json["cells"] = Json::array();
  for (const TableCell& cell : table.cells) {
    if (cell.exists) json["cells"].push_back(cell_json(table, cell));
  }
  json["notes"] = table.notes;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace rwkvlab
