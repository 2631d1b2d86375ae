// Sequences that grow token by token: a prompt in the time-parallel form, then one token per step from a carried state.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/language_model.h"
#include "models/weight_format.h"

namespace rwkvlab {

/// Where sequences stand: the model's state after some tokens, and what it says about the next one.
struct GenerationState {
  State state;  ///< pieces [sequences, ...]
  /// [sequences, vocabulary], of the token after the last; undefined before the first, as in a tuned initial state.
  Tensor logits;
  std::int64_t tokens = 0;  ///< that were read, in each sequence
};

/// Some sequences of one length that are continued together: the weights are read once for all. Memory does not grow
/// with the tokens, but for models with a cache (Module::state_pieces, StatePiece::grows). Results do not depend on how
/// many threads there are; nor on how many sequences, up to kernels::few_rows and with stored weights.
class Generator {
 public:
  /// A model with memory, in float32. `stored`: from store_weights(); null: the weights as they are. Both must outlive
  /// the generator. Throws ConfigError for a model that cannot carry a state.
  explicit Generator(const LanguageModel& model, const StoredWeights* stored = nullptr, std::int64_t sequences = 1);

  std::int64_t sequences() const { return sequences_; }
  const GenerationState& state() const { return at_; }
  /// Goes on from there, with as many sequences as it has. Throws ShapeError when it is of another model.
  void set_state(GenerationState state);
  /// state(), given up: nobody else holds it then, so that whoever goes on from it may overwrite it.
  GenerationState release_state() { return std::exchange(at_, {}); }

  /// Reads the same tokens in all sequences, some hundreds at a time in the time-parallel form; only the last needs
  /// logits. Throws DataError for a token outside the vocabulary.
  void read(std::span<const std::int64_t> tokens);
  /// Reads one token in each sequence. What the state has of it is written over what it had before, where nobody else
  /// holds that (nn/overwritten_state.h): after an exception the state is of no use.
  void step(std::span<const std::int64_t> tokens);

  /// What is said about the token after the last. Throws DataError before the first token.
  std::span<const float> logits(std::int64_t sequence) const;

  /// Whether sequences of different lengths can be continued together: their states have the same shape.
  static bool mixes_lengths(const LanguageModel& model);

 private:
  void forward(const Tensor& tokens, bool wants_logits);

  const LanguageModel* model_;
  const StoredWeights* stored_;
  std::int64_t sequences_;
  GenerationState at_;
};

/// Whether a value may be that piece of the state of so many sequences; those that grow may have any number of rows.
bool fits(const StatePiece& piece, const Shape& value, std::int64_t sequences);

/// The first row of each, `copies` times one after the other: prompts that were read one by one, to be continued
/// together. `tokens` is the most of them. Throws ShapeError when their pieces differ in shape.
GenerationState stacked(std::span<const GenerationState> states, std::int64_t copies = 1);

/// Writes a safetensors file: the pieces under their names, "logits", and in the metadata what they belong to.
void save_state(const GenerationState& state, const LanguageModel& model, std::uint64_t fingerprint,
                const std::string& path);
/// Reads it back. Throws DataError for a file that is no state, or of another model or of other weights (the
/// fingerprint of weights_fingerprint()).
GenerationState load_state(const LanguageModel& model, std::uint64_t fingerprint, const std::string& path);

}  // namespace rwkvlab
