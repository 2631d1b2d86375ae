// A sweep as a job array of Slurm (https://slurm.schedmd.com/job_array.html), one task per run.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rwkvlab {

struct SlurmJob {
  std::string name;
  std::string program;               ///< rwkvlab; absolute
  std::filesystem::path sweep;       ///< absolute
  std::vector<std::size_t> runs;     ///< indices into the record's runs: one task each
  int jobs = 0;                      ///< tasks at a time; 0: as many as the cluster lets
  int threads = 1;                   ///< cores of a task
  std::vector<std::string> options;  ///< further lines "#SBATCH <option>"
};

/// Throws ConfigError for what cannot be a line of the script: with a line break, or without a dash in front.
void check_slurm_options(const std::vector<std::string>& options);

/// Text of the script. Task k runs `rwkvlab run SWEEP --resume --index runs[k]`. Throws ConfigError for what a script
/// cannot hold: a line break in a folder or an option, an option that does not begin with a dash.
std::string slurm_script(const SlurmJob& job);

/// Writes SWEEP/slurm/job.sh and submits it with sbatch. Returns the job's number. Throws FileError when there is no
/// sbatch on PATH or it refuses; the message says where the script is.
std::string submit_to_slurm(const SlurmJob& job);

}  // namespace rwkvlab
