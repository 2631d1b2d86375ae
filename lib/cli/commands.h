// The sub-commands of the program. Each file of this folder adds one; main.cpp runs the one that was named.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "run/experiment.h"

namespace rwkvlab::cli {

/// Exit codes, listed by --help.
enum ExitCode {
  success = 0,
  failure = 1,
  wrong_configuration = 2,
  wrong_data = 3,
  diverged = 4,
  interrupted = 130,
};

/// What the command line asks for. A sub-command's callback sets `action`, which returns the exit code.
struct Program {
  CLI::App app;
  std::function<int()> action;
};

void add_run_command(Program& program);
void add_check_command(Program& program);
void add_describe_command(Program& program);
void add_export_command(Program& program);
void add_generate_command(Program& program);
void add_eval_command(Program& program);
void add_tokenize_command(Program& program);
void add_plot_command(Program& program);
void add_preview_command(Program& program);
void add_table_command(Program& program);
void add_verify_command(Program& program);
void add_blocks_command(Program& program);
void add_schema_command(Program& program);
#ifdef RWKVLAB_HAS_BENCH
void add_bench_command(Program& program);
#endif

/// CONFIG and --set, which several sub-commands take.
struct ConfigArguments {
  std::string file;
  std::vector<std::string> settings;

  void add_to(CLI::App& command);
  LoadedExperiment load() const { return load_experiment(file, settings); }
};

}  // namespace rwkvlab::cli
