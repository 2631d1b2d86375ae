// The program: reads the command line, runs a sub-command, and turns errors into messages and exit codes.
#include <fmt/format.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "cli/commands.h"
#include "config/diagnostics.h"
#include "run/environment.h"

namespace rwkvlab::cli {
namespace {

constexpr const char* footer =
    "Exit codes: 0 success, 1 any other failure (also: a mismatch in verify), 2 wrong configuration or command line,\n"
    "3 wrong data, checkpoint or reference file, 4 training diverged, 130 interrupted.";

// Problems of an experiment file come with their own "file:line:column: error:".
void complain(const std::string& message) {
  const bool is_complete = message.find("error: ") != std::string::npos;
  fmt::print(stderr, "{}{}\n", is_complete ? "" : "error: ", message);
}

int run_action(const CommandLine& line) {
  try {
    return line.run();
  } catch (const ConfigError& error) {
    complain(error.what());
    return wrong_configuration;
  } catch (const DataError& error) {
    complain(error.what());
    return wrong_data;
  } catch (const NonFiniteError& error) {
    complain(error.what());
    return diverged;
  } catch (const Error& error) {
    complain(error.what());
    return failure;
  } catch (const std::bad_alloc&) {
    complain("out of memory; a smaller train.batch, train.context or model needs less (see `rwkvlab describe`)");
    return failure;
  } catch (const std::system_error& error) {
    complain(fmt::format("writing the output failed: {}", error.what()));
    return failure;
  } catch (const std::exception& error) {
    complain(
        fmt::format("{}\nThis is a mistake in rwkvlab; please report it with the command, the experiment file and "
                    "this line: {}",
                    error.what(), version_text()));
    return failure;
  }
}

// How long a thread spins before it sleeps; libgomp reads these variables before main. Spinning for long starves
// whatever else wants the core: two trainings at once on two cores ran at 1.7k tokens/s each with 50,000 turns, 6.7k
// with 1,000 and 7.3k without; a training alone at 29k, 27k and 24k.
void choose_how_threads_wait(char** arguments) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  setenv("GOMP_SPINCOUNT", "1000", 1);
  execv("/proc/self/exe", arguments);
  // Without /proc the program goes on as it is.
}

// What a training step frees beside its tensors, the next one needs again: it is not worth a page fault.
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kept_bytes = 64 << 20;
  mallopt(M_TRIM_THRESHOLD, kept_bytes);
  mallopt(M_MMAP_THRESHOLD, kept_bytes);
#endif
}

int main(int count, char** arguments) {
  // Beyond the limit of a file's size, writing then fails with a reason, as on a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  CommandLine line("rwkvlab",
                   "Experiments with RWKV-family models on CPUs: a YAML file in; trained models, logs and plots out.",
                   footer, version_text());
  const Command program = line.program();
  program.needs_command();
  add_run_command(program);
  add_check_command(program);
  add_describe_command(program);
  add_export_command(program);
  add_generate_command(program);
  add_eval_command(program);
  add_tokenize_command(program);
  add_table_command(program);
  add_plot_command(program);
  add_preview_command(program);
  add_verify_command(program);
  add_blocks_command(program);
  add_schema_command(program);
#ifdef RWKVLAB_HAS_BENCH
  add_bench_command(program);
#endif
  if (const std::string text = line.unknown_command(count, arguments); !text.empty()) {
    complain(text);
    return wrong_configuration;
  }
  if (const std::optional<int> code = line.parse(count, arguments)) return *code == 0 ? success : wrong_configuration;
  return run_action(line);
}

}  // namespace
}  // namespace rwkvlab::cli

int main(int count, char** arguments) {
  rwkvlab::cli::choose_how_threads_wait(arguments);
  rwkvlab::cli::keep_freed_memory();
  return rwkvlab::cli::main(count, arguments);
}
