#include "sweep/slurm.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "config/node.h"
#include "sweep/child_process.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

/// For the shell: nothing is special between single quotes.
std::string shell_quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

/// For a line that sbatch reads itself: in double quotes a backslash makes the next character an ordinary one, and in
/// names of output files two percent signs stand for one.
std::string sbatch_path(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '%') result += '%';
    result += c;
  }
  return result;
}

void check_line(const std::string& text, const char* what) {
  if (text.find_first_of("\n\r") != std::string::npos)
    throw ConfigError(fmt::format("{} {} holds a line break, which a script of Slurm cannot", what, quote(text)));
}

/// Names of jobs are for people; what could be misread is left out.
std::string job_name(const std::string& name) {
  std::string result;
  for (const char c : name) result += std::string_view(" \t\n\r\"'\\#%").find(c) != std::string_view::npos ? '_' : c;
  return "--job-name=" + result;
}

bool is_on_path(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::string rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    if (access((fs::path(rest.substr(0, colon)) / program).c_str(), X_OK) == 0) return true;
    rest.erase(0, std::min(colon + 1, rest.size()));
  }
  return false;
}

}  // namespace

void check_slurm_options(const std::vector<std::string>& options) {
  for (const std::string& line : options) {
    check_line(line, "the option");
    if (!line.starts_with('-')) {
      throw ConfigError(
          fmt::format("--slurm-option: {} is no option of sbatch; write --slurm-option=--time=1:00:00", quote(line)));
    }
  }
}

std::string slurm_script(const SlurmJob& job) {
  check_line(job.sweep.string(), "the folder");
  check_line(job.program, "the program");
  std::string text = "#!/bin/bash\n";
  const auto option = [&text](const std::string& line) { text += "#SBATCH " + line + "\n"; };
  option(job_name(job.name));
  option(fmt::format("--array=0-{}{}", job.runs.size() - 1, job.jobs > 0 ? fmt::format("%{}", job.jobs) : ""));
  option(fmt::format("--cpus-per-task={}", job.threads));
  option("--output=\"" + sbatch_path((job.sweep / "slurm").string()) + "/%A_%a.out\"");
  option("--open-mode=append");
  check_slurm_options(job.options);
  for (const std::string& line : job.options) option(line);
  text +=
      "# Each task runs or continues one run of the sweep; the numbers are those of its runs in sweep.yaml.\nruns=(";
  for (std::size_t i = 0; i < job.runs.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : " ", job.runs[i]);
  text += fmt::format(
      ")\nexec {} run {} --resume --index \"${{runs[$SLURM_ARRAY_TASK_ID]}}\" --threads "
      "\"${{SLURM_CPUS_PER_TASK:-{}}}\"\n",
      shell_quoted(job.program), shell_quoted(job.sweep.string()), job.threads);
  return text;
}

std::string submit_to_slurm(const SlurmJob& job) {
  const fs::path folder = job.sweep / "slurm", script = folder / "job.sh", answer = folder / "sbatch.txt";
  const std::string text = slurm_script(job);
  make_directories(folder);
  write_atomically(script, text);
  if (!is_on_path("sbatch")) {
    throw FileError(
        fmt::format("there is no sbatch on PATH, so nothing was submitted. The script is '{}'; where there "
                    "is Slurm, and this folder and program can be reached: sbatch {}",
                    script.string(), shell_quoted(script.string())));
  }
  std::error_code ignored;
  fs::remove(answer, ignored);
  const int code = ChildProcess({"sbatch", "--parsable", script.string()}, answer).wait();
  std::string said = read_text(answer);
  while (said.ends_with('\n')) said.pop_back();
  if (code != 0) {
    throw FileError(fmt::format("sbatch refused the script '{}': {}", script.string(),
                                said.empty() ? fmt::format("exit code {}", code) : said));
  }
  // Warnings may stand above; a cluster's name may follow the number.
  const std::string last = said.substr(said.rfind('\n') + 1);
  return last.substr(0, last.find(';'));
}

}  // namespace rwkvlab
