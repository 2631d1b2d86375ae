#include "sweep/axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "config/yaml_writer.h"
#include "sweep/random_search.h"

namespace rwkvlab {
namespace {

bool is_labelled(const Node& item) { return item.is_map() && item.find("set") != nullptr; }

std::string last_key(const std::string& path) { return path.substr(path.rfind('.') + 1); }

class StepReader {
 public:
  StepReader(const Node& tree, const SweepParams& params, std::size_t seeds, Diagnostics& problems)
      : tree_(tree), params_(params), seeds_(std::max<std::size_t>(seeds, 1)), problems_(problems) {}

  std::vector<SweepStep> read() {
    const std::size_t problems_before = problems_.size();
    grid();
    zip();
    list();
    check_limit();
    if (problems_.size() != problems_before) return {};
    random();
    check_axes();
    check_paths();
    name_path_values();
    return std::move(steps_);
  }

 private:
  /// The map of axes under `key`, or null when there is none to read.
  const Node* axes_of(const std::string& key) {
    const MapEntry* const entry = tree_.find_entry(key);
    if (entry == nullptr || entry->value.is_null()) return nullptr;
    if (!entry->value.is_map()) {
      problems_.add(entry->value.place(),
                    fmt::format("'{}' must be a map of axes, found {}", key, entry->value.description()),
                    "write a path or a name, and a list of its values: {model.width: [32, 64]}");
      return nullptr;
    }
    if (entry->value.map().empty()) {
      problems_.add(entry->place, fmt::format("'{}' has no axis, so the sweep has no variant", key));
      return nullptr;
    }
    return &entry->value;
  }

  void grid() {
    const Node* const axes = axes_of("grid");
    if (axes == nullptr) return;
    for (const MapEntry& entry : axes->map()) steps_.push_back({{entry.key}, axis(entry)});
  }

  void zip() {
    const Node* const axes = axes_of("zip");
    if (axes == nullptr) return;
    SweepStep step;
    for (const MapEntry& entry : axes->map()) {
      std::vector<Alternative> values = axis(entry);
      if (values.empty()) return;  // It is among the problems.
      if (step.axes.empty()) step.alternatives.resize(values.size());
      if (values.size() != step.alternatives.size()) {
        problems_.add(entry.place, fmt::format("the lists of 'zip' must be of equal length: '{}' has {} values, '{}' "
                                               "has {}",
                                               step.axes.front(), step.alternatives.size(), entry.key, values.size()));
        return;
      }
      step.axes.push_back(entry.key);
      for (std::size_t i = 0; i < values.size(); ++i) append(step.alternatives[i], std::move(values[i]));
    }
    steps_.push_back(std::move(step));
  }

  static void append(Alternative& to, Alternative from) {
    if (to.axes.empty()) to.place = from.place;
    to.label += (to.label.empty() ? "" : " ") + from.label;
    to.axes.insert(to.axes.end(), from.axes.begin(), from.axes.end());
    to.settings.insert(to.settings.end(), from.settings.begin(), from.settings.end());
  }

  /// One axis of grid or zip.
  std::vector<Alternative> axis(const MapEntry& entry) {
    if (!entry.value.is_list() || entry.value.list().empty()) {
      problems_.add(entry.value.is_list() ? entry.place : entry.value.place(),
                    fmt::format("the axis '{}' must be a list of at least one value, found {}", entry.key,
                                entry.value.description()));
      return {};
    }
    const Node::List& items = entry.value.list();
    const bool is_named = std::any_of(items.begin(), items.end(), is_labelled);
    std::vector<Alternative> result;
    for (const Node& item : items) result.push_back(is_named ? labelled(entry.key, item) : plain(entry, item));
    return result;
  }

  Alternative plain(const MapEntry& entry, const Node& value) const {
    Alternative result;
    const std::string label = value_label(value);
    const bool is_scalar = !value.is_map() && !value.is_list() && !value.is_null();
    result.axes = {{entry.key, is_scalar ? value : Node(label), label}};
    take_apart(entry.key, entry.place, value, result.settings);
    result.label = label;
    result.place = value.place();
    return result;
  }

  Alternative labelled(const std::string& axis, const Node& item) {
    Alternative result;
    result.place = item.place();
    const auto complain = [&](const Node& at, const std::string& message) {
      problems_.add(at.place(), message, "a value of a named axis has the form {label: TEXT, set: {path: value}}");
    };
    if (!item.is_map()) {
      complain(item, fmt::format("'{}' mixes labelled values with others, here {}", axis, item.description()));
      return result;
    }
    for (const MapEntry& entry : item.map()) {
      if (entry.key == "label" || entry.key == "set") continue;
      problems_.add(entry.place, fmt::format("unknown key {} in a value of '{}'", quote(entry.key), axis),
                    "keys here: label, set");
    }
    const Node* const label = item.find("label");
    if (label == nullptr || label->is_null() || label->is_map() || label->is_list() || value_label(*label).empty()) {
      complain(label == nullptr ? item : *label, fmt::format("a value of '{}' needs a label", axis));
    } else {
      result.label = value_label(*label);
      result.place = label->place();
    }
    result.axes = {{axis, label == nullptr ? Node() : *label, result.label}};
    set_of(item, result);
    return result;
  }

  /// The settings of {label, set}.
  void set_of(const Node& item, Alternative& into) {
    const Node* const set = item.find("set");
    if (set == nullptr || set->is_null()) return;
    if (!set->is_map()) {
      problems_.add(set->place(), "'set' must be a map of paths to values, found " + set->description(),
                    "write set: {model.width: 64}");
      return;
    }
    for (const MapEntry& entry : set->map()) take_apart(entry.key, entry.place, entry.value, into.settings);
  }

  void list() {
    const Node* const items = tree_.find("list");
    if (items == nullptr || !items->is_list() || items->list().empty()) return;
    SweepStep step{{list_axis}, {}};
    for (const Node& item : items->list()) step.alternatives.push_back(labelled(list_axis, item));
    steps_.push_back(std::move(step));
  }

  void check_limit() {
    std::vector<std::uint64_t> sizes;
    for (const SweepStep& step : steps_) sizes.push_back(step.alternatives.size());
    if (params_.random) sizes.push_back(static_cast<std::uint64_t>(params_.random->count));
    const std::uint64_t variants = combinations(sizes);
    sizes.push_back(seeds_);
    const std::uint64_t runs = combinations(sizes);
    if (runs <= static_cast<std::uint64_t>(params_.limit)) return;
    const bool is_huge = runs == std::numeric_limits<std::uint64_t>::max();
    const std::string share =
        seeds_ == 1 || is_huge ? ""
                               : fmt::format(" ({} variants with {} seeds each)", grouped(variants), grouped(seeds_));
    problems_.add(
        tree_.place(),
        fmt::format("the sweep has {} runs{}, more than its limit of {}", is_huge ? "far too many" : grouped(runs),
                    share, grouped(static_cast<std::uint64_t>(params_.limit))),
        "vary less, or raise sweep.limit if that many are wanted");
  }

  static std::string grouped(std::uint64_t value) {
    std::string text = std::to_string(value);
    for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
    return text;
  }

  void random() {
    if (!params_.random) return;
    const Node& over = *tree_.find_path("random.over");
    SweepStep step;
    for (const MapEntry& entry : over.map()) step.axes.push_back(entry.key);
    const std::vector<std::vector<Node>> draws = draw_all(*params_.random, step.axes);
    if (draws.size() < static_cast<std::size_t>(params_.random->count)) {
      problems_.add(tree_.find_path("random.count")->place(),
                    fmt::format("'count' asks for {} variants, but the ranges give only {} different ones",
                                params_.random->count, draws.size()),
                    "ask for fewer, widen the ranges, or write them as a grid");
    }
    for (const std::vector<Node>& draw : draws) {
      Alternative all;
      for (std::size_t i = 0; i < draw.size(); ++i) {
        const MapEntry& entry = over.map()[i];
        Node value = draw[i];
        if (!value.place().source) value.set_place(entry.value.place());  // Its range, unless it was written itself.
        append(all, plain(entry, value));
      }
      all.place = over.place();
      step.alternatives.push_back(std::move(all));
    }
    steps_.push_back(std::move(step));
  }

  void check_axes() {
    std::set<std::string> seen;
    for (const SweepStep& step : steps_) {
      for (const std::string& axis : step.axes) {
        if (seen.insert(axis).second) continue;
        problems_.add(step.alternatives.front().place, fmt::format("the axis '{}' is there twice", axis));
      }
    }
  }

  /// Nothing may be set by two axes, nor what a sweep sets itself.
  void check_paths() {
    std::map<std::string, std::string> owners;  // path -> axis
    std::map<std::string, Place> places;
    for (const SweepStep& step : steps_) {
      for (const Alternative& alternative : step.alternatives) {
        // Within an alternative it is not known any more which of its axes set a path; its first speaks for all, and
        // equal paths in one alternative are found by their number.
        std::set<std::string> own;
        for (const PathSetting& setting : alternative.settings) {
          if (is_reserved(setting)) continue;
          const auto [owner, is_new] = owners.emplace(setting.path, step.axes.front());
          places.emplace(setting.path, setting.place);
          if (!own.insert(setting.path).second || (!is_new && owner->second != step.axes.front())) {
            clash(setting.place, setting.path, owner->second, setting.path);
          }
        }
      }
    }
    for (const auto& [path, axis] : owners) {
      for (std::size_t dot = path.rfind('.'); dot != std::string::npos && dot > 0; dot = path.rfind('.', dot - 1)) {
        const auto above = owners.find(path.substr(0, dot));
        if (above != owners.end() && above->second != axis) clash(places[path], path, above->second, above->first);
      }
    }
  }

  void clash(const Place& place, const std::string& path, const std::string& axis, const std::string& other) {
    if (!clashes_.insert(path).second) return;
    problems_.add(place, fmt::format("'{}' is set twice: the axis '{}' sets '{}' too", path, axis, other),
                  "one axis alone may set a path");
  }

  bool is_reserved(const PathSetting& setting) {
    const std::string first = setting.path.substr(0, setting.path.find('.'));
    const bool is_seed = first == "seed";
    if (!is_seed && first != "name" && first != "sweep" && first != "table" && first != "extends") return false;
    if (clashes_.insert(setting.path).second) {
      problems_.add(setting.place, fmt::format("a variant cannot set '{}'", setting.path),
                    is_seed ? "write the seeds under sweep.seeds" : "it belongs to the whole sweep");
    }
    return true;
  }

  /// "width=64" for a value of the path model.width; the whole path where two paths end alike.
  void name_path_values() {
    std::map<std::string, int> ends;
    for (const SweepStep& step : steps_)
      for (const std::string& axis : step.axes) ++ends[last_key(axis)];
    for (SweepStep& step : steps_) {
      for (Alternative& alternative : step.alternatives) {
        alternative.label.clear();
        for (const AxisValue& value : alternative.axes) {
          const bool is_path =
              std::any_of(alternative.settings.begin(), alternative.settings.end(), [&](const PathSetting& setting) {
                return setting.path == value.axis || setting.path.starts_with(value.axis + ".");
              });
          const std::string key = ends[last_key(value.axis)] > 1 ? value.axis : last_key(value.axis);
          alternative.label += (alternative.label.empty() ? "" : " ") + (is_path ? key + "=" : "") + value.label;
        }
      }
    }
  }

  const Node& tree_;
  const SweepParams& params_;
  std::size_t seeds_;
  Diagnostics& problems_;
  std::vector<SweepStep> steps_;
  std::set<std::string> clashes_;
};

}  // namespace

std::uint64_t combinations(const std::vector<std::uint64_t>& sizes) {
  if (std::find(sizes.begin(), sizes.end(), 0U) != sizes.end()) return 0;
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t product = 1;
  for (const std::uint64_t size : sizes) product = product > most / size ? most : product * size;
  return product;
}

std::string value_label(const Node& value) {
  if (value.is_string()) return value.string();
  const Node* const kind = value.find("kind");
  if (kind != nullptr && kind->is_string() && value.map().size() == 1) return kind->string();
  std::string text = inline_yaml(value);
  if (value.type() == Node::Type::number && text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

void take_apart(const std::string& path, const Place& place, const Node& value, std::vector<PathSetting>& into) {
  const auto has_dot = [](const MapEntry& entry) {
    return entry.key.empty() || entry.key.find('.') != std::string::npos;
  };
  // A key with a dot cannot be part of a path.
  const bool is_whole =
      !value.is_map() || value.map().empty() || std::any_of(value.map().begin(), value.map().end(), has_dot);
  if (is_whole) {
    into.push_back({path, place, value});
    return;
  }
  for (const MapEntry& entry : value.map()) take_apart(path + "." + entry.key, entry.place, entry.value, into);
}

std::vector<SweepStep> read_steps(const Node& tree, const SweepParams& params, std::size_t seeds,
                                  Diagnostics& problems) {
  return StepReader(tree, params, seeds, problems).read();
}

}  // namespace rwkvlab
