// An experiment file with a `sweep` section -> the runs that it asks for, each checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "run/experiment.h"
#include "sweep/sweep_record.h"

namespace rwkvlab {

/// What the runs of one variant share.
struct PlannedVariant {
  std::string label;
  std::string folder;       ///< the label as the name of a folder; unique in the sweep
  Node file;                ///< its experiment file: composed, without the seed, paths absolute
  LoadedExperiment loaded;  ///< the same with every default
};

/// Everything that a sweep will run.
struct SweepPlan {
  SweepRecord record;
  std::vector<PlannedVariant> variants;  ///< in the order of the record

  const PlannedVariant& variant_of(const SweepRun& run) const;
};

/// Expands the sweep of a file. Throws one ConfigError with every problem of the section and of all variants, each once
/// and named by its place; DataError when all that is wrong is that files do not exist.
SweepPlan plan_sweep(const ExperimentFile& file);

/// The runs that a sweep folder already lists, as they were planned.
SweepPlan plan_sweep(const SweepRecord& record);

/// Builds the model and the data of every variant, to find what shows only then, before anything runs. Throws one
/// ConfigError with every message once, the first variant that has it and what that sets; DataError when all that is
/// wrong is data.
void check_variants(const SweepPlan& plan);

/// Makes `plan` a continuation of the sweep that `before` records: what both have keeps its folder. Throws ConfigError,
/// naming what differs, unless every run of `before` is in the plan with a configuration that a resumed run may have.
void continue_sweep(SweepPlan& plan, const SweepRecord& before);

/// Whether a label matches a pattern with `*` and `?`.
bool matches_label(std::string_view label, std::string_view pattern);

/// "4 variants: a, b, c, d; 3 seeds each": what a sweep consists of, one line for each variant.
std::string sweep_summary(const SweepPlan& plan);

}  // namespace rwkvlab
