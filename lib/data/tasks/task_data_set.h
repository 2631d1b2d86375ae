// Batches of generated examples; what the tasks have in common.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/data_set.h"
#include "data/tasks/draws.h"

namespace rwkvlab {

/// Makes the examples of one setting of a task. Const and without hidden state.
class TaskGenerator {
 public:
  virtual ~TaskGenerator() = default;
  /// Tokens of an example.
  virtual std::int64_t length() const = 0;
  /// Writes one example. Both spans have length(); `tokens` comes filled with 0, `targets` with no_target.
  virtual void generate(Draws& draws, std::span<std::int64_t> tokens, std::span<std::int64_t> targets) const = 0;
};

/// Examples of one setting.
struct TaskPart {
  std::string label;
  std::int64_t examples = 0;
  std::shared_ptr<const TaskGenerator> generator;
};

/// In which order the training examples come.
enum class TaskOrder {
  in_turn,   ///< an epoch passes over the sets as they are listed, always in the same order
  shuffled,  ///< an epoch passes over the same batches in an order of its own
  fresh      ///< no example comes twice; each batch is of a set drawn in the ratio of their numbers of examples
};

struct TaskDataSetParts {
  std::string kind;  ///< for describe() and the random streams
  std::shared_ptr<const Tokenizer> tokenizer;
  TaskOrder order = TaskOrder::in_turn;
  std::uint64_t seed = 0;
  std::vector<TaskPart> training, evaluation;
};

/// See TokenDataSet. A batch holds examples of one set only, so all its rows have the same length; the last batch of a
/// set has the rows that are left. Example i of a set depends on (seed, kind, training or evaluation, place of the set
/// in its list, i) alone. Held-out batches take turns between the sets, so that any number of them covers all sets.
class TaskDataSet final : public TokenDataSet {
 public:
  explicit TaskDataSet(TaskDataSetParts parts);

  const Tokenizer& tokenizer() const override { return *parts_.tokenizer; }
  Batch training_batch(std::int64_t step, std::int64_t batch, std::int64_t context) const override;
  std::int64_t training_tokens() const override;
  std::int64_t held_out_batches(std::int64_t batch, std::int64_t context, std::int64_t limit) const override;
  Batch held_out_batch(std::int64_t index, std::int64_t batch, std::int64_t context) const override;
  double bytes_per_token() const override { return 0; }
  std::string describe() const override;

 private:
  // Rows [first, first + rows) of a set.
  struct Rows {
    std::size_t part = 0;
    std::int64_t first = 0, rows = 0;
  };
  Rows training_rows(std::int64_t step, std::int64_t batch) const;
  static Batch make_batch(const TaskPart& part, const RandomStream& random, const Rows& rows);

  TaskDataSetParts parts_;
  RandomStream order_;
  std::vector<RandomStream> training_streams_, evaluation_streams_;
};

/// Image of `index` under a permutation of [0, count) that `random` and `epoch` choose; needs no memory.
std::int64_t permuted(const RandomStream& random, std::int64_t epoch, std::int64_t index, std::int64_t count);

}  // namespace rwkvlab
