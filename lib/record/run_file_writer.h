// Writes the run file. Whatever happens to the process or the disk, `run.h5` is a cleanly closed HDF5 file that holds
// everything up to the last flush.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "record/run_file.h"

namespace rwkvlab {

/// When buffered records go to the disk.
struct RunFileOptions {
  double flush_seconds = 10;                         ///< Shortest time between two flushes, in seconds.
  double flush_share = 0.02;                         ///< Largest share of wall time that flushes may take, in (0, 1].
  std::size_t buffer_bytes = std::size_t{64} << 20;  ///< Buffered records above this size flush at once, in bytes.
};

/// Shape and meaning of a tensor series.
struct TensorMeaning {
  std::vector<std::int64_t> shape;  ///< Of one record, for example [batch, time, channel]; may be empty (one number).
  std::vector<std::string> dimensions;  ///< A name per entry of `shape`.
  std::string unit = "1";
  std::string description;
};

/// Where a tensor series is stored.
enum class TensorGroup {
  probes,  ///< Activations and gradients: /probes/<path>.
  states,  ///< Recurrent states: /states/<path>.
  decay,   ///< Raw time_decay parameters, decay = exp(-exp(value)): /decay/<path>, shape [channel].
};

/// Appends records to a run file. Records wait in memory; a flush copies the file, appends to the copy, syncs it and
/// renames it over the original. Readers (h5py, RunFileReader) may open the file at any time without coordination.
/// `close` also rewrites it in a canonical order without gaps: two runs that recorded the same things have equal bytes,
/// no matter when they were flushed or whether one of them was resumed.
///
/// All functions that touch the disk throw FileError (the reason, for example a full disk; the old file is intact and
/// the records are still in memory). Misuse (an undeclared name, a step that does not rise) throws BugError.
/// Not thread-safe: HDF5 belongs to one thread.
class RunFileWriter {
 public:
  /// Starts a new run file at `path`, replacing an old one, and flushes it once, so that a folder that cannot be
  /// written shows at the start. `config` is the resolved YAML text.
  static RunFileWriter create(const std::filesystem::path& path, std::string_view config,
                              const Environment& environment, const RunFileOptions& options = {});

  /// Opens an existing run file to continue after `step`: drops every record of a later step (atomically), and a
  /// profile of later steps, and sets the
  /// status to running. Throws DataError when the file is not a run file of this version.
  static RunFileWriter resume(const std::filesystem::path& path, std::int64_t step, const RunFileOptions& options = {});

  RunFileWriter(RunFileWriter&&) noexcept;
  RunFileWriter& operator=(RunFileWriter&&) noexcept;
  /// Flushes what is left, if it can; the status stays `running`. Errors are dropped: call `close` to see them.
  ~RunFileWriter();

  /// Replaces the resolved YAML text, for example when a resumed run is to take more steps. It is stored by `close`.
  void set_config(std::string_view config);
  /// Replaces one entry of /environment, for example after a resume on another machine.
  void set_environment(const std::string& key, std::variant<std::int64_t, std::string> value);

  /// Replaces /profile.
  void set_profile(ProfileRecord profile);

  /// Declares /metrics/<name>; `name` may be nested ("train/loss"). Declaring again is allowed when the unit agrees.
  void declare_metric(std::string_view name, std::string_view unit, std::string_view description);
  /// Appends one value to a declared metric.
  void metric(std::string_view name, std::int64_t step, double value);

  /// Appends to /statistics/<path>/<stat>, for example ("blocks.0.att.key.weight", "norm"); declares it on first use.
  void statistic(std::string_view path, std::string_view stat, std::int64_t step, double value,
                 std::string_view unit = "1");

  /// Appends one record to /probes, /states or /decay; declares the series on first use.
  /// `values` is row-major and has the size of `meaning.shape`.
  void tensor(TensorGroup group, std::string_view path, std::int64_t step, std::span<const float> values,
              const TensorMeaning& meaning);

  /// Appends one histogram to /histograms/<path>: `counts[i]` values lie in [edges[i], edges[i + 1]), the last bin also
  /// holds its upper edge. edges has one entry more than counts. The bin count of a series is fixed by its first
  /// record.
  void histogram(std::string_view path, std::int64_t step, std::span<const double> edges,
                 std::span<const std::int64_t> counts, std::string_view unit = "1", std::string_view description = "");

  /// Notes that `step` is finished although nothing may have been recorded at it (root attribute `last_step`).
  void note_step(std::int64_t step);

  /// Writes everything buffered to the disk now.
  void flush();
  /// Flushes when it is due: `flush_seconds` have passed and flushes stay within their share of the time, or the buffer
  /// is full. Cheap otherwise; call it once a step. Returns whether it flushed.
  bool maybe_flush(std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now());

  /// Flushes, stores the status and rewrites the file in canonical order. The writer cannot be used afterwards.
  void close(RunStatus status);

  const std::filesystem::path& path() const;
  /// The last step noted or recorded; after `resume` the step given there; -1 in a new file.
  std::int64_t last_step() const;
  /// Bytes of records that wait for the next flush.
  std::size_t buffered_bytes() const;

 private:
  class Impl;
  explicit RunFileWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rwkvlab
