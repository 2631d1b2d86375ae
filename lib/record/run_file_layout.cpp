#include "record/run_file_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "record/record_set.h"

namespace rwkvlab::run_file_layout {

using hdf5::Handle;
using hdf5::Id;
using hdf5::RecordSet;
using hdf5::Type;

namespace {

constexpr std::int64_t kScalarChunk = 1024;
constexpr std::int64_t kTensorChunkBytes = 256 * 1024;
constexpr int kLargestDepth = 64;

const char* kind_name(SeriesKind kind) {
  if (kind == SeriesKind::scalar) return "scalar";
  return kind == SeriesKind::tensor ? "tensor" : "histogram";
}

std::int64_t elements(const std::vector<std::int64_t>& shape) {
  std::int64_t result = 1;
  for (const std::int64_t size : shape) result *= size;
  return result;
}

// The data sets of one series, open.
struct SeriesSets {
  RecordSet steps;
  RecordSet value;                  // Of a histogram: its edges.
  std::optional<RecordSet> counts;  // Histogram only.
};

Type value_type(SeriesKind kind) { return kind == SeriesKind::tensor ? Type::float32 : Type::float64; }

std::vector<std::int64_t> value_shape(const SeriesInfo& info) {
  return info.kind == SeriesKind::histogram ? std::vector<std::int64_t>{info.shape.at(0) + 1} : info.shape;
}

std::int64_t chunk_records(const SeriesInfo& info) {
  const std::int64_t bytes =
      elements(value_shape(info)) * static_cast<std::int64_t>(hdf5::size_of(value_type(info.kind)));
  return std::clamp<std::int64_t>(kTensorChunkBytes / std::max<std::int64_t>(bytes, 1), 1, kScalarChunk);
}

SeriesSets create_series(Id file, const SeriesInfo& info) {
  const Handle group = hdf5::open_group(file, info.path, true);
  const bool is_histogram = info.kind == SeriesKind::histogram;
  const std::int64_t chunk = chunk_records(info);
  hdf5::write_attribute(group.id(), "kind", kind_name(info.kind));
  SeriesSets sets{
      RecordSet::create(group.id(), "step", Type::int64, {}, kScalarChunk),
      RecordSet::create(group.id(), is_histogram ? "edges" : "value", value_type(info.kind), value_shape(info), chunk),
      std::nullopt};
  hdf5::write_attribute(sets.steps.id(), "unit", "training steps");
  hdf5::write_attribute(sets.value.id(), "unit", info.unit);
  hdf5::write_attribute(sets.value.id(), "description", info.description);
  if (info.path.starts_with("decay/"))
    hdf5::write_attribute(
        sets.value.id(), "transform",
        info.path.ends_with("spatial_decay") ? "decay = exp(-value / tokens)" : "decay = exp(-exp(value))");
  std::vector<const RecordSet*> users{&sets.value};
  if (is_histogram) {
    sets.counts = RecordSet::create(group.id(), "counts", Type::int64, info.shape, chunk);
    hdf5::write_attribute(sets.counts->id(), "unit", "values");
    users.push_back(&*sets.counts);
  }
  hdf5::attach_scale(sets.steps, "step", users);
  if (is_histogram) {
    hdf5::label_dimension(sets.value, 1, "edge");
    hdf5::label_dimension(*sets.counts, 1, "bin");
  }
  for (std::size_t i = 0; !is_histogram && i < info.dimensions.size(); ++i) {
    hdf5::label_dimension(sets.value, static_cast<int>(i) + 1, info.dimensions[i]);
  }
  return sets;
}

SeriesSets open_series(Id file, const SeriesInfo& info) {
  const Handle group = hdf5::open_group(file, info.path, false);
  const bool is_histogram = info.kind == SeriesKind::histogram;
  SeriesSets sets{RecordSet::open(group.id(), "step"), RecordSet::open(group.id(), is_histogram ? "edges" : "value"),
                  std::nullopt};
  if (is_histogram) sets.counts = RecordSet::open(group.id(), "counts");
  return sets;
}

SeriesInfo read_info(Id file, const std::string& path, const std::string& kind) {
  SeriesInfo info;
  info.path = path;
  const auto kinds = {SeriesKind::scalar, SeriesKind::tensor, SeriesKind::histogram};
  const auto* const found =
      std::find_if(kinds.begin(), kinds.end(), [&](SeriesKind k) { return kind == kind_name(k); });
  if (found == kinds.end())
    throw DataError(fmt::format("{}: unknown kind of series '{}'.", hdf5::place(file, path), kind));
  info.kind = *found;
  const SeriesSets sets = open_series(file, info);
  const RecordSet& main = sets.counts ? *sets.counts : sets.value;
  info.records = sets.steps.records();
  info.shape = main.shape();
  info.unit = hdf5::text_attribute(sets.value.id(), "unit");
  info.description = hdf5::text_attribute(sets.value.id(), "description");
  sets.steps.check_size();
  sets.value.check_size();
  if (sets.counts) sets.counts->check_size();
  const bool has_shape = (info.kind == SeriesKind::scalar && info.shape.empty()) || info.kind == SeriesKind::tensor ||
                         (info.kind == SeriesKind::histogram && info.shape.size() == 1);
  if (!sets.steps.shape().empty() || !has_shape || sets.value.shape() != value_shape(info) ||
      sets.value.records() != info.records || main.records() != info.records) {
    throw DataError(fmt::format("{}: its datasets do not fit together ({} steps, {} values).", hdf5::place(file, path),
                                info.records, sets.value.records()));
  }
  for (std::size_t i = 0; i < info.shape.size(); ++i) {
    info.dimensions.push_back(hdf5::dimension_label(main, static_cast<int>(i) + 1));
  }
  return info;
}

void list_below(Id file, Id group, const std::string& path, int depth, std::vector<SeriesInfo>& found) {
  // A file in which a group contains itself would otherwise never end.
  if (depth > kLargestDepth) throw DataError(fmt::format("{}: groups are nested too deeply.", hdf5::place(group)));
  if (!path.empty() && hdf5::has_attribute(group, "kind")) {
    found.push_back(read_info(file, path, hdf5::text_attribute(group, "kind")));
  }
  for (const std::string& name : hdf5::children(group)) {
    if (!hdf5::is_group(group, name)) continue;
    const Handle child = hdf5::open_group(group, name, false);
    list_below(file, child.id(), path.empty() ? name : path + "/" + name, depth + 1, found);
  }
}

}  // namespace

std::int64_t record_bytes(const SeriesInfo& info) {
  const std::int64_t step = 8, main = elements(info.shape);
  if (info.kind == SeriesKind::tensor) return step + main * 4;
  return info.kind == SeriesKind::scalar ? step + 8 : step + main * 8 + (main + 1) * 8;
}

std::int64_t growth_bound(const SeriesInfo& info, std::int64_t records) {
  // The records, twice for badly compressible data and chunk tables; one chunk of each data set that moves because it
  // grew; group, dataset and attribute headers.
  const std::int64_t chunk = chunk_records(info) * record_bytes(info) + kScalarChunk * 8;
  const std::int64_t headers = info.records == 0 ? 48 * 1024 : 8 * 1024;
  return 2 * records * record_bytes(info) + 2 * chunk + headers;
}

void write_environment(Id file, const Environment& environment) {
  const Handle group = hdf5::open_group(file, "environment", true);
  for (const auto& [key, value] : environment) {
    std::visit([&, &name = key](const auto& content) { hdf5::write_attribute(group.id(), name, content); }, value);
  }
}

void write_header(Id file, std::string_view config, const Environment& environment) {
  hdf5::write_attribute(file, kVersionAttribute, kRunFileVersion);
  hdf5::write_text(file, "config", config);
  write_environment(file, environment);
}

void write_progress(Id file, RunStatus status, std::int64_t last_step) {
  const std::string text(to_string(status));
  if (!hdf5::has_attribute(file, kStatusAttribute) || hdf5::text_attribute(file, kStatusAttribute) != text) {
    hdf5::write_attribute(file, kStatusAttribute, text);
  }
  hdf5::write_attribute(file, kLastStepAttribute, last_step);
}

void append_series(Id file, const SeriesInfo& info, const Records& records) {
  SeriesSets sets = info.records == 0 ? create_series(file, info) : open_series(file, info);
  const auto count = static_cast<std::int64_t>(records.steps.size());
  sets.steps.append(Type::int64, records.steps.data(), count);
  if (info.kind == SeriesKind::tensor) {
    sets.value.append(Type::float32, records.values.data(), count);
  } else {
    sets.value.append(Type::float64, records.numbers.data(), count);
  }
  if (sets.counts) sets.counts->append(Type::int64, records.counts.data(), count);
}

void copy_series(Id source, Id destination, const SeriesInfo& info, std::int64_t count) {
  const SeriesSets from = open_series(source, info);
  SeriesSets to = create_series(destination, info);
  to.steps.append_from(from.steps, count);
  to.value.append_from(from.value, count);
  if (to.counts) to.counts->append_from(*from.counts, count);
}

std::vector<SeriesInfo> list_series(Id file) {
  std::vector<SeriesInfo> found;
  const Handle root = hdf5::open_group(file, "/", false);
  list_below(file, root.id(), "", 0, found);
  std::sort(found.begin(), found.end(), [](const SeriesInfo& a, const SeriesInfo& b) { return a.path < b.path; });
  return found;
}

}  // namespace rwkvlab::run_file_layout
