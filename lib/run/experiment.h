// The experiment file: what it may contain, and reading one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/diagnostics.h"
#include "config/node.h"
#include "config/schema.h"
#include "data/data_set.h"
#include "nn/module.h"
#include "run/log_params.h"
#include "run/sweep_params.h"
#include "train/objective.h"
#include "train/trainer.h"

namespace rwkvlab {

struct Experiment {
  std::string name;        ///< of the run; where the file says none, after the file (or its folder)
  std::uint64_t seed = 1;  ///< of initial weights, batch order and dropout
  Choice model;
  Choice data;  ///< false: the file describes a model alone and cannot be run
  TrainParams train;
  EvaluationParams evaluation;
  LogParams log;
  std::optional<SweepParams> sweep;  ///< makes the file one of many runs (sweep/plan.h)
  std::optional<TableParams> table;
};

/// The schema of an experiment file; made once.
const Schema& experiment_schema();

/// An experiment file with everything it extends and all settings, named, but not validated.
struct ExperimentFile {
  std::filesystem::path file;
  Node tree;             ///< without `sweep` and `table`
  Node sweep, table;     ///< those sections; null where there is none
  Diagnostics problems;  ///< duplicate keys and the like
};

/// Reads `file` with `settings` ("train.steps=100"). Throws ConfigError when no tree comes of it.
ExperimentFile read_experiment_file(const std::filesystem::path& file, const std::vector<std::string>& settings = {});

/// An experiment file with everything it extends, all settings and all defaults.
struct LoadedExperiment {
  std::filesystem::path file;
  Node tree;  ///< resolved, without `sweep` and `table`; paths are absolute, values know where they come from
  Experiment experiment;

  /// The tree as YAML; another file with this text is the same experiment.
  std::string text() const;
};

/// Reads and validates `file` with `settings` ("train.steps=100"). Relative paths of values start at the folder of the
/// file that they stand in, those of settings at the current folder. Throws one ConfigError with every problem, or a
/// DataError when all that is wrong is that files do not exist.
LoadedExperiment load_experiment(const std::filesystem::path& file, const std::vector<std::string>& settings = {});

/// The same for a file that has been read.
LoadedExperiment load_experiment(const ExperimentFile& read);
/// Validates the `tree` of one run, whose paths it makes absolute, adding what is wrong with it to `problems`, and
/// paths that lead nowhere to `missing`. With problems, the result is of no use.
LoadedExperiment resolve_experiment(const std::filesystem::path& file, Node& tree, Diagnostics& problems,
                                    Diagnostics& missing);
/// Throws the problems as one ConfigError, or as a DataError when all that is wrong is that files do not exist.
void throw_problems(Diagnostics problems, const Diagnostics& missing);

/// What an experiment trains. The model has no memory yet.
struct BuiltExperiment {
  std::unique_ptr<DataSet> data;
  std::unique_ptr<Module> model;
  std::unique_ptr<Objective> objective;
};

/// Builds the model alone, reading the data only if the vocabulary depends on it. Throws ConfigError or DataError.
std::unique_ptr<Module> build_model(const LoadedExperiment& loaded);

/// Builds everything and tries what can fail only when the parts meet: the model's own checks, parameter groups and
/// probe patterns that match nothing (with a forward pass in shape-only mode). Throws one ConfigError with every
/// problem, or DataError.
BuiltExperiment build_experiment(const LoadedExperiment& loaded);

/// A value that the forward pass shows to probes.
struct ProbeSite {
  std::string path;
  Shape shape;
  std::string dimensions;  ///< "batch,time,channel"
};

/// Every probe of a language model that is not allocated, for this size of batch. Restores the model.
std::vector<ProbeSite> list_probes(Module& model, std::int64_t batch, std::int64_t context);

}  // namespace rwkvlab
