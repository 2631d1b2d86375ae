#include "train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "models/initial_state.h"
#include "train/non_finite.h"
#include "train/tensor_loading.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view folder_prefix = "step-";
constexpr std::string_view removed_suffix = ".removed";

// The step in a folder's name; -1 for other names.
std::int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(folder_prefix)) return -1;
  const std::string_view digits = std::string_view(name).substr(folder_prefix.size());
  if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != digits.npos) return -1;
  return std::stoll(std::string(digits));
}

// Buffers of official checkpoints that are constants of the architecture.
bool is_mask(std::string_view name) {
  return name.ends_with("copy_mask") || name.ends_with("tiny_mask") || name.ends_with("att_mask");
}

bool is_expected(const Parameter& parameter, const TensorFile& file, const LoadOptions& options) {
  return !options.may_lack_initial_state || !is_initial_state(parameter) ||
         file.contains(options.prefix + parameter.name);
}

void refuse_tuning_alone(const TensorFile& file) {
  if (!holds_tuning_alone(file)) return;
  throw DataError(fmt::format(
      "'{}' holds only what fine-tuning has trained, not the weights beside it; `rwkvlab export` writes both as one",
      file.path().string()));
}

struct StateFile {
  TrainingPosition position;
  bool has_carried_state = false;
};

StateFile read_state_file(const fs::path& path) {
  const std::string text = read_text(path, std::size_t{1} << 20);
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (json.at("format").get<std::string>() != checkpoint_format) {
      throw DataError(fmt::format("'{}' has the format '{}', expected '{}'", path.string(),
                                  json.at("format").get<std::string>(), checkpoint_format));
    }
    StateFile state;
    state.position.step = json.at("step").get<std::int64_t>();
    state.position.micro_batches = json.at("micro_batches").get<std::int64_t>();
    state.position.tokens_seen = json.at("tokens_seen").get<std::int64_t>();
    state.position.seed = json.at("seed").get<std::uint64_t>();
    state.position.evaluation_due = json.at("evaluation_due").get<bool>();
    state.position.goal_reached = json.value("goal_reached", false);
    state.has_carried_state = json.at("carried_state").get<bool>();
    if (state.position.step < 0 || state.position.micro_batches < 0 || state.position.tokens_seen < 0) {
      throw DataError(fmt::format("'{}' has a negative count", path.string()));
    }
    return state;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("'{}' is damaged: {}", path.string(), error.what()));
  }
}

void write_state_file(const fs::path& path, const TrainingPosition& position, bool has_carried_state) {
  nlohmann::ordered_json json;
  json["format"] = checkpoint_format;
  json["step"] = position.step;
  json["micro_batches"] = position.micro_batches;
  json["tokens_seen"] = position.tokens_seen;
  json["seed"] = position.seed;
  json["evaluation_due"] = position.evaluation_due;
  json["goal_reached"] = position.goal_reached;
  json["carried_state"] = has_carried_state;
  write_atomically(path, json.dump(2) + "\n");
}

// Opens every file of a checkpoint; headers and sizes are checked by that. Throws DataError.
void check_whole(const fs::path& checkpoint) {
  const SafetensorsFile model(checkpoint / "model.safetensors");
  if (model.metadata("format") != checkpoint_format) {
    throw DataError(fmt::format("'{}' has the format '{}', expected '{}'", model.path().string(),
                                model.metadata("format"), checkpoint_format));
  }
  const SafetensorsFile optimizer(checkpoint / "optimizer.safetensors");
  if (read_state_file(checkpoint / "state.json").has_carried_state) {
    const SafetensorsFile carried(checkpoint / "carried_state.safetensors");
  }
}

State read_carried_state(const fs::path& path, const Module& model) {
  const SafetensorsFile file(path);
  State state;
  for (const StatePiece& piece : model.state_pieces()) {
    const TensorEntry& entry = file.entry(piece.name);
    std::vector<std::int64_t> sizes = {entry.shape.rank() > 0 ? entry.shape[0] : 1};
    sizes.insert(sizes.end(), piece.shape.sizes().begin(), piece.shape.sizes().end());
    state.set(piece.name, Var(file.require(piece.name, Shape(sizes))));
  }
  return state;
}

// Renamed first, so that a half-removed folder never looks like a checkpoint.
void remove_checkpoint(const fs::path& checkpoint) {
  fs::path doomed = checkpoint;
  doomed += removed_suffix;
  std::error_code ignored;
  fs::rename(checkpoint, doomed, ignored);
  fs::remove_all(doomed, ignored);
}

}  // namespace

std::vector<fs::path> CheckpointFolder::list() const {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    if (step_of(entry->path()) >= 0) found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
  return found;
}

fs::path CheckpointFolder::write(const TrainingPosition& position, const CheckpointTexts& texts, Objective& objective,
                                 const Optimizer& optimizer, const Tuning* tuning) {
  make_directories(folder_);
  remove_abandoned(folder_);
  fs::path path = folder_ / fmt::format("{}{:08}", folder_prefix, position.step);
  AtomicDirectory target(path);
  std::map<std::string, std::string> metadata = {
      {"format", std::string(checkpoint_format)}, {"step", std::to_string(position.step)}, {"config", texts.config}};
  if (!texts.vocabulary.empty()) metadata["vocabulary"] = texts.vocabulary;
  if (tuning != nullptr) metadata.merge(tuning->metadata());
  write_safetensors(target.staging() / "model.safetensors",
                    tuning != nullptr ? tuning->tensors() : weights_of(objective.model()), metadata);
  write_safetensors(target.staging() / "optimizer.safetensors", optimizer.state());
  std::vector<NamedTensor> carried;
  for (const auto& [name, value] : objective.carried_state().pieces()) carried.push_back({name, value.value()});
  if (!carried.empty()) write_safetensors(target.staging() / "carried_state.safetensors", carried);
  write_state_file(target.staging() / "state.json", position, !carried.empty());
  target.publish();

  std::error_code ignored;
  for (fs::directory_iterator entry(folder_, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    if (entry->path().extension() == removed_suffix) fs::remove_all(entry->path(), ignored);
  }
  std::vector<fs::path> all = list();
  // Later ones are damaged or belong to a course that this training has left.
  while (step_of(all.back()) > position.step) {
    remove_checkpoint(all.back());
    all.pop_back();
  }
  for (std::size_t i = 0; keep_ > 0 && i + static_cast<std::size_t>(keep_) < all.size(); ++i) remove_checkpoint(all[i]);
  return path;
}

std::optional<fs::path> CheckpointFolder::newest(std::vector<std::string>* skipped) const {
  const std::vector<fs::path> all = list();
  std::string problems;
  for (auto checkpoint = all.rbegin(); checkpoint != all.rend(); ++checkpoint) {
    try {
      check_whole(*checkpoint);
      return *checkpoint;
    } catch (const DataError& error) {
      const std::string text = fmt::format("checkpoint '{}' is damaged: {}", checkpoint->string(), error.what());
      if (skipped != nullptr) skipped->push_back(text);
      if (problems.empty()) problems = text;
    }
  }
  if (all.empty()) return std::nullopt;
  throw DataError(
      fmt::format("no checkpoint in '{}' is whole; {}. Restore the folder from a copy, or remove it and "
                  "start the run anew",
                  folder_.string(), problems));
}

TrainingPosition read_checkpoint(const fs::path& checkpoint, Objective& objective, Optimizer& optimizer,
                                 Tuning* tuning) {
  try {
    const StateFile state = read_state_file(checkpoint / "state.json");
    State carried;
    if (state.has_carried_state) {
      carried = read_carried_state(checkpoint / "carried_state.safetensors", objective.model());
    }
    const SafetensorsFile weights(checkpoint / "model.safetensors");
    const SafetensorsFile moments(checkpoint / "optimizer.safetensors");
    if (tuning != nullptr) {
      tuning->load(weights);
    } else {
      load_weights(objective.model(), weights);
    }
    optimizer.load_state(moments);
    objective.set_carried_state(std::move(carried));
    return state.position;
  } catch (const DataError& error) {
    throw DataError(
        fmt::format("cannot resume from checkpoint '{}': {}. If the files were damaged, remove that folder "
                    "to go on from the checkpoint before it",
                    checkpoint.string(), error.what()));
  }
}

std::vector<NamedTensor> weights_of(const Module& model) {
  std::vector<NamedTensor> tensors;
  for (const Parameter* const p : model.parameters()) {
    check_invariant(p->var.defined(), "weights of a model that is not allocated");
    tensors.push_back({p->name, p->var.value()});
  }
  return tensors;
}

void check_weights(const Module& model, const TensorFile& file, const LoadOptions& options) {
  refuse_tuning_alone(file);
  std::vector<ExpectedTensor> expected;
  for (const Parameter* const p : model.parameters()) {
    if (is_expected(*p, file, options)) expected.push_back({p->name, p->shape, DType::f32});
  }
  check_tensors(file, expected, {options.prefix, options.ignore_unexpected, is_mask});
}

void read_weight(const Parameter& parameter, const Tensor& into, const TensorFile& file, const LoadOptions& options) {
  file.read(options.prefix + parameter.name, into);
  if (!options.must_be_finite || is_finite(into)) return;
  throw DataError(fmt::format(
      "'{}': the tensor {}{} holds values that are not finite numbers; the training that wrote it diverged, "
      "or the file is damaged",
      file.path().string(), options.prefix, parameter.name));
}

void load_weights(Module& model, const TensorFile& file, const LoadOptions& options) {
  check_weights(model, file, options);
  for (const Parameter* const p : model.parameters()) {
    check_invariant(p->var.defined(), "weights of a model that is not allocated");
    if (is_expected(*p, file, options)) read_weight(*p, p->var.value(), file, options);
  }
}

fs::path weights_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return path;
  if (!fs::exists(path, ignored)) throw DataError(missing_file_text(path));
  if (fs::exists(path / "model.safetensors", ignored)) return path / "model.safetensors";
  for (const fs::path& folder : {path, path / "checkpoints"}) {
    if (const auto newest = CheckpointFolder(folder, 0).newest()) return *newest / "model.safetensors";
  }
  throw DataError(
      fmt::format("'{}' holds no weights: expected a safetensors or .pth file, a checkpoint with "
                  "'model.safetensors', or a run folder with 'checkpoints/step-…'",
                  path.string()));
}

void save_weights(const Module& model, const fs::path& path, const std::map<std::string, std::string>& metadata) {
  write_safetensors(path, weights_of(model), metadata);
}

}  // namespace rwkvlab
