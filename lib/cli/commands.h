// The sub-commands of the program. Each file of this folder adds one; main.cpp runs the one that was named.
#pragma once

#include <string>
#include <vector>

#include "cli/command_line.h"
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

void add_run_command(const Command& program);
void add_check_command(const Command& program);
void add_describe_command(const Command& program);
void add_export_command(const Command& program);
void add_generate_command(const Command& program);
void add_eval_command(const Command& program);
void add_tokenize_command(const Command& program);
void add_plot_command(const Command& program);
void add_preview_command(const Command& program);
void add_table_command(const Command& program);
void add_verify_command(const Command& program);
void add_blocks_command(const Command& program);
void add_schema_command(const Command& program);
#ifdef RWKVLAB_HAS_BENCH
void add_bench_command(const Command& program);
#endif

/// CONFIG and --set, which several sub-commands take.
struct ConfigArguments {
  std::string file;
  std::vector<std::string> settings;

  void add_to(const Command& command);
  LoadedExperiment load() const { return load_experiment(file, settings); }
};

}  // namespace rwkvlab::cli
