// What the training loop asks of data: batches as a pure function of the seed and the step. Here the batches of tokens;
// those of images are in data/image_data_set.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "config/registry.h"
#include "data/tokenizer.h"
#include "tensor/tensor.h"

namespace rwkvlab {

/// Target of a position that has none: padding behind the end of the held-out text. Losses skip it.
inline constexpr std::int64_t no_target = -1;

/// Rows of text, whose targets are the tokens, moved by one place; or examples of a task, whose targets are the
/// answers.
struct Batch {
  Tensor tokens;                       ///< int64 [batch, time], each in [0, vocabulary)
  Tensor targets;                      ///< int64 [batch, time], or no_target
  std::int64_t source_bytes = 0;       ///< bytes of text that the targets stand for; bits per byte divides by them
  std::int64_t source_characters = 0;  ///< UTF-8 characters of it: those that begin among the targets
  bool carries_state = false;  ///< each row continues the same row of the previous step, so state may be carried
  bool is_task = false;        ///< each row is an example of its own: a state must not pass from one to another
  std::string evaluation_set;  ///< of a held-out batch: the set it belongs to; empty when there is only one
};

/// Everything but the data itself that a data set is built from.
struct DataSite {
  std::filesystem::path folder;  ///< relative file names in the YAML start here: the folder of that YAML file
  std::uint64_t seed = 0;
};

/// A source of batches, of tokens or of images. Const and without hidden state: the same seed and step give the same
/// batch on every machine, so a resumed run needs to remember nothing but its step. Calls from several threads are
/// safe.
class DataSet {
 public:
  virtual ~DataSet() = default;
  /// One line for the log: what it is and how much of it there is.
  virtual std::string describe() const = 0;
  /// How the data's text becomes tokens, as JSON for checkpoints (Tokenizer::from_json); empty where there is no text.
  virtual std::string vocabulary_json() const { return ""; }
};

/// Sequences of tokens: text, or examples of a task.
class TokenDataSet : public DataSet {
 public:
  /// How tokens and text turn into each other. Store it beside a checkpoint (save_vocabulary): a model is useless
  /// without.
  virtual const Tokenizer& tokenizer() const = 0;
  /// Number of different tokens.
  std::int64_t vocabulary() const { return tokenizer().size(); }

  /// The batch of one step (from 0). Throws DataError when the text is too short for one row of `context` tokens. The
  /// rows of a task have their own length, and there may be fewer than `batch` of them where a set of examples ends;
  /// ConfigError when they are longer than `context`.
  virtual Batch training_batch(std::int64_t step, std::int64_t batch, std::int64_t context) const = 0;
  /// Tokens of training text, or of all training examples.
  virtual std::int64_t training_tokens() const = 0;

  /// Number of batches that cover the held-out text once, at most `limit` (0: no limit); 0 without held-out text.
  virtual std::int64_t held_out_batches(std::int64_t batch, std::int64_t context, std::int64_t limit = 0) const = 0;
  /// One of them: consecutive windows of the held-out text that do not overlap. Every token is a target exactly once;
  /// behind the end, targets are no_target. The last batch has only the rows that are left. The rows of a task have
  /// their own length, whatever `context` says.
  virtual Batch held_out_batch(std::int64_t index, std::int64_t batch, std::int64_t context) const = 0;

  /// Mean number of bytes that a token of the training text stands for; 0 for tasks, which are no text.
  virtual double bytes_per_token() const = 0;
  std::string vocabulary_json() const override;

  /// Writes tokenizer().json() to a file, atomically.
  void save_vocabulary(const std::filesystem::path& path) const;
};

/// The slot of kinds of data sets in the experiment file. Build one with
/// build_kind<DataSet, DataSite>(data_slot, choice, site).
inline constexpr const char* data_slot = "data";

/// The data as tokens. Throws ConfigError when it is made of something else.
const TokenDataSet& token_data(const DataSet& data);
/// Builds data of the slot that must be made of tokens; throws as token_data does.
std::unique_ptr<TokenDataSet> build_token_data(const Choice& choice, const DataSite& site);

}  // namespace rwkvlab
