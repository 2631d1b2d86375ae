// The `log:` section of an experiment file: what the run file holds and how often.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/fields.h"

namespace rwkvlab {

/// One entry of `log.probes`: which values of the forward pass are recorded, how often and in which form.
struct ProbeParams {
  std::string match;
  std::int64_t every = 100;
  std::string as = "histogram";
  int bins = 64;
};

/// `log.profile`: which steps are profiled.
struct ProfileParams {
  std::int64_t from = 3;
  std::int64_t steps = 10;
};

struct LogParams {
  std::int64_t every = 10;
  double flush_seconds = 10;
  bool speed = false;
  std::int64_t decays_every = 100;
  std::int64_t statistics_every = 0;
  std::int64_t states_every = 0;
  std::vector<ProbeParams> probes;
  std::optional<ProfileParams> profile;
};

void describe(Fields<LogParams>& f);

/// Whether a record that is wanted every `every` steps (0: never) is due at `step`.
inline bool is_due(std::int64_t every, std::int64_t step) { return every > 0 && step % every == 0; }

}  // namespace rwkvlab
