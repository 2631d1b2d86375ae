#include "run/log_params.h"

namespace rwkvlab {
namespace {

void describe_probe(Fields<ProbeParams>& f) {
  f.doc("Values of the forward pass to record.");
  f.required("match", &ProbeParams::match,
             "pattern of probe paths, such as 'blocks.*.att.wkv'; '*' stands for any text, '?' for one character. "
             "`rwkvlab check` lists the paths when a pattern matches none")
      .not_empty();
  f.add("every", &ProbeParams::every, "steps between two records", at_least(1)).unit("steps");
  f.add("as", &ProbeParams::as, "form of the record",
        one_of({{"raw", "the whole tensor, float32"},
                {"histogram", "counts between the smallest and the largest value"},
                {"statistics", "mean, standard deviation, minimum, maximum and norm"}}));
  f.add("bins", &ProbeParams::bins, "bins of a histogram", between(1, 100000));
}

void describe_profile(Fields<ProfileParams>& f) {
  f.doc("Steps that are timed, operation by operation.");
  f.add("from", &ProfileParams::from, "the first of them; 1 is the first of the run, which also plans and allocates",
        at_least(1))
      .unit("steps");
  f.add("steps", &ProfileParams::steps, "how many", between(1, 1000)).unit("steps");
}

}  // namespace

void describe(Fields<LogParams>& f) {
  using P = LogParams;
  f.doc("What the run file holds and how often.");
  f.add("every", &P::every,
        "steps between two records of the training metrics; the first and last step are always recorded", at_least(1))
      .unit("steps");
  f.add("flush_seconds", &P::flush_seconds,
        "shortest time between two writes of the run file; a killed run loses at most the records since the last one",
        between(0, 86400))
      .unit("seconds");
  f.add("speed", &P::speed,
        "also record tokens per second; clock times differ, so run files of equal runs then differ too");
  f.add("decays_every", &P::decays_every,
        "steps between two records of the time decays of every layer, the start and the end included; 0: never",
        at_least(0))
      .unit("steps");
  f.add("statistics_every", &P::statistics_every,
        "steps between two records of the statistics of every parameter; 0: never", at_least(0))
      .unit("steps");
  f.add("states_every", &P::states_every,
        "steps between two records of the recurrent state after the first sequence of the batch; 0: never", at_least(0))
      .unit("steps");
  f.list("probes", &P::probes, describe_probe, "values of the forward pass to record");
  f.section(
      "profile", &P::profile, describe_profile,
      "write where the time of some steps goes to /profile of the run file and to trace.json; clock times differ, "
      "so run files of equal runs then differ too. Left out: only with `rwkvlab run --profile`");
}

}  // namespace rwkvlab
