// What a sweep folder says about itself: sweep.yaml, from which alone the sweep can be repeated and tabulated.
//
//   SWEEP/sweep.yaml                     this record
//   SWEEP/experiments/<variant>.yaml     the experiment file of one variant, without the seed
//   SWEEP/runs/<variant>/seed-<n>/       an ordinary run folder (run/run_folder.h)
//   SWEEP/table.txt, .md, .csv, .json    written when the sweep ends, as `rwkvlab table SWEEP` prints it
//   SWEEP/figures/
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/node.h"
#include "run/sweep_params.h"

namespace rwkvlab {

/// Version of sweep.yaml that this program writes and reads.
inline constexpr int sweep_record_version = 1;

/// The value that a variant has on one axis: `axis` is the name from the sweep section (a path such as "model.width"
/// or a name such as "mixer"), `value` a number, boolean or string, and `label` what tables and legends show.
struct AxisValue {
  std::string axis;
  Node value;
  std::string label;
};

/// One run of a sweep.
struct SweepRun {
  std::string variant;          ///< the variant's label; runs that differ in their seed alone share it
  std::vector<AxisValue> axes;  ///< in the order of the sweep's axes
  std::uint64_t seed = 1;
  std::filesystem::path folder;  ///< relative to the sweep folder
  Node settings;                 ///< map of path -> value: what the variant sets in the base experiment
};

struct SweepRecord {
  std::string name;
  Node experiment;                ///< the base experiment: composed, without sweep and table, paths absolute
  Node sweep;                     ///< the sweep section as it was given
  std::vector<std::string> axes;  ///< every axis, in order
  std::optional<BestOf> best_of;
  TableParams table;
  std::vector<SweepRun> runs;  ///< in the order of the sweep: variants, seeds within a variant

  std::string text() const;  ///< as YAML
};

/// Whether `folder` holds a sweep.yaml.
bool is_sweep_folder(const std::filesystem::path& folder);

/// The sweep folder that `name` stands for: itself, or the folder of the sweep.yaml that it names; else empty.
std::filesystem::path sweep_folder_of(const std::filesystem::path& name);

/// Reads SWEEP/sweep.yaml. Throws DataError for a missing or damaged file, and ConfigError for another version (the
/// message names both).
SweepRecord read_sweep_record(const std::filesystem::path& folder);

/// Writes SWEEP/sweep.yaml, replacing it.
void write_sweep_record(const std::filesystem::path& folder, const SweepRecord& record);

}  // namespace rwkvlab
