// What the YAML of all generated tasks has in common.
//
//     struct Set : TaskSet {
//       std::int64_t length = 64;
//       std::string name() const { return fmt::format("length_{}", length); }
//     };
//     struct Params : TaskParams<Set> { int symbols = 16; };
//     // Empty, or what is wrong with a set.
//     std::string problem(const Params& p, const Set& set);
//
//     void describe(Fields<Params>& f) {
//       f.doc("...");
//       f.add("symbols", ...);
//       describe_sets(f, [](Fields<Set>& s) { s.add("length", ...); }, problem);
//     }
//     return make_task("my_task", params, site, tokenizer, [&](const Set& set) { return generator; });
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/base_members.h"
#include "config/fields.h"
#include "data/tasks/task_data_set.h"

namespace rwkvlab {

inline constexpr std::int64_t default_training_examples = 100000, default_evaluation_examples = 1000;
inline constexpr std::int64_t longest_example = 1 << 20;

/// Base of one setting of a task; the derived struct has `name()`, its label unless YAML gives one.
struct TaskSet {
  std::int64_t examples = 0;  ///< 0: default_training_examples or default_evaluation_examples
  std::string label;
};

/// Base of the parameters of a task.
template <class Set>
struct TaskParams {
  std::vector<Set> train;  ///< empty: one set with the defaults
  std::vector<Set> eval;   ///< empty: the training sets, with other examples
  std::string order = "in_turn";
  std::optional<std::uint64_t> seed;

  std::vector<Set> training_sets() const { return train.empty() ? std::vector<Set>(1) : train; }
  std::vector<Set> evaluation_sets() const {
    std::vector<Set> sets = eval.empty() ? training_sets() : eval;
    for (Set& set : sets) {
      if (eval.empty() || set.examples == 0) set.examples = default_evaluation_examples;
    }
    return sets;
  }
};

template <class Set>
std::string label_of(const Set& set) {
  return set.label.empty() ? set.name() : set.label;
}

/// The words "0", "1", ... as tokens 0, 1, ..., and then `others`.
std::shared_ptr<const Tokenizer> number_words(std::int64_t count, const std::vector<std::string>& others = {});

/// The word of YAML. BugError for another one.
TaskOrder task_order_named(std::string_view name);

/// A label becomes a part of the name of a metric. Empty, or what is wrong.
std::string problem_of_label(const std::string& label);

namespace task_internal {

template <class Params, class Set>
std::string problem_of_sets(const Params& p, const std::vector<Set>& sets, const char* key,
                            std::string (*problem)(const Params&, const Set&)) {
  std::set<std::string> labels;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    std::string found = problem(p, sets[i]);
    if (found.empty()) found = problem_of_label(label_of(sets[i]));
    if (found.empty() && !labels.insert(label_of(sets[i])).second) {
      found = fmt::format("another set is called '{}' too; give one of them a label of its own", label_of(sets[i]));
    }
    if (!found.empty()) return fmt::format("{}.{}: {}", key, i, found);
  }
  return "";
}

}  // namespace task_internal

/// Declares train, eval, order and seed. `describe_set` declares the fields of a set that the task itself has;
/// `problem` tells what is wrong with a set, if anything.
template <class Params, class Set>
void describe_sets(Fields<Params>& f, void (*describe_set)(Fields<Set>&),
                   std::string (*problem)(const Params&, const Set&)) {
  const auto describe_whole_set = [describe_set](Fields<Set>& s) {
    describe_set(s);
    s.add("examples", own<Set>(&TaskSet::examples),
          fmt::format("number of examples; 0: {} for training, {} for evaluation", default_training_examples,
                      default_evaluation_examples),
          between(0, 1e9));
    s.add("label", own<Set>(&TaskSet::label), "name in the results; empty: made of the settings");
  };
  f.list("train", own<Params>(&TaskParams<Set>::train), describe_whole_set,
         "training sets; a batch holds examples of one of them; left out: one set with the defaults");
  f.list("eval", own<Params>(&TaskParams<Set>::eval), describe_whole_set,
         "evaluation sets, of any length; accuracy is reported for each; left out: the settings of the training sets, "
         "with other examples");
  f.add("order", own<Params>(&TaskParams<Set>::order), "how the training examples come",
        one_of({{"in_turn", "an epoch passes over the sets as they are listed, every epoch in the same order"},
                {"shuffled", "an epoch passes over the same batches, each epoch in an order of its own"},
                {"fresh", "no example comes twice; `examples` is the share of a set"}}));
  f.add("seed", own<Params>(&TaskParams<Set>::seed),
        "seed of the examples; left out: that of the experiment, so that runs with other seeds see other examples");
  f.check([problem](const Params& p) { return task_internal::problem_of_sets(p, p.training_sets(), "train", problem); },
          "train");
  f.check(
      [problem](const Params& p) {
        return p.eval.empty() ? std::string() : task_internal::problem_of_sets(p, p.eval, "eval", problem);
      },
      "eval");
}

/// The data set; `make_generator` makes the TaskGenerator of a set.
template <class Params, class MakeGenerator>
std::unique_ptr<DataSet> make_task(std::string kind, const Params& p, const DataSite& site,
                                   std::shared_ptr<const Tokenizer> tokenizer, MakeGenerator make_generator) {
  TaskDataSetParts parts;
  parts.kind = std::move(kind);
  parts.tokenizer = std::move(tokenizer);
  parts.order = task_order_named(p.order);
  parts.seed = p.seed.value_or(site.seed);
  for (const auto& set : p.training_sets()) {
    const std::int64_t examples = set.examples == 0 ? default_training_examples : set.examples;
    parts.training.push_back({label_of(set), examples, make_generator(set)});
  }
  for (const auto& set : p.evaluation_sets()) {
    parts.evaluation.push_back({label_of(set), set.examples, make_generator(set)});
  }
  return std::make_unique<TaskDataSet>(std::move(parts));
}

}  // namespace rwkvlab
