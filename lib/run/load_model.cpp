#include "run/load_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "config/compose.h"
#include "config/registry.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "models/image_model.h"
#include "models/initial_state.h"
#include "models/official_checkpoint.h"
#include "train/checkpoint.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;

// Checkpoints of this program carry their experiment; reference cases carry a configuration of another sort.
bool is_own(const TensorFile& file) {
  const auto format = file.metadata().find("format");
  return file.metadata().contains("config") && (format == file.metadata().end() || format->second == checkpoint_format);
}

std::string own_text(const TensorFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  return is_own(file) && found != file.metadata().end() ? found->second : "";
}

// A file name as the name of a run.
std::string run_name(const fs::path& path) {
  const std::string stem = path.stem().string();
  return stem.empty() ? "model" : stem.substr(0, 200);
}

Tokenizer read_tokenizer(const std::string& text, const std::string& place) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) throw DataError(fmt::format("{}: this is no JSON", place));
  return Tokenizer::from_json(json, place);
}

// The tokenizer that was named, or that the checkpoint holds, or bytes where the vocabulary can be nothing else.
void find_tokenizer(TrainedModel& result, const TensorFile& file, const LoadModelOptions& options) {
  const std::int64_t vocabulary = result.model->vocabulary();
  const std::string stored = own_text(file, "vocabulary");
  if (!options.tokenizer.empty()) {
    result.tokenizer = Tokenizer::open(options.tokenizer.string());
  } else if (!stored.empty()) {
    result.tokenizer = read_tokenizer(stored, file.path().string() + ": vocabulary");
  } else if (vocabulary != 256 && options.needs_tokenizer) {
    const std::string usual = usual_tokenizer(vocabulary);
    throw DataError(fmt::format("'{}' does not hold its tokenizer: name its vocabulary file with --tokenizer{}",
                                file.path().string(),
                                usual.empty() ? "" : fmt::format(" (with {} tokens, {})", vocabulary, usual)));
  } else {
    result.has_tokenizer = vocabulary == 256;
  }
}

// Sizes of vocabularies that say which tokenizer was probably used.
struct UsualTokenizer {
  std::int64_t vocabulary;
  std::string_view kind;
  const char* name;
};
constexpr UsualTokenizer usual_tokenizers[] = {{65536, "world", "the World vocabulary, rwkv_vocab_v20230424.txt"},
                                               {50277, "neox", "the GPT-NeoX vocabulary, 20B_tokenizer.json"},
                                               {50304, "neox", "the GPT-NeoX vocabulary, 20B_tokenizer.json"},
                                               {256, "bytes", "bytes, without a file"}};

const UsualTokenizer* find_usual(std::int64_t vocabulary) {
  const auto* const found = std::find_if(std::begin(usual_tokenizers), std::end(usual_tokenizers),
                                         [&](const UsualTokenizer& each) { return each.vocabulary == vocabulary; });
  return found == std::end(usual_tokenizers) ? nullptr : found;
}

// A tokenizer that is too large cannot be right; one of another kind than usual may be.
void check_tokenizer(TrainedModel& model, const LoadModelOptions& options) {
  const std::int64_t tokens = model.tokenizer.size(), vocabulary = model.model->vocabulary();
  if (!model.has_tokenizer) return;
  const std::string usual = usual_tokenizer(vocabulary);
  if (tokens <= vocabulary) {
    const UsualTokenizer* const expected = find_usual(vocabulary);
    if (!options.tokenizer.empty() && expected != nullptr && expected->kind != model.tokenizer.kind()) {
      model.notes.push_back(fmt::format("the tokenizer '{}' is of the kind {}; a model of {} tokens usually has {}",
                                        options.tokenizer.string(), model.tokenizer.kind(), vocabulary, usual));
    }
    return;
  }
  throw DataError(fmt::format("the tokenizer '{}' has {} tokens, but the model in '{}' has {}{}",
                              options.tokenizer.string(), tokens, model.file.string(), vocabulary,
                              usual.empty() ? "" : fmt::format("; it was probably trained with {}", usual)));
}

}  // namespace

std::string usual_tokenizer(std::int64_t vocabulary) {
  const UsualTokenizer* const usual = find_usual(vocabulary);
  return usual == nullptr ? "" : usual->name;
}

std::string_view usual_tokenizer_kind(std::int64_t vocabulary) {
  const UsualTokenizer* const usual = find_usual(vocabulary);
  return usual == nullptr ? std::string_view() : usual->kind;
}

namespace {

// `config`: the experiment that the file holds; "": names and shapes must tell the model.
CheckpointDescription describe_by(const std::string& config, const TensorFile& file,
                                  const std::vector<std::string>& settings) {
  CheckpointDescription result;
  Node tree;
  if (!config.empty()) {
    tree = parse_yaml(config, file.path().string() + ":config");
  } else {
    OfficialCheckpoint official = recognise_checkpoint(file);
    result.version = std::move(official.version);
    result.prefix = std::move(official.prefix);
    result.notes = std::move(official.notes);
    tree = Node(Node::Map{});
    tree.insert("name", Node(run_name(file.path())));
    tree.insert("model", std::move(official.model));
  }
  for (const std::string& setting : settings) {
    apply_setting(tree, setting);
    // What was said need not be assumed.
    const std::string advice = "--set " + setting.substr(0, setting.find('=') + 1);
    std::erase_if(result.notes, [&](const std::string& note) { return note.find(advice) != std::string::npos; });
  }
  if (const Node* const model = tree.find("model")) result.model = *model;
  Resolved<Experiment> resolved = resolve_as<Experiment>(tree, experiment_schema());
  result.loaded = {file.path(), std::move(resolved.tree), std::move(resolved.value)};
  return result;
}

}  // namespace

CheckpointDescription describe_checkpoint(const TensorFile& file, const std::vector<std::string>& settings) {
  return describe_by(own_text(file, "config"), file, settings);
}

std::string official_version(const TensorFile& file) {
  try {
    const CheckpointDescription official = describe_by("", file, {});
    check_weights(*build_checkpoint_model(official, file), file, {.prefix = official.prefix});
    return official.version;
  } catch (const DataError&) {
    return "";
  } catch (const ConfigError&) {  // Sizes that no model may have.
    return "";
  }
}

std::optional<TensorFile> base_weights(const CheckpointDescription& description, const TensorFile& file) {
  if (!holds_tuning_alone(file)) return std::nullopt;
  const std::string& start = description.loaded.experiment.train.start_from;
  try {
    if (start.empty()) throw DataError("the file does not say which");
    return open_tensor_file(weights_file(start));
  } catch (const DataError& error) {
    throw DataError(
        fmt::format("'{}' holds only what fine-tuning has trained, and the weights beside it cannot be read: {}. Name "
                    "them with --set train.start_from=FILE",
                    file.path().string(), error.what()));
  }
}

std::unique_ptr<Module> build_checkpoint_model(const CheckpointDescription& description, const TensorFile& file) {
  const TensorEntry* const table = file.find(description.prefix + "emb.weight");
  const std::int64_t tokens = table != nullptr && table->shape.rank() == 2 ? table->shape[0] : 0;
  const Node* const size = description.loaded.tree.find_path("model.vocabulary_size");
  const bool is_given = size != nullptr && size->integer() > 0;
  const std::string& kind = description.loaded.experiment.model.kind;
  if (!objective_of_model(kind).empty()) {
    throw ConfigError(fmt::format(
        "{}: this is a model of images ({}) and has nothing to do with text; `rwkvlab run` evaluates it, `rwkvlab plot "
        "receptive_field` shows what it sees",
        file.path().string(), kind));
  }
  auto root = make_root(build_kind<Module, ModelSite>("model", description.loaded.experiment.model,
                                                      ModelSite{.vocabulary = is_given ? std::int64_t{0} : tokens}));
  return root;
}

namespace {

// What neither the base nor the trained tensors hold starts as training started it.
void reset_initial_states(const Module& model, std::uint64_t seed) {
  for (const Parameter* const p : model.parameters()) {
    if (is_initial_state(*p)) p->initial(p->var.value(), RandomStream(seed, p->name));
  }
}

// Each weight of a linear layer is read, stored and freed before the next: files may be larger than what float32 leaves
// room for.
void read_stored(TrainedModel& result, const TensorFile& file, const LoadOptions& options, WeightFormat format) {
  check_weights(*result.root, file, options);
  WeightsFingerprint fingerprint;
  result.stored = store_weights(dynamic_cast<LanguageModel&>(*result.root), format, [&](const Parameter& parameter) {
    const Tensor value = Tensor::empty(parameter.shape);
    read_weight(parameter, value, file, options);
    fingerprint.add(parameter, value);
    return value;
  });
  result.fingerprint = fingerprint.of(*result.root);
}

// What fine-tuning has trained is added to the weights beside it, which are all needed for that.
void read_tuned(TrainedModel& result, const TensorFile& tuned, const TensorFile& base, const LoadOptions& options) {
  const Experiment& e = result.loaded.experiment;
  result.root->allocate_uninitialised();
  reset_initial_states(*result.root, e.seed);
  load_weights(*result.root, base, options);
  make_tuning(e.train.tune, {result.root.get(), e.train.parameter_policy(), e.seed})->load(tuned);
}

void read_weights(TrainedModel& result, const TensorFile& file, const std::optional<TensorFile>& base,
                  const LoadOptions& options, std::optional<WeightFormat> format) {
  if (!base && format) return read_stored(result, file, options, *format);
  if (base) {
    read_tuned(result, file, *base, options);
  } else {
    result.root->allocate_uninitialised();
    load_weights(*result.root, file, options);
  }
  if (!format) return;
  result.fingerprint = weights_fingerprint(*result.root);
  result.stored = store_weights(dynamic_cast<LanguageModel&>(*result.root), *format);
}

}  // namespace

TrainedModel load_trained_model(const fs::path& source, const LoadModelOptions& options) {
  const TensorFile file = open_tensor_file(weights_file(source));
  CheckpointDescription description = describe_checkpoint(file, options.settings);
  const std::optional<TensorFile> base = base_weights(description, file);
  const TensorFile& weights = base ? *base : file;
  if (base) description.prefix = official_prefix(*base);
  TrainedModel result{file.path(), {}, Tokenizer::bytes(), build_checkpoint_model(description, weights), nullptr};
  result.model = dynamic_cast<const LanguageModel*>(result.root.get());
  result.loaded = std::move(description.loaded);
  result.version = std::move(description.version);
  result.notes = std::move(description.notes);
  find_tokenizer(result, file, options);
  check_tokenizer(result, options);
  const LoadOptions loading{
      .prefix = description.prefix, .may_lack_initial_state = base.has_value(), .must_be_finite = true};
  try {
    read_weights(result, file, base, loading, options.format);
  } catch (const DataError& error) {
    if (result.version.empty()) throw;
    throw DataError(fmt::format("{} (by its names this is {})", error.what(), result.version));
  }
  return result;
}

}  // namespace rwkvlab
