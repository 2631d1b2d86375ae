#include "run/load_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "config/registry.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "tensor/safetensors.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {

std::string required_text(const SafetensorsFile& file, const std::filesystem::path& path, const char* key) {
  const auto found = file.metadata().find(key);
  if (found != file.metadata().end() && !found->second.empty()) return found->second;
  throw DataError(fmt::format(
      "{}: the metadata lack '{}', which every checkpoint of a run holds; name a run folder or one of its checkpoints.",
      path.string(), key));
}

Tokenizer read_tokenizer(const std::string& text, const std::string& place) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) throw DataError(fmt::format("{}: this is no JSON", place));
  return Tokenizer::from_json(json, place);
}

}  // namespace

TrainedModel load_trained_model(const std::filesystem::path& source) {
  const std::filesystem::path path = weights_file(source);
  const SafetensorsFile file(path);
  const std::string config = required_text(file, path, "config");
  TrainedModel result{path,
                      {},
                      read_tokenizer(required_text(file, path, "vocabulary"), path.string() + ": vocabulary"),
                      nullptr,
                      nullptr};
  Resolved<Experiment> resolved =
      resolve_as<Experiment>(parse_yaml(config, path.string() + ":config"), experiment_schema());
  result.loaded = {path, std::move(resolved.tree), std::move(resolved.value)};
  result.root =
      make_root(build_kind<Module, std::int64_t>("model", result.loaded.experiment.model, result.tokenizer.size()));
  result.model = dynamic_cast<const LanguageModel*>(result.root.get());
  if (result.model == nullptr)
    throw ConfigError(fmt::format("{}: only language models can be read so far", path.string()));
  result.root->allocate_uninitialised();
  load_weights(*result.root, file);
  return result;
}

}  // namespace rwkvlab
