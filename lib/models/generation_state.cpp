// The file of a state: what it holds, and to which model it belongs.
#include <fmt/format.h>

#include <charconv>

#include "base/error.h"
#include "models/generator.h"
#include "tensor/safetensors.h"

namespace rwkvlab {
namespace {

constexpr const char* format_name = "rwkvlab-state-1";
constexpr const char* logits_name = "logits";

// So many that every number up to it is exact in JSON, and sums with it stay far below the largest integer.
constexpr std::int64_t most_tokens = std::int64_t{1} << 53;

std::int64_t number(const SafetensorsFile& file, const char* key) {
  const std::string& text = file.metadata(key);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most_tokens) {
    throw DataError(fmt::format("{}: the metadata's '{}' is '{}', expected a number from 0 to {}", file.path().string(),
                                key, text, most_tokens));
  }
  return value;
}

void check_origin(const SafetensorsFile& file, const LanguageModel& model, std::uint64_t fingerprint) {
  const auto found = file.metadata().find("format");
  if (found == file.metadata().end() || found->second != format_name) {
    throw DataError(fmt::format("{}: this is no state; expected a file that --save-state wrote", file.path().string()));
  }
  if (file.metadata("model") != model.summary()) {
    throw DataError(fmt::format("{}: the state belongs to another model ({}); this one is {}", file.path().string(),
                                file.metadata("model"), model.summary()));
  }
  if (file.metadata("weights") != fmt::format("{:016x}", fingerprint)) {
    throw DataError(
        fmt::format("{}: the state belongs to other weights of this shape; read the prompt again with these",
                    file.path().string()));
  }
}

}  // namespace

void save_state(const GenerationState& state, const LanguageModel& model, std::uint64_t fingerprint,
                const std::string& path) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, value] : state.state.pieces()) tensors.push_back({name, value.value()});
  if (state.logits.defined()) tensors.push_back({logits_name, state.logits});
  write_safetensors(path, tensors,
                    {{"format", format_name},
                     {"model", model.summary()},
                     {"weights", fmt::format("{:016x}", fingerprint)},
                     {"tokens", fmt::format("{}", state.tokens)}});
}

GenerationState load_state(const LanguageModel& model, std::uint64_t fingerprint, const std::string& path) {
  const SafetensorsFile file(path);
  check_origin(file, model, fingerprint);
  GenerationState result;
  result.tokens = number(file, "tokens");
  // A tuned state has read nothing yet.
  std::int64_t sequences = 1;
  if (result.tokens > 0) {
    result.logits = file.tensor(logits_name, DType::f32);
    sequences = result.logits.shape().rank() == 2 ? result.logits.shape()[0] : 0;
  }
  if (result.tokens > 0 && (sequences < 1 || result.logits.shape()[1] != model.vocabulary())) {
    throw DataError(fmt::format("{}: logits are {}, expected [sequences, {}]", path, result.logits.shape().text(),
                                model.vocabulary()));
  }
  for (const StatePiece& piece : model.state_pieces()) {
    const Tensor value = file.tensor(piece.name, DType::f32);
    if (!fits(piece, value.shape(), sequences)) {
      throw DataError(fmt::format("{}: '{}' is {}, expected {} of {} sequences", path, piece.name, value.shape().text(),
                                  piece.shape.text(), sequences));
    }
    result.state.set(piece.name, Var(value));
  }
  return result;
}

}  // namespace rwkvlab
