#include "record/run_file_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "record/profile_record.h"
#include "record/record_set.h"
#include "record/run_file_layout.h"

namespace rwkvlab {

namespace layout = run_file_layout;

namespace {

std::string hint(std::string_view path, const std::vector<SeriesInfo>& series) {
  if (series.empty()) return "It holds no series yet.";
  std::vector<std::string> paths;
  for (const SeriesInfo& info : series) paths.push_back(info.path);
  const std::string nearest = nearest_name(path, paths);
  if (!nearest.empty()) return fmt::format("Did you mean '{}'?", nearest);
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(series.size(), 10); ++i) {
    names += (i == 0 ? "" : ", ") + paths[i];
  }
  return fmt::format("It holds {}{}.", names,
                     series.size() > 10 ? fmt::format(" and {} more", series.size() - 10) : std::string());
}

std::string kind_text(SeriesKind kind) {
  if (kind == SeriesKind::scalar) return "numbers";
  return kind == SeriesKind::tensor ? "tensors" : "histograms";
}

std::int64_t record_index(const SeriesInfo& info, std::int64_t record, const std::filesystem::path& path) {
  const std::int64_t index = record < 0 ? info.records + record : record;
  if (index < 0 || index >= info.records) {
    throw DataError(
        fmt::format("{}: '{}' has {} records; there is no record {}.", path.string(), info.path, info.records, record));
  }
  return index;
}

}  // namespace

RunFileReader::RunFileReader(const std::filesystem::path& path) : path_(path) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found) throw DataError(missing_file_text(path));
  if (kind == std::filesystem::file_type::directory) {
    throw DataError(fmt::format("{}: this is a folder; name the run file in it (run.h5).", path.string()));
  }
  file_ = hdf5::open_file(path, false);
  if (!hdf5::has_attribute(file_.id(), layout::kVersionAttribute)) {
    throw DataError(
        fmt::format("{}: this is an HDF5 file, but not a run file of rwkvlab (the root attribute '{}' is missing).",
                    path.string(), layout::kVersionAttribute));
  }
  const std::int64_t version = hdf5::integer_attribute(file_.id(), layout::kVersionAttribute);
  if (version != kRunFileVersion) {
    throw DataError(fmt::format("{}: the run file has version {}; this program reads version {}.", path.string(),
                                version, kRunFileVersion));
  }
  series_ = layout::list_series(file_.id());
}

std::string RunFileReader::config() const { return hdf5::read_text(file_.id(), "config"); }

Environment RunFileReader::environment() const {
  const hdf5::Handle group = hdf5::open_group(file_.id(), "environment", false);
  Environment result;
  for (const std::string& name : hdf5::attribute_names(group.id())) {
    if (hdf5::attribute_is_text(group.id(), name)) {
      result[name] = hdf5::text_attribute(group.id(), name);
    } else {
      result[name] = hdf5::integer_attribute(group.id(), name);
    }
  }
  return result;
}

RunStatus RunFileReader::status() const {
  const std::string text = hdf5::text_attribute(file_.id(), layout::kStatusAttribute);
  for (const RunStatus status : {RunStatus::running, RunStatus::done, RunStatus::interrupted, RunStatus::diverged}) {
    if (text == to_string(status)) return status;
  }
  throw DataError(
      fmt::format("{}: unknown status '{}'; expected running, done, interrupted or diverged.", path_.string(), text));
}

std::int64_t RunFileReader::last_step() const {
  return hdf5::integer_attribute(file_.id(), layout::kLastStepAttribute);
}

std::optional<ProfileRecord> RunFileReader::profile() const { return layout::read_profile(file_.id()); }

std::vector<SeriesInfo> RunFileReader::list(std::string_view prefix) const {
  std::vector<SeriesInfo> result;
  std::copy_if(series_.begin(), series_.end(), std::back_inserter(result),
               [&](const SeriesInfo& info) { return info.path.starts_with(prefix); });
  return result;
}

bool RunFileReader::has(std::string_view path) const {
  return std::any_of(series_.begin(), series_.end(), [&](const SeriesInfo& info) { return info.path == path; });
}

SeriesInfo RunFileReader::info(std::string_view path) const {
  for (const SeriesInfo& info : series_) {
    if (info.path == path) return info;
  }
  throw DataError(fmt::format("{}: there is no series '{}'. {}", path_.string(), path, hint(path, series_)));
}

SeriesInfo RunFileReader::info_of_kind(std::string_view path, SeriesKind kind) const {
  SeriesInfo found = info(path);
  if (found.kind != kind) {
    throw DataError(fmt::format("{}: '{}' is a series of {}, not of {}.", path_.string(), path, kind_text(found.kind),
                                kind_text(kind)));
  }
  return found;
}

std::vector<std::int64_t> RunFileReader::steps(std::string_view path) const {
  const SeriesInfo found = info(path);
  const hdf5::Handle group = hdf5::open_group(file_.id(), found.path, false);
  std::vector<std::int64_t> result(static_cast<std::size_t>(found.records));
  hdf5::RecordSet::open(group.id(), "step").read(hdf5::Type::int64, result.data(), 0, found.records);
  return result;
}

ScalarSeries RunFileReader::scalars(std::string_view path) const {
  ScalarSeries result{info_of_kind(path, SeriesKind::scalar), steps(path), {}};
  const hdf5::Handle group = hdf5::open_group(file_.id(), result.info.path, false);
  result.values.resize(result.steps.size());
  hdf5::RecordSet::open(group.id(), "value").read(hdf5::Type::float64, result.values.data(), 0, result.info.records);
  return result;
}

TensorRecord RunFileReader::tensor(std::string_view path, std::int64_t record) const {
  const SeriesInfo found = info_of_kind(path, SeriesKind::tensor);
  const std::int64_t index = record_index(found, record, path_);
  const hdf5::Handle group = hdf5::open_group(file_.id(), found.path, false);
  TensorRecord result;
  std::size_t size = 1;
  for (const std::int64_t dimension : found.shape) size *= static_cast<std::size_t>(dimension);
  result.values.resize(size);
  hdf5::RecordSet::open(group.id(), "step").read(hdf5::Type::int64, &result.step, index, 1);
  hdf5::RecordSet::open(group.id(), "value").read(hdf5::Type::float32, result.values.data(), index, 1);
  return result;
}

HistogramRecord RunFileReader::histogram(std::string_view path, std::int64_t record) const {
  const SeriesInfo found = info_of_kind(path, SeriesKind::histogram);
  const std::int64_t index = record_index(found, record, path_);
  const hdf5::Handle group = hdf5::open_group(file_.id(), found.path, false);
  HistogramRecord result;
  result.edges.resize(static_cast<std::size_t>(found.shape[0]) + 1);
  result.counts.resize(static_cast<std::size_t>(found.shape[0]));
  hdf5::RecordSet::open(group.id(), "step").read(hdf5::Type::int64, &result.step, index, 1);
  hdf5::RecordSet::open(group.id(), "edges").read(hdf5::Type::float64, result.edges.data(), index, 1);
  hdf5::RecordSet::open(group.id(), "counts").read(hdf5::Type::int64, result.counts.data(), index, 1);
  return result;
}

}  // namespace rwkvlab
