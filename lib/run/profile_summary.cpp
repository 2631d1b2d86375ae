#include "run/profile_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace rwkvlab {
namespace {

using Kind = ProfiledSpan::Kind;

// What GradSlot::add notes: an operation without a forward pass.
constexpr std::string_view gradient_sum = "gradient_sum";

// The rows of one table, by key, and whether they are parts.
using Rows = std::map<std::pair<bool, std::string>, ProfileRow>;

const std::string& text(const Profiler& profiler, int index) {
  return profiler.texts()[static_cast<std::size_t>(index)];
}

double& seconds_of(ProfileRow& row, Phase phase) {
  switch (phase) {
    case Phase::forward:
      return row.forward;
    case Phase::backward:
      return row.backward;
    case Phase::recompute:
      return row.recompute;
    default:
      return row.other;
  }
}

void add(Rows& rows, const std::string& name, bool is_part, const ProfiledSpan& span, bool counts) {
  ProfileRow& row = rows[{is_part, name}];
  row.name = name;
  row.is_part = is_part;
  row.calls += counts ? 1 : 0;
  seconds_of(row, span.phase) += 1e-9 * static_cast<double>(span.own());
  row.flops += span.flops;
  row.bfloat16_flops += span.bfloat16_flops;
  row.bytes += span.bytes;
}

std::vector<ProfileRow> sorted(const Rows& rows) {
  std::vector<ProfileRow> result;
  for (const auto& [key, row] : rows) result.push_back(row);
  std::stable_sort(result.begin(), result.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds() > b.seconds(); });
  return result;
}

// Where each span is: inside a finished step (its index), or in a part between steps (the index of that).
struct Place {
  int step = -1, part = -1;
};

std::vector<Place> places(const std::vector<ProfiledSpan>& spans) {
  std::vector<Place> result(spans.size());
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const ProfiledSpan& span = spans[i];
    if (span.parent >= 0) {
      result[i] = result[static_cast<std::size_t>(span.parent)];
    } else if (span.end > 0 && span.kind == Kind::part) {
      (span.phase == Phase::step ? result[i].step : result[i].part) = static_cast<int>(i);
    }
  }
  return result;
}

bool is_below(const std::string& path, const std::string& above) {
  return above.empty() || path == above || (path.starts_with(above) && path[above.size()] == '.');
}

// Sorts numbers in a path by their value: blocks.2 before blocks.10.
std::string sort_key(const std::string& path) {
  std::string key;
  for (std::size_t i = 0; i < path.size();) {
    const std::size_t end = std::min(path.find_first_not_of("0123456789", i), path.size());
    if (end > i) key += fmt::format("{:0>8}", path.substr(i, end - i));
    if (end < path.size()) key += path[end];
    i = end + 1;
  }
  return key;
}

nlohmann::json trace_event(const Profiler& profiler, const ProfiledSpan& span) {
  const std::string& name = text(profiler, span.name);
  nlohmann::json event = {{"name", name.empty() ? "model" : name},
                          {"cat", to_string(span.phase)},
                          {"ph", "X"},
                          {"ts", 1e-3 * static_cast<double>(span.begin)},
                          {"dur", 1e-3 * static_cast<double>(span.end - span.begin)},
                          {"pid", 1},
                          {"tid", 1}};
  if (span.kind == Kind::operation) {
    event["args"] = {{"module", text(profiler, span.module)}, {"flops", span.flops}, {"bytes", span.bytes}};
  }
  return event;
}

}  // namespace

void ProfileRow::add(const ProfileRow& row) {
  calls += row.calls;
  forward += row.forward;
  backward += row.backward;
  recompute += row.recompute;
  other += row.other;
  flops += row.flops;
  bfloat16_flops += row.bfloat16_flops;
  bytes += row.bytes;
}

ProfileSummary summarise(const Profiler& profiler) {
  const std::vector<ProfiledSpan>& spans = profiler.spans();
  const std::vector<Place> where = places(spans);
  ProfileSummary summary;
  Rows operations, modules, outside;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const ProfiledSpan& span = spans[i];
    if (where[i].part >= 0) {
      add(outside, text(profiler, spans[static_cast<std::size_t>(where[i].part)].name), true, span, span.parent < 0);
    }
    if (where[i].step < 0) continue;
    if (span.phase == Phase::step) {
      ++summary.steps;
      summary.step_seconds += 1e-9 * static_cast<double>(span.end - span.begin);
    }
    // What is between the operations of a module is the module's, and in a table of operations nobody's.
    const bool is_operation = span.kind == Kind::operation;
    const bool is_between = span.kind == Kind::module || span.phase == Phase::step || span.phase == Phase::backward;
    const std::string& name = text(profiler, span.name);
    add(operations, is_operation || !is_between ? name : between_operations, !is_operation, span,
        span.phase == Phase::forward || !is_operation || name == gradient_sum);
    if (span.kind == Kind::part) {
      add(modules, is_between ? between_operations : name, true, span, true);
    } else {
      add(modules, text(profiler, span.module), false, span, is_operation);
    }
  }
  summary.operations = sorted(operations);
  summary.modules = sorted(modules);
  summary.outside = sorted(outside);
  return summary;
}

std::string without_layer(const std::string& module) {
  std::string result;
  for (std::size_t begin = 0; begin <= module.size();) {
    const std::size_t end = std::min(module.find('.', begin), module.size());
    const std::string part = module.substr(begin, end - begin);
    const bool is_number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    result += (begin == 0 ? "" : ".") + (is_number ? "*" : part);
    begin = end + 1;
  }
  return result;
}

std::vector<ProfileRow> module_tree(const std::vector<ProfileRow>& modules, bool per_layer) {
  std::map<std::string, ProfileRow> own;
  std::vector<ProfileRow> tree, parts;
  for (const ProfileRow& row : modules) {
    if (row.is_part) {
      parts.push_back(row);
      continue;
    }
    const std::string name = per_layer ? row.name : without_layer(row.name);
    ProfileRow& sum = own[sort_key(name)];
    sum.name = name;
    sum.add(row);
  }
  for (const auto& [key, row] : own) {
    ProfileRow whole;
    whole.name = row.name;
    for (const auto& [below, part] : own) {
      if (is_below(part.name, row.name)) whole.add(part);
    }
    tree.push_back(std::move(whole));
  }
  tree.insert(tree.end(), parts.begin(), parts.end());
  return tree;
}

std::string chrome_trace(const Profiler& profiler) {
  std::string text =
      "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n"
      "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, \"args\": {\"name\": \"rwkvlab\"}},\n"
      "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": 1, \"args\": {\"name\": \"training\"}}";
  for (const ProfiledSpan& span : profiler.spans()) {
    if (span.end > 0) text += ",\n" + trace_event(profiler, span).dump();
  }
  return text + "\n]}\n";
}

}  // namespace rwkvlab
