#include "run/initial_weights.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/official_checkpoint.h"
#include "run/encoder_weights.h"
#include "run/load_model.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {

// Calls `use` with the file; what does not fit is blamed on the key.
template <class Use>
void with_file(const LoadedExperiment& loaded, const std::string& hint, Use&& use) {
  const std::string& source = loaded.experiment.train.start_from;
  if (source.empty()) return;
  const Node* const key = loaded.tree.find_path("train.start_from");
  const std::string place = key == nullptr ? loaded.file.string() : key->place().position().text();
  try {
    use(open_tensor_file(weights_file(source)));
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: train.start_from: {}{}", place, error.what(), hint));
  }
}

// The same with how to read it.
template <class Use>
void with_weights(const LoadedExperiment& loaded, Use&& use) {
  const std::string hint = fmt::format("\n`rwkvlab describe {} --yaml` prints the model section that fits such a file.",
                                       loaded.experiment.train.start_from);
  with_file(loaded, hint, [&](const TensorFile& file) {
    use(file, LoadOptions{.prefix = official_prefix(file), .may_lack_initial_state = true, .must_be_finite = true});
  });
}

constexpr const char* encoder_hint =
    "\nlayers, width, patch_size, norm, layer_scale, embedding_norm, time_mix and channel_mix must be those of the "
    "masked autoencoder; token_shift may be another, but for none.";

// Whether the file holds a masked autoencoder and the model is none.
bool starts_from_encoder(const LoadedExperiment& loaded, const Module& model) {
  if (!has_image_backbone(model)) return false;
  bool found = false;
  with_file(loaded, "", [&](const TensorFile& file) { found = holds_masked_autoencoder(file); });
  return found;
}

[[noreturn]] void refuse_tokenizer(const TensorFile& file, const std::string& before, const Tokenizer& now) {
  throw DataError(
      fmt::format("'{}' {}, the data here have {} ({} tokens), so that its embedding means other pieces of text. Give "
                  "the data that tokenizer, or set train.start_with_other_tokenizer: true to start from these weights "
                  "all the same",
                  file.path().string(), before, now.kind(), now.size()));
}

// Official files do not say which tokenizer they had, but large vocabularies tell by their size.
void check_usual_tokenizer(const TensorFile& file, const Tokenizer& now) {
  const TensorEntry* const table = file.find(official_prefix(file) + "emb.weight");
  const std::int64_t tokens = table != nullptr && table->shape.rank() == 2 ? table->shape[0] : 0;
  const std::string_view usual = usual_tokenizer_kind(tokens);
  if (usual.empty() || usual == "bytes" || usual == now.kind()) return;
  refuse_tokenizer(
      file, fmt::format("has {} tokens and so was probably trained with {}", tokens, usual_tokenizer(tokens)), now);
}

// Equal numbers of tokens let weights fit that read every token as another piece of text.
void check_tokenizer(const TensorFile& file, const DataSet& data) {
  const std::string here = data.vocabulary_json();
  if (here.empty()) return;
  const auto parsed = [](const std::string& text, const std::string& place) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded()) throw DataError(fmt::format("{}: this is no JSON", place));
    return Tokenizer::from_json(json, place);
  };
  const Tokenizer now = parsed(here, "data");
  const auto stored = file.metadata().find("vocabulary");
  if (stored == file.metadata().end()) return check_usual_tokenizer(file, now);
  const Tokenizer before = parsed(stored->second, file.path().string() + ": vocabulary");
  if (before.digest() == now.digest()) return;
  refuse_tokenizer(
      file, fmt::format("was trained with another tokenizer, {} ({} tokens)", before.kind(), before.size()), now);
}

}  // namespace

void check_initial_weights(const LoadedExperiment& loaded, const Module& model, const DataSet& data) {
  if (!loaded.experiment.train.start_with_other_tokenizer) {
    with_file(loaded, "", [&](const TensorFile& file) { check_tokenizer(file, data); });
  }
  if (starts_from_encoder(loaded, model)) {
    with_file(loaded, encoder_hint, [&](const TensorFile& file) { match_encoder(model, file); });
    return;
  }
  with_weights(loaded,
               [&](const TensorFile& file, const LoadOptions& options) { check_weights(model, file, options); });
}

std::string load_initial_weights(const LoadedExperiment& loaded, Module& model) {
  std::string told;
  if (starts_from_encoder(loaded, model)) {
    with_file(loaded, encoder_hint, [&](const TensorFile& file) { told = load_encoder(model, file); });
    return told;
  }
  with_weights(loaded, [&](const TensorFile& file, const LoadOptions& options) { load_weights(model, file, options); });
  return told;
}

}  // namespace rwkvlab
