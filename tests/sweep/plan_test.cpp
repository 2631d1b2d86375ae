// From the `sweep` section to variants: order, labels, what they set, and every mistake with its place.
#include "sweep/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "config/yaml_writer.h"
#include "run/run_folder.h"
#include "sweep/axes.h"
#include "sweep/random_search.h"
#include "sweep/run_sweep.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Plan : public testing::Test {
 protected:
  Plan() { folder_.make("text.txt", std::string(3000, 'a') + "bcd"); }

  /// A small base experiment, and `more`, in which "sweep:" begins on line 6.
  std::filesystem::path file(const std::string& more, const std::string& name = "own.yaml") const {
    return folder_.make(name,
                        "seed: 5\n"
                        "model: {layers: 1, width: 8, time_mix: {kind: rwkv4}}\n"
                        "data: {kind: text, files: [text.txt]}\n"
                        "train: {steps: 3, batch: 2, context: 8, checkpoint_every: 2}\n"
                        "eval: {every: 2}\n" +
                            more);
  }
  SweepPlan plan(const std::string& more, const std::vector<std::string>& settings = {}) const {
    return plan_sweep(read_experiment_file(file(more), settings));
  }
  std::string error(const std::string& more) const {
    return message_of<ConfigError>([&] { check_variants(plan(more)); });
  }
  static std::vector<std::string> labels(const SweepPlan& plan) {
    std::vector<std::string> result;
    for (const PlannedVariant& variant : plan.variants) result.push_back(variant.label);
    return result;
  }
  static Node value(const SweepPlan& plan, std::size_t variant, const std::string& path) {
    const Node* const found = plan.variants.at(variant).loaded.tree.find_path(path);
    return found == nullptr ? Node() : *found;
  }

  TemporaryFolder folder_;
};

TEST_F(Plan, GridMultipliesWithTheFirstAxisSlowest) {
  const SweepPlan p = plan(
      "sweep:\n"
      "  grid:\n"
      "    mixer:\n"
      "      - {label: Finch, set: {model.time_mix: {kind: rwkv6, head_size: 4}, model.channel_mix: {kind: rwkv6}}}\n"
      "      - {label: RWKV-4, set: {model.time_mix.kind: rwkv4}}\n"
      "    model.width: [8, 16]\n"
      "    train.learning_rate: [1e-3, 0.003]\n"
      "  seeds: 2\n");
  EXPECT_THAT(labels(p), ElementsAre("Finch width=8 learning_rate=0.001", "Finch width=8 learning_rate=0.003",
                                     "Finch width=16 learning_rate=0.001", "Finch width=16 learning_rate=0.003",
                                     "RWKV-4 width=8 learning_rate=0.001", "RWKV-4 width=8 learning_rate=0.003",
                                     "RWKV-4 width=16 learning_rate=0.001", "RWKV-4 width=16 learning_rate=0.003"));
  EXPECT_THAT(p.record.axes, ElementsAre("mixer", "model.width", "train.learning_rate"));
  ASSERT_EQ(p.record.runs.size(), 16U);
  const SweepRun& run = p.record.runs[5];
  EXPECT_EQ(run.variant, "Finch width=16 learning_rate=0.001");
  EXPECT_EQ(run.seed, 6U) << "the seed of the file and the next ones";
  EXPECT_EQ(run.folder, "runs/Finch-width=16-learning_rate=0.001/seed-6");
  EXPECT_EQ(run.axes[0].value, Node("Finch"));
  EXPECT_EQ(run.axes[1].value, Node(16));
  EXPECT_EQ(run.axes[2].label, "0.001");
  EXPECT_EQ(value(p, 2, "model.time_mix.kind"), Node("rwkv6"));
  EXPECT_EQ(value(p, 2, "model.time_mix.head_size"), Node(4));
  EXPECT_EQ(value(p, 2, "model.width"), Node(16));
  EXPECT_EQ(value(p, 7, "model.time_mix.kind"), Node("rwkv4"));
  EXPECT_EQ(p.variants[2].file.find("seed"), nullptr);
  EXPECT_EQ(p.record.experiment.find("sweep"), nullptr);
}

TEST_F(Plan, SizesOfAllSectionsMultiply) {
  for (const int a : {1, 2, 3})
    for (const int b : {1, 2})
      for (const int c : {0, 1, 4}) {
        const auto list = [](int n, int first) {
          std::string text = "[";
          for (int i = 0; i < n; ++i) text += (i == 0 ? "" : ", ") + std::to_string(first + i);
          return text + "]";
        };
        std::string text = "sweep: {grid: {model.width: " + list(a, 8) + "}, zip: {train.batch: " + list(b, 1) +
                           ", train.context: " + list(b, 8) + "}";
        if (c > 0)
          text +=
              ", random: {count: " + std::to_string(c) + ", over: {train.learning_rate: {log_uniform: [1e-4, 1e-2]}}}";
        const SweepPlan p = plan(text + ", list: [{label: A, set: {eval.every: 1}}, {label: B}]}\n");
        const auto expected = static_cast<std::size_t>(a * b * std::max(c, 1) * 2);
        EXPECT_EQ(p.variants.size(), expected) << text;
        const std::vector<std::string> all = labels(p);
        EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), expected);
      }
  EXPECT_EQ(combinations({std::uint64_t{1} << 40, std::uint64_t{1} << 40}), ~std::uint64_t{0});
  EXPECT_EQ(combinations({3, 0}), 0U);
}

TEST_F(Plan, ZipVariesTogetherAndLabelsAreTemplates) {
  const SweepPlan p =
      plan("sweep: {zip: {model.width: [8, 16], train.batch: [4, 2]}, seeds: [9, 3], label: \"w/{model.width}!\"}\n");
  EXPECT_THAT(labels(p), ElementsAre("w/8!", "w/16!"));
  EXPECT_EQ(value(p, 1, "train.batch"), Node(2));
  EXPECT_EQ(p.record.runs[0].seed, 9U);
  EXPECT_EQ(p.record.runs[3].folder, "runs/w-16/seed-3");
  EXPECT_THAT(labels(plan("sweep: {list: [{label: 5, set: {eval.every: 1}}, {label: 0.5}]}\n")),
              ElementsAre("5", "0.5"));
  EXPECT_TRUE(matches_label("w/16!", "w*"));
  EXPECT_TRUE(matches_label(".hidden", "*"));
  EXPECT_FALSE(matches_label("w/16!", "w"));
}

TEST_F(Plan, TheOrderOfSettingsDoesNotMatter) {
  // The kind comes last in the file, and still does not wipe what another axis sets in its block.
  const SweepPlan p =
      plan("sweep: {grid: {model.time_mix.head_size: [4, 8], m: [{label: a, set: {model.time_mix.kind: rwkv6}}]}}\n");
  EXPECT_EQ(value(p, 1, "model.time_mix.kind"), Node("rwkv6"));
  EXPECT_EQ(value(p, 1, "model.time_mix.head_size"), Node(8));
}

TEST(Labels, NumbersAreShort) {
  EXPECT_EQ(value_label(Node(1e6)), "1000000");
  EXPECT_EQ(value_label(Node(1e-3)), "0.001");
  EXPECT_EQ(value_label(Node(10)), "10");
}

TEST_F(Plan, SeedsAloneAreASweepAndSettingsReachIt) {
  const SweepPlan p = plan("sweep: {seeds: 2}\n", {"sweep.seeds=3", "train.steps=7"});
  EXPECT_THAT(labels(p), ElementsAre("base"));
  EXPECT_EQ(p.record.runs.size(), 3U);
  EXPECT_EQ(value(p, 0, "train.steps"), Node(7));
}

TEST_F(Plan, PathsOfVariantsAreAbsolute) {
  folder_.make("sub/other.txt", std::string(3000, 'x'));
  const SweepPlan p = plan("sweep: {grid: {data.files: [[sub/other.txt], [text.txt]]}}\n");
  EXPECT_EQ(value(p, 0, "data.files").list()[0].string(), (folder_ / "sub/other.txt").string());
  EXPECT_EQ(p.record.runs[0].settings.find("data.files")->list()[0].string(), (folder_ / "sub/other.txt").string());
  EXPECT_EQ(plan_sweep(p.record).variants[0].loaded.tree, p.variants[0].loaded.tree);
  EXPECT_THAT(message_of<DataError>([&] { plan("sweep: {grid: {data.files: [[gone.txt]]}}\n"); }),
              HasSubstr("own.yaml:6:30: error: no such file"));
}

TEST_F(Plan, RandomSearchKeepsWhatItHasDrawn) {
  const std::string over =
      "over: {train.learning_rate: {log_uniform: [1e-4, 1e-2]}, train.batch: {choice: [2, 4]}, "
      "model.dropout: {uniform: [0, 0.2]}, model.layers: {integer: [1, 3]}}";
  const SweepPlan few = plan("sweep: {random: {count: 5, seed: 3, " + over + "}}\n");
  const SweepPlan many = plan("sweep: {random: {count: 9, seed: 3, " + over + "}}\n");
  ASSERT_EQ(many.variants.size(), 9U);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(few.variants[i].label, many.variants[i].label);
  EXPECT_NE(few.variants[0].label, plan("sweep: {random: {count: 1, seed: 4, " + over + "}}\n").variants[0].label);
  for (std::size_t i = 0; i < 9; ++i) {
    const double rate = value(many, i, "train.learning_rate").number();
    EXPECT_GE(rate, 1e-4);
    EXPECT_LE(rate, 1e-2);
    EXPECT_LE(value(many, i, "model.layers").integer(), 3);
  }
  EXPECT_THAT(error("sweep: {random: {count: 5, over: {train.batch: {choice: [2, 4]}}}}\n"),
              AllOf(HasSubstr("own.yaml:6:25"), HasSubstr("only 2 different ones")));
}

TEST(RandomSearch, DrawsCoverTheirRange) {
  RandomRange log;
  log.log_uniform = {1e-4, 1e-2};
  RandomRange whole;
  whole.integer = {-1, 1};
  int below = 0;
  std::set<std::int64_t> seen;
  // Half of the draws lie below the geometric mean: 500 of 1000 with a deviation of 16; 80 is five of them.
  for (std::uint64_t i = 0; i < 1000; ++i) {
    below += draw_value(log, 1, "a", i).number() < 1e-3 ? 1 : 0;
    seen.insert(draw_value(whole, 1, "b", i).integer());
  }
  EXPECT_NEAR(below, 500, 80);
  EXPECT_THAT(seen, ElementsAre(-1, 0, 1));
}

TEST_F(Plan, UnknownPathsAreNamedOnceWithTheNearest) {
  const std::string text = error("sweep:\n  grid:\n    modle.width: [8, 16, 32]\n    train.stesp: [3]\n");
  EXPECT_THAT(text, AllOf(HasSubstr("own.yaml:8:5: error: unknown key 'modle'"), HasSubstr("'model'"),
                          HasSubstr("own.yaml:9:11: error: unknown key 'stesp'"), HasSubstr("'steps'")));
  EXPECT_EQ(text.find("'modle'"), text.rfind("unknown key 'modle'") + 12) << "each problem once\n" << text;
  EXPECT_THAT(error("sweep: {grid: {model.width: [8, wide, -1]}}\n"),
              AllOf(HasSubstr("own.yaml:6:33: error: 'width' must be an integer, found string 'wide'"),
                    HasSubstr("variant: 'width=wide'"), HasSubstr("own.yaml:6:39")));
  EXPECT_THAT(error("sweep: {list: [{label: a, set: {model: {time_mix: {kind: rwkv66}}}}]}\n"),
              AllOf(HasSubstr("own.yaml:6:58"), HasSubstr("unknown kind 'rwkv66'"), HasSubstr("did you mean")));
  EXPECT_THAT(error("sweep: {grid: {model.width.x: [1]}}\n"), HasSubstr("so it has no key 'x'"));
}

TEST_F(Plan, WhatShowsOnlyWhenAVariantIsBuiltNamesIt) {
  const std::string text = error(
      "sweep:\n"
      "  grid:\n"
      "    m: [{label: a, set: {model.time_mix.kind: rwkv6}}]\n"
      "    model.time_mix.head_size: [8, 7]\n"
      "    train.context: [8, 100000]\n");
  EXPECT_THAT(text, AllOf(HasSubstr("head_size"), HasSubstr("variant: 'a head_size=7 context=8', which sets"),
                          HasSubstr("own.yaml:9:35)"), HasSubstr("variant: 'a head_size=8 context=100000' and 1 more")))
      << "wrong models and wrong data, both";
  EXPECT_THAT(message_of<DataError>([&] { check_variants(plan("sweep: {grid: {train.context: [8, 100000]}}\n")); }),
              AllOf(HasSubstr("variant: 'context=100000', which sets train.context ("), HasSubstr("own.yaml:6:35)")));
}

TEST_F(Plan, MistakesOfTheSectionAreNamedWithTheirPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"sweep: {}\n", "at least one of 'grid'"},
      {"sweep: 3\n", "own.yaml:6:8: error: 'sweep' must be a map"},
      {"sweep: {grdi: {}}\n", "did you mean 'grid'"},
      {"sweep: {grid: {}}\n", "own.yaml:6:9: error: 'grid' has no axis"},
      {"sweep: {grid: [1]}\n", "must be a map of axes"},
      {"sweep: {grid: {model.width: []}}\n", "own.yaml:6:16: error: the axis 'model.width' must be a list"},
      {"sweep: {grid: {model.width: 8}}\n", "found integer 8"},
      {"sweep: {zip: {model.width: [8, 16], train.batch: [1]}}\n", "'model.width' has 2 values, 'train.batch' has 1"},
      {"sweep: {grid: {m: [{label: a, set: {eval.every: 1}}, 3]}}\n", "mixes labelled values"},
      {"sweep: {grid: {m: [{set: {eval.every: 1}}]}}\n", "needs a label"},
      {"sweep: {grid: {m: [{label: a, sett: 1, set: {}}]}}\n", "unknown key 'sett'"},
      {"sweep: {list: [{set: {eval.every: 1}}]}\n", "a value of 'variant' needs a label"},
      {"sweep: {list: [{label: [5]}]}\n", "own.yaml:6:24: error: a value of 'variant' needs a label"},
      {"sweep: {grid: {model.width: [8, 8]}}\n", "two variants have the label 'width=8'"},
      {"sweep: {list: [{label: a}, {label: a, set: {eval.every: 1}}]}\n", "two variants have the label 'a'"},
      {"sweep: {grid: {model.width: [8, 16]}, label: same}\n", "own.yaml:6:46: error: two variants have the label"},
      {"sweep: {grid: {model.width: [8]}, label: \"{model.widht}\"}\n", "(did you mean 'model.width'?)"},
      {"sweep: {grid: {model.width: [8]}, label: \"{model.width\"}\n", "has no partner"},
      {"sweep: {grid: {model.width: [8]}, list: [{label: a, set: {model.width: 4}}]}\n",
       "'model.width' is set twice: the axis 'model.width' sets"},
      {"sweep: {grid: {model.time_mix: [null], model.time_mix.kind: [rwkv4]}}\n", "is set twice"},
      {"sweep: {grid: {model.width: [8]}, zip: {model.width: [8]}}\n", "the axis 'model.width' is there twice"},
      {"sweep: {grid: {seed: [1, 2]}}\n", "write the seeds under sweep.seeds"},
      {"sweep: {grid: {name: [a]}}\n", "a variant cannot set 'name'"},
      {"sweep: {seeds: 0}\n", "'seeds' must be 1 to 1000"},
      {"sweep: {seeds: [1, 1]}\n", "the seed 1 is there twice"},
      {"sweep: {seeds: [-1]}\n", "own.yaml:6:17: error: a seed must be an integer of 0 or more"},
      {"sweep: {random: {count: 2, over: {train.batch: {integer: [4, 2]}}}}\n", "'integer' runs backwards"},
      {"sweep: {random: {count: 2, over: {train.batch: {log_uniform: [0, 2]}}}}\n", "above 0"},
      {"sweep: {random: {count: 2, over: {train.batch: {}}}}\n", "exactly one of"},
      {"sweep: {random: {count: 2, over: {}}}\n", "'over' is missing or empty"},
      {"sweep: {random: {count: 2}}\n", "own.yaml:6:9: error: the key 'over' is missing"},
      {"sweep: {random: {count: 2, over: {model.width: {uniform: [8, 32]}}}}\n",
       "own.yaml:6:48: error: 'width' must be an integer, found number"},
      {"sweep: {random: {count: 0, over: {train.batch: {choice: [1]}}}}\n", "at least 1"},
      {"sweep: {seeds: 2, best_of: {over: train.batch, metric: eval/loss}}\n", "which is no axis of the sweep"},
      {"sweep: {seeds: 2}\ntable: {rows: mixer}\n", "own.yaml:7:15: error: 'rows' names 'mixer'"},
      {"sweep: {seeds: 2}\ntable: {shwo: runs}\n", "did you mean 'show'"},
  };
  for (const auto& [text, message] : cases) EXPECT_THAT(error(text), HasSubstr(message)) << text;
}

TEST_F(Plan, AMillionVariantsNeedALimit) {
  std::string list = "[1";
  for (int i = 2; i <= 100; ++i) list += ", " + std::to_string(i);
  list += "]";
  const std::string grid = "grid: {model.width: " + list + ", train.batch: " + list + ", train.steps: " + list + "}";
  EXPECT_THAT(error("sweep: {" + grid + "}\n"),
              AllOf(HasSubstr("own.yaml:6:"), HasSubstr("1,000,000 runs, more than its limit of 1,000"),
                    HasSubstr("raise sweep.limit")));
  EXPECT_EQ(plan("sweep: {limit: 3, grid: {model.width: [8, 9, 10]}}\n").variants.size(), 3U);
  EXPECT_THAT(error("sweep: {limit: 3, random: {count: 4, over: {train.batch: {integer: [1, 9]}}}}\n"),
              HasSubstr("4 runs"));
  EXPECT_THAT(error("sweep: {seeds: 1000, grid: {model.width: [8, 9]}}\n"),
              HasSubstr("2,000 runs (2 variants with 1,000 seeds each), more than"));
  EXPECT_THAT(sweep_summary(plan("sweep: {seeds: 1000}\n")), HasSubstr("base  (seed 5, 6, ..., 1004: 1000 seeds)\n"));
}

TEST_F(Plan, AContinuedSweepMayGrowAndNothingElse) {
  const auto continued = [&](const std::string& before, const std::string& after,
                             const std::vector<std::string>& settings = {}) {
    const SweepPlan old = plan(before);
    SweepPlan now = plan(after, settings);
    continue_sweep(now, old.record);
    return now;
  };
  const std::string two = "sweep: {grid: {model.width: [8, 16]}, seeds: 2}\n";
  const SweepPlan grown = continued(two, "sweep: {grid: {model.width: [4, 8, 16]}, seeds: 3}\n", {"log.every=9"});
  EXPECT_EQ(grown.record.runs.size(), 9U);
  EXPECT_THAT(message_of<ConfigError>([&] { continued(two, "sweep: {grid: {model.width: [8]}, seeds: 2}\n"); }),
              HasSubstr("variant 'width=16' is gone"));
  EXPECT_THAT(message_of<ConfigError>([&] { continued(two, "sweep: {grid: {model.width: [8, 16]}}\n"); }),
              HasSubstr("variant 'width=8': seed 6 is gone"));
  EXPECT_THAT(message_of<ConfigError>([&] { continued(two, two, {"train.batch=7"}); }),
              HasSubstr("variant 'width=8': train.batch: 2 -> 7"));
  EXPECT_THAT(message_of<ConfigError>([&] { continued(two, two, {"train.steps=2"}); }),
              HasSubstr("train.steps: 3 -> 2"));
  EXPECT_THAT(message_of<ConfigError>([&] { continued(two, two, {"train.steps=9"}); }),
              AllOf(HasSubstr("variant 'width=8': train.steps: 3 -> 9"), HasSubstr("new sweep")))
      << "seeds that went on after a shorter schedule are not those of a fresh run";
  // Folders stay with their labels, also when a new variant would have taken the name.
  const SweepPlan odd = continued("sweep: {list: [{label: a b}]}\n", "sweep: {list: [{label: a/b}, {label: a b}]}\n");
  EXPECT_EQ(odd.variants[1].folder, "a-b");
  EXPECT_EQ(odd.variants[0].folder, "a-b-2");
}

TEST_F(Plan, ARunThatReachedItsGoalEarlyIsDone) {
  const SweepPlan p = plan("sweep: {seeds: 2}\n");
  const SweepRun& run = p.record.runs[0];
  EXPECT_EQ(run_state(folder_.path(), run), RunState::missing);
  folder_.make((run.folder / "resolved.yaml").string(), "");
  write_run_status(folder_ / run.folder, {"interrupted", 2, 3, "", 0}, "");
  EXPECT_EQ(run_state(folder_.path(), run), RunState::interrupted);
  write_run_status(folder_ / run.folder, {"done", 2, 3, "", 0}, "");
  EXPECT_EQ(run_state(folder_.path(), run), RunState::done);
}

// The program is a script: run 5 takes the folder of run 6, and run 7 finds that another has taken its own.
TEST_F(Plan, RunsThatAnotherProcessTakesAreLeftToIt) {
  SweepPlan p = plan("sweep: {seeds: 3}\n");
  const SweepFolder sweep = SweepFolder::create(folder_ / "sweep", p);
  const std::string here = folder_.path().string();
  folder_.make("held", "");
  SweepOptions options;
  options.program = folder_.make("program",
                                 "#!/bin/bash\n"
                                 "take() {\n"
                                 "  mkdir -p \"$1\"\n"
                                 "  flock \"$1\" bash -c \"while [ -e '" +
                                     here +
                                     "/held' ]; do sleep 0.01; done\" &\n"
                                     "  while flock --nonblock \"$1\" true; do sleep 0.01; done\n"
                                     "}\n"
                                     "echo \"$4\" >>'" +
                                     here +
                                     "/calls'\n"
                                     "if [ \"$4\" = seed=5 ]; then take \"$(dirname \"$6\")/seed-6\"; exit 0; fi\n"
                                     "take \"$6\"\n"
                                     "exit 2\n");
  chmod(options.program.c_str(), 0755);
  options.output = -1;
  const SweepOutcome outcome = run_sweep(sweep, p, options);
  EXPECT_EQ(outcome.done, 1);
  EXPECT_EQ(outcome.failed, 2);
  EXPECT_EQ(read_text(folder_ / "calls"), "seed=5\nseed=7\n");
  EXPECT_FALSE(std::filesystem::exists(sweep.path() / p.record.runs[2].folder / "status.json"))
      << "the status belongs to the process that has the folder";
  std::filesystem::remove(folder_ / "held");
}

}  // namespace
}  // namespace rwkvlab
