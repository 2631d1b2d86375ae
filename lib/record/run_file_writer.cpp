#include "record/run_file_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "record/file_replacement.h"
#include "record/flush_pacing.h"
#include "record/profile_record.h"
#include "record/run_file_layout.h"
#include "record/run_file_reader.h"

namespace rwkvlab {

namespace layout = run_file_layout;
using std::chrono::steady_clock;

namespace {

constexpr std::int64_t kNoStep = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kHeaderBytes = 1 << 20;
constexpr std::int64_t kLargestRank = 8;
// A file that is rewritten whenever it doubles costs at most as much again as writing it once.
constexpr double kGrowthBeforeRewrite = 2;

void require(bool condition, const std::string& text) {
  if (!condition)
    throw BugError(fmt::format("run file: {}. Please report this with the experiment that caused it.", text));
}

// Names become HDF5 paths; the names of the data sets in a series are reserved.
void check_name(std::string_view name) {
  std::size_t start = 0;
  while (start <= name.size()) {
    const std::size_t end = std::min(name.find('/', start), name.size());
    const std::string_view part = name.substr(start, end - start);
    const bool is_reserved = part == "step" || part == "value" || part == "edges" || part == "counts";
    require(!part.empty() && part != "." && part != ".." && !is_reserved && part.find('\0') == std::string_view::npos,
            fmt::format("'{}' cannot name a series ('{}' is not allowed in it)", name, part));
    start = end + 1;
  }
}

const char* group_name(TensorGroup group) {
  if (group == TensorGroup::probes) return "probes";
  return group == TensorGroup::states ? "states" : "decay";
}

// An empty HDF5 file with room for `bytes` bytes. The space is asked for before HDF5 writes anything, and again because
// creating the file gives it back.
void start_empty(FileReplacement& replacement, std::int64_t bytes) {
  replacement.reserve(bytes);
  hdf5::create_empty_file(replacement.temporary());
  replacement.reserve(bytes);
}

}  // namespace

/// One series: what is known about it and what waits for the next flush.
struct BufferedSeries {
  SeriesInfo info;  // `records` counts what is in the file.
  layout::Records pending;
  std::int64_t last_step = kNoStep;
};

class RunFileWriter::Impl {
 public:
  Impl(std::filesystem::path path, std::string config, Environment environment, const RunFileOptions& options)
      : path_(std::move(path)),
        config_(std::move(config)),
        environment_(std::move(environment)),
        options_(options),
        pacing_(options.flush_seconds, std::clamp(options.flush_share, 1e-9, 1.0), steady_clock::now()) {}

  ~Impl() {
    try {
      flush();
    } catch (const std::exception&) {
      // A destructor must not throw; the file stays as the last flush left it.
    }
  }

  void create();
  void resume(std::int64_t step);
  BufferedSeries& declare(SeriesInfo info);
  BufferedSeries& find(const std::string& path);
  void begin_record(BufferedSeries& series, std::int64_t step);
  void note_step(std::int64_t step);
  void flush();
  bool maybe_flush(steady_clock::time_point now);
  void close(RunStatus status);

  const std::filesystem::path& path() const { return path_; }
  std::int64_t last_step() const { return last_step_; }
  std::size_t buffered_bytes() const { return buffered_bytes_; }
  void set_config(std::string_view config) {
    require_open();
    config_ = config;
  }

  void set_environment(const std::string& key, std::variant<std::int64_t, std::string> value) {
    require_open();
    environment_[key] = std::move(value);
    environment_changed_ = is_dirty_ = true;
  }

  void set_profile(ProfileRecord profile) {
    require_open();
    profile_ = std::move(profile);
    profile_changed_ = is_dirty_ = true;
  }

 private:
  void require_open() const { require(!is_closed_, "it is closed, nothing more can be recorded"); }
  void append_pending();
  void rewrite(RunStatus status);

  std::filesystem::path path_;
  std::string config_;
  Environment environment_;
  RunFileOptions options_;
  FlushPacing pacing_;
  // Sorted, so that the order in the file does not depend on the order of declarations.
  std::map<std::string, BufferedSeries> series_;
  std::int64_t last_step_ = -1;
  std::size_t buffered_bytes_ = 0;
  double rewritten_bytes_ = 0;
  bool environment_changed_ = false;
  std::optional<ProfileRecord> profile_;
  bool profile_changed_ = false;
  bool is_dirty_ = false;
  bool is_closed_ = false;
};

void RunFileWriter::Impl::create() {
  FileReplacement replacement(path_);
  start_empty(replacement, kHeaderBytes + 2 * static_cast<std::int64_t>(config_.size()));
  hdf5::Handle file = hdf5::open_file(replacement.temporary(), true);
  layout::write_header(file.id(), config_, environment_);
  layout::write_progress(file.id(), RunStatus::running, last_step_);
  hdf5::close_written(std::move(file), replacement.temporary());
  replacement.commit();
}

void RunFileWriter::Impl::resume(std::int64_t step) {
  {
    const RunFileReader reader(path_);
    config_ = reader.config();
    environment_ = reader.environment();
    profile_ = reader.profile();
    if (profile_ && profile_->first_step + profile_->steps - 1 > step) profile_.reset();
    for (SeriesInfo& info : reader.list()) {
      const std::vector<std::int64_t> steps = reader.steps(info.path);
      if (!std::is_sorted(steps.begin(), steps.end())) {
        throw DataError(
            fmt::format("{}: the steps of '{}' do not rise; the file is damaged.", path_.string(), info.path));
      }
      info.records = std::upper_bound(steps.begin(), steps.end(), step) - steps.begin();
      const std::string key = info.path;
      if (info.records == 0) continue;
      const std::int64_t last = steps[static_cast<std::size_t>(info.records - 1)];
      series_[key] = {std::move(info), {}, last};
    }
  }
  last_step_ = step;
  rewrite(RunStatus::running);
}

BufferedSeries& RunFileWriter::Impl::declare(SeriesInfo info) {
  require_open();
  if (const auto found = series_.find(info.path); found != series_.end()) {
    const SeriesInfo& known = found->second.info;
    require(known.kind == info.kind && known.shape == info.shape && known.unit == info.unit,
            fmt::format("'{}' is recorded with another shape or unit than before", info.path));
    return found->second;
  }
  check_name(info.path);
  require(!info.unit.empty(), fmt::format("'{}' has no unit (use \"1\" for a pure number)", info.path));
  require(std::ssize(info.shape) <= kLargestRank &&
              std::all_of(info.shape.begin(), info.shape.end(), [](std::int64_t size) { return size > 0; }),
          fmt::format("'{}' has a shape that cannot be stored", info.path));
  const std::string key = info.path;
  return series_.emplace(key, BufferedSeries{std::move(info), {}, kNoStep}).first->second;
}

BufferedSeries& RunFileWriter::Impl::find(const std::string& path) {
  require_open();
  const auto found = series_.find(path);
  require(found != series_.end(), fmt::format("'{}' is recorded but was never declared", path));
  return found->second;
}

void RunFileWriter::Impl::begin_record(BufferedSeries& series, std::int64_t step) {
  require(step > series.last_step,
          fmt::format("'{}' is recorded at step {} after step {}", series.info.path, step, series.last_step));
  series.last_step = step;
  series.pending.steps.push_back(step);
  buffered_bytes_ += static_cast<std::size_t>(layout::record_bytes(series.info));
  note_step(step);
}

void RunFileWriter::Impl::note_step(std::int64_t step) {
  require_open();
  is_dirty_ = true;
  last_step_ = std::max(last_step_, step);
}

void RunFileWriter::Impl::flush() {
  if (!is_dirty_ || is_closed_) return;
  append_pending();
  // Chunks that grow move and leave holes; rewriting now and then keeps the file within twice its compact size.
  const double size = static_cast<double>(std::filesystem::file_size(path_));
  if (size > kGrowthBeforeRewrite * rewritten_bytes_ + 8 * kHeaderBytes) rewrite(RunStatus::running);
}

void RunFileWriter::Impl::append_pending() {
  FileReplacement replacement(path_);
  replacement.copy_original();
  std::int64_t growth = kHeaderBytes;
  for (const auto& [path, series] : series_) {
    const std::int64_t count = std::ssize(series.pending.steps);
    if (count > 0) growth += layout::growth_bound(series.info, count);
  }
  if (profile_changed_) growth += layout::growth_bound(*profile_);
  replacement.reserve(growth);
  hdf5::Handle file = hdf5::open_file(replacement.temporary(), true);
  for (const auto& [path, series] : series_) {
    if (!series.pending.steps.empty()) layout::append_series(file.id(), series.info, series.pending);
  }
  if (environment_changed_) layout::write_environment(file.id(), environment_);
  if (profile_changed_) layout::write_profile(file.id(), *profile_);
  layout::write_progress(file.id(), RunStatus::running, last_step_);
  hdf5::close_written(std::move(file), replacement.temporary());
  replacement.commit();
  for (auto& [path, series] : series_) {
    series.info.records += std::ssize(series.pending.steps);
    series.pending = {};
  }
  buffered_bytes_ = 0;
  environment_changed_ = profile_changed_ = is_dirty_ = false;
}

// The bytes depend only on what was recorded, not on when it was flushed: everything is written in sorted order.
void RunFileWriter::Impl::rewrite(RunStatus status) {
  FileReplacement replacement(path_);
  std::int64_t size = static_cast<std::int64_t>(std::filesystem::file_size(path_)) + kHeaderBytes;
  size += std::ssize(series_) * 64 * 1024 + (profile_ ? layout::growth_bound(*profile_) : 0);
  start_empty(replacement, size);
  {
    const hdf5::Handle source = hdf5::open_file(path_, false);
    hdf5::Handle file = hdf5::open_file(replacement.temporary(), true);
    layout::write_header(file.id(), config_, environment_);
    if (profile_) layout::write_profile(file.id(), *profile_);
    for (const auto& [path, series] : series_) {
      if (series.info.records > 0) layout::copy_series(source.id(), file.id(), series.info, series.info.records);
    }
    layout::write_progress(file.id(), status, last_step_);
    hdf5::close_written(std::move(file), replacement.temporary());
  }
  replacement.commit();
  rewritten_bytes_ = static_cast<double>(std::filesystem::file_size(path_));
}

bool RunFileWriter::Impl::maybe_flush(steady_clock::time_point now) {
  if (!is_dirty_ || (!pacing_.is_due(now) && buffered_bytes_ <= options_.buffer_bytes)) return false;
  const auto start = steady_clock::now();
  // Also when it fails: a full disk must not be asked again at every step.
  struct Note {
    FlushPacing& pacing;
    steady_clock::time_point now, start;
    ~Note() { pacing.flushed(now, steady_clock::now() - start); }
  } const note{pacing_, now, start};
  flush();
  return true;
}

void RunFileWriter::Impl::close(RunStatus status) {
  require_open();
  flush();
  rewrite(status);
  is_closed_ = true;
}

RunFileWriter::RunFileWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunFileWriter::RunFileWriter(RunFileWriter&&) noexcept = default;
RunFileWriter& RunFileWriter::operator=(RunFileWriter&&) noexcept = default;
RunFileWriter::~RunFileWriter() = default;

RunFileWriter RunFileWriter::create(const std::filesystem::path& path, std::string_view config,
                                    const Environment& environment, const RunFileOptions& options) {
  auto impl = std::make_unique<Impl>(path, std::string(config), environment, options);
  impl->create();
  return RunFileWriter(std::move(impl));
}

RunFileWriter RunFileWriter::resume(const std::filesystem::path& path, std::int64_t step,
                                    const RunFileOptions& options) {
  auto impl = std::make_unique<Impl>(path, "", Environment{}, options);
  impl->resume(step);
  return RunFileWriter(std::move(impl));
}

void RunFileWriter::set_config(std::string_view config) { impl_->set_config(config); }

void RunFileWriter::set_environment(const std::string& key, std::variant<std::int64_t, std::string> value) {
  impl_->set_environment(key, std::move(value));
}

void RunFileWriter::set_profile(ProfileRecord profile) { impl_->set_profile(std::move(profile)); }

void RunFileWriter::declare_metric(std::string_view name, std::string_view unit, std::string_view description) {
  impl_->declare(
      {fmt::format("metrics/{}", name), SeriesKind::scalar, std::string(unit), std::string(description), {}, {}, 0});
}

void RunFileWriter::metric(std::string_view name, std::int64_t step, double value) {
  BufferedSeries& series = impl_->find(fmt::format("metrics/{}", name));
  impl_->begin_record(series, step);
  series.pending.numbers.push_back(value);
}

void RunFileWriter::statistic(std::string_view path, std::string_view stat, std::int64_t step, double value,
                              std::string_view unit) {
  BufferedSeries& series = impl_->declare({fmt::format("statistics/{}/{}", path, stat),
                                           SeriesKind::scalar,
                                           std::string(unit),
                                           fmt::format("{} of {}", stat, path),
                                           {},
                                           {},
                                           0});
  impl_->begin_record(series, step);
  series.pending.numbers.push_back(value);
}

void RunFileWriter::tensor(TensorGroup group, std::string_view path, std::int64_t step, std::span<const float> values,
                           const TensorMeaning& meaning) {
  std::string description = meaning.description;
  if (description.empty() && group == TensorGroup::decay) {
    description = "Raw time_decay parameter; the decay per token is exp(-exp(value)).";
  }
  std::string unit = meaning.unit.empty() ? "1" : meaning.unit;
  BufferedSeries& series =
      impl_->declare({fmt::format("{}/{}", group_name(group), path), SeriesKind::tensor, std::move(unit),
                      std::move(description), meaning.shape, meaning.dimensions, 0});
  std::int64_t size = 1;
  for (const std::int64_t dimension : meaning.shape) size *= dimension;
  require(std::ssize(values) == size && meaning.dimensions.size() == meaning.shape.size(),
          fmt::format("'{}' has {} values and {} dimension names for a shape of {} elements and {} dimensions",
                      series.info.path, values.size(), meaning.dimensions.size(), size, meaning.shape.size()));
  impl_->begin_record(series, step);
  series.pending.values.insert(series.pending.values.end(), values.begin(), values.end());
}

void RunFileWriter::histogram(std::string_view path, std::int64_t step, std::span<const double> edges,
                              std::span<const std::int64_t> counts, std::string_view unit,
                              std::string_view description) {
  require(
      !counts.empty() && edges.size() == counts.size() + 1 && std::is_sorted(edges.begin(), edges.end()),
      fmt::format("the histogram '{}' has {} edges for {} bins, or its edges fall", path, edges.size(), counts.size()));
  BufferedSeries& series = impl_->declare({fmt::format("histograms/{}", path),
                                           SeriesKind::histogram,
                                           std::string(unit),
                                           std::string(description),
                                           {std::ssize(counts)},
                                           {"bin"},
                                           0});
  impl_->begin_record(series, step);
  series.pending.numbers.insert(series.pending.numbers.end(), edges.begin(), edges.end());
  series.pending.counts.insert(series.pending.counts.end(), counts.begin(), counts.end());
}

void RunFileWriter::note_step(std::int64_t step) { impl_->note_step(step); }
void RunFileWriter::flush() { impl_->flush(); }
bool RunFileWriter::maybe_flush(steady_clock::time_point now) { return impl_->maybe_flush(now); }
void RunFileWriter::close(RunStatus status) { impl_->close(status); }
const std::filesystem::path& RunFileWriter::path() const { return impl_->path(); }
std::int64_t RunFileWriter::last_step() const { return impl_->last_step(); }
std::size_t RunFileWriter::buffered_bytes() const { return impl_->buffered_bytes(); }

}  // namespace rwkvlab
