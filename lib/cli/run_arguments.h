// What the command line of `rwkvlab run` says, for a single run and for a sweep.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"

namespace rwkvlab::cli {

struct RunArguments {
  ConfigArguments config;
  std::string out;
  bool resume = false;
  bool no_figures = false;
  bool profile = false;
  bool quiet = false;
  int threads = 0;
  int with_parent = 0;  ///< the process that must live; 0: none
  // Of sweeps.
  int jobs = 0;
  std::string only;
  std::string launcher;
  std::vector<std::string> slurm_options;
  std::optional<std::uint64_t> index;
};

/// Whether the file, folder or record that the command line names is a sweep. Throws ConfigError as reading it does.
bool asks_for_sweep(const RunArguments& arguments);

/// Runs a sweep, one run of it (--index), or submits it. Returns the exit code.
int run_sweep_command(const RunArguments& arguments);

/// Prints to standard output. A reader that has gone away, or a full disk, must not spoil a finished training.
template <class... Values>
void say(fmt::format_string<Values...> text, Values&&... values) {
  std::fputs(fmt::format(text, std::forward<Values>(values)...).c_str(), stdout);
}

}  // namespace rwkvlab::cli
