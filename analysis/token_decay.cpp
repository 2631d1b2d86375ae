#include "analysis/token_decay.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "config/registry.h"
#include "data/data_set.h"
#include "data/utf8.h"
#include "run/load_model.h"

namespace rwkvlab {
namespace {

constexpr std::string_view probe_ending = ".log_decay";

// A character of its own for what prints nothing.
std::string printed(const std::string& text) {
  if (text == " ") return "␣";
  if (text == "\n") return "⏎";
  std::size_t at = 0;
  const bool is_character = !text.empty() && next_code_point(text, at) != invalid_code_point;
  const auto first = text.empty() ? '\0' : text.front();
  if (is_character && static_cast<unsigned char>(first) >= 32 && first != 127) {
    return text.size() > 1 && text.back() == ' ' ? text.substr(0, text.size() - 1) : text;
  }
  std::string hex;
  for (const char c : text) hex += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return hex;
}

class DecayCollector final : public ProbeSink {
 public:
  void probe(const std::string& path, const Var& value, std::string_view /*dimensions*/) override {
    // A decay that is the same for every token has no time dimension.
    if (path.ends_with(probe_ending) && value.shape().rank() == 3) {
      found[path.substr(0, path.size() - probe_ending.size())] = value.value();
    }
  }
  std::map<std::string, Tensor> found;
};

int layer_of(const std::string& module) {
  const std::size_t at = module.find("blocks.");
  return at == std::string::npos ? -1 : std::atoi(module.c_str() + at + 7);
}

std::int64_t heads_of(const Module& root, const std::string& module) {
  for (const StatePiece& piece : root.state_pieces()) {
    if (piece.name == module + ".wkv") return piece.shape[0];
  }
  return 1;
}

std::vector<std::int64_t> tokens_of_text(const TrainedModel& trained, const std::filesystem::path& path,
                                         std::int64_t count) {
  std::vector<std::int64_t> tokens = trained.tokenizer.encode(read_text(path), path.string());
  if (tokens.empty()) throw DataError(fmt::format("{}: the text is empty.", path.string()));
  if (static_cast<std::int64_t>(tokens.size()) > count) tokens.resize(static_cast<std::size_t>(count));
  return tokens;
}

struct TokensOfRun {
  std::vector<std::int64_t> tokens;
  bool are_held_out = false;
};

TokensOfRun tokens_of_run(const TrainedModel& trained, std::int64_t count) {
  const Experiment& e = trained.loaded.experiment;
  if (!e.data) {
    throw DataError(
        fmt::format("{}: these weights come without data; name a text with --text.", trained.file.string()));
  }
  std::unique_ptr<TokenDataSet> data;
  try {
    data = build_token_data(e.data, DataSite{trained.file.parent_path(), e.seed});
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: the data of the run cannot be read: {}\nName a text of your own with --text.",
                                trained.file.string(), error.what()));
  }
  const bool has_held_out = data->held_out_batches(1, count, 1) > 0;
  const Batch batch = has_held_out ? data->held_out_batch(0, 1, count) : data->training_batch(0, 1, count);
  const auto row = batch.tokens.rows(0, 1).span<std::int64_t>();
  const auto length = static_cast<std::ptrdiff_t>(std::min(count, static_cast<std::int64_t>(row.size())));
  return {{row.begin(), row.begin() + length}, has_held_out};
}

std::map<std::string, Tensor> log_decays(const LanguageModel& model, const std::vector<std::int64_t>& tokens) {
  const Tensor input = Tensor::empty({1, static_cast<std::int64_t>(tokens.size())}, DType::i64);
  std::copy(tokens.begin(), tokens.end(), input.span<std::int64_t>().begin());
  DecayCollector collector;
  ForwardContext context;
  context.probes = &collector;
  model.logits(input, context);
  return std::move(collector.found);
}

}  // namespace

bool has_token_decays(const std::filesystem::path& model) {
  return !log_decays(*load_trained_model(model, {.needs_tokenizer = false}).model, {0}).empty();
}

TokenDecays read_token_decays(const std::filesystem::path& model, const std::filesystem::path& text, std::int64_t count,
                              const std::filesystem::path& tokenizer) {
  const TrainedModel trained = load_trained_model(model, {.tokenizer = tokenizer});
  if (count == 0) count = trained.loaded.experiment.train.context;
  bool are_held_out = false;
  std::vector<std::int64_t> tokens;
  if (text.empty()) {
    TokensOfRun of_run = tokens_of_run(trained, count);
    tokens = std::move(of_run.tokens);
    are_held_out = of_run.are_held_out;
  } else {
    tokens = tokens_of_text(trained, text, count);
  }
  const auto length = static_cast<std::int64_t>(tokens.size());
  TokenDecays result;
  const char* const what = length == 1 ? "token" : "tokens";
  result.source = text.empty()
                      ? fmt::format("{} {} of the run's {} data", length, what, are_held_out ? "held-out" : "training")
                      : fmt::format("the first {} tokens of {}", length, text.filename().string());
  for (const std::int64_t token : tokens) result.tokens.push_back(printed(trained.tokenizer.decode({&token, 1})));
  for (const auto& [module, value] : log_decays(*trained.model, tokens)) {
    LayerTokenDecay& layer = result.layers.emplace_back();
    layer.layer = layer_of(module);
    layer.log_decay = value.to_doubles();
    const std::int64_t width = value.shape()[2];
    layer.heads = heads_of(*trained.root, module);
    if (layer.heads < 1 || width % layer.heads != 0) layer.heads = 1;
    layer.channels = width / layer.heads;
  }
  std::sort(result.layers.begin(), result.layers.end(), [](const auto& a, const auto& b) { return a.layer < b.layer; });
  if (result.layers.empty()) {
    throw DataError(fmt::format(
        "{}: no layer of this model has a decay that depends on the data (RWKV-6, RWKV-7, gated linear attention and "
        "Mamba-2 do). `rwkvlab plot decay` without a text shows decays that are parameters.",
        trained.file.string()));
  }
  return result;
}

}  // namespace rwkvlab
