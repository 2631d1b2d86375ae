#include "cli/describe_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "cli/commands.h"
#include "config/diagnostics.h"
#include "config/yaml_writer.h"
#include "models/image_model.h"
#include "models/official_checkpoint.h"
#include "run/available_memory.h"
#include "run/describe.h"
#include "run/encoder_weights.h"
#include "run/load_model.h"
#include "train/checkpoint.h"
#include "train/non_finite.h"

namespace rwkvlab::cli {
namespace {

// Up to this size weights are always read for numbers that are not finite: it takes a fraction of a second.
constexpr std::uint64_t soon_read_bytes = std::uint64_t{512} << 20;

// What a file holds besides a model: how its tensors are stored.
struct Stored {
  std::int64_t elements = 0;
  std::map<std::string, std::int64_t> by_type;
  std::vector<std::string> not_finite;
};

Stored stored_in(const TensorFile& file, const std::string& prefix, bool check) {
  Stored stored;
  for (const TensorEntry& entry : file.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    stored.elements += entry.shape.elements();
    stored.by_type[entry.stored_type] += entry.shape.elements();
    if (check && entry.dtype() != DType::i64 && !is_finite(file.tensor(entry.name)))
      stored.not_finite.push_back(entry.name);
  }
  return stored;
}

std::string types_text(const Stored& stored) {
  if (stored.by_type.size() == 1) return stored.by_type.begin()->first;
  std::string text;
  for (const auto& [type, count] : stored.by_type)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", grouped(count), type);
  return text;
}

std::string tokenizer_text(const TensorFile& file, std::int64_t vocabulary) {
  if (file.metadata().contains("vocabulary")) return "stored with the weights";
  const std::string usual = usual_tokenizer(vocabulary);
  return usual.empty()       ? "not stored: name its vocabulary file with --tokenizer"
         : vocabulary == 256 ? usual
                             : "not stored; usually " + usual;
}

void print_tensors(const TensorFile& file) {
  std::size_t name = 4, type = 4;
  for (const TensorEntry& entry : file.entries()) {
    name = std::max(name, entry.name.size());
    type = std::max(type, entry.stored_type.size());
  }
  for (const TensorEntry& entry : file.entries())
    fmt::print("{:<{}}  {:<{}}  {}\n", entry.name, name, entry.stored_type, type, entry.shape.text());
}

nlohmann::ordered_json tensors_json(const TensorFile& file) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const TensorEntry& entry : file.entries()) {
    list.push_back({{"name", entry.name},
                    {"dtype", entry.stored_type},
                    {"shape", entry.shape.sizes()},
                    {"offset", entry.begin},
                    {"bytes", entry.bytes}});
  }
  return list;
}

void print_json(const TensorFile& file, const CheckpointDescription& checkpoint, const Stored& stored,
                const ModelDescription& model, bool is_checked, const DescribeOutput& output) {
  nlohmann::ordered_json json = describe_json(model);
  nlohmann::ordered_json own = {{"file", file.path().string()},  {"format", file.format()},
                                {"bytes", file.size()},          {"version", checkpoint.version},
                                {"parameters", stored.elements}, {"dtypes", stored.by_type},
                                {"notes", checkpoint.notes}};
  if (is_checked) own["not_finite"] = stored.not_finite;
  if (output.tensors) own["tensors"] = tensors_json(file);
  json["checkpoint"] = own;
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

bool names_weights(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) || path.extension() == ".pth" ||
         path.extension() == ".safetensors" || !tensor_file_format(path).empty();
}

int describe_weights(const std::filesystem::path& source, const std::vector<std::string>& settings,
                     const DescribeOutput& output) {
  const TensorFile file = open_tensor_file(weights_file(source));
  CheckpointDescription checkpoint = describe_checkpoint(file, settings);
  if (output.yaml) {
    Node tree{Node::Map{}};
    tree.insert("model", checkpoint.model);
    fmt::print("{}", to_yaml(tree));
    return success;
  }
  const std::optional<TensorFile> base = base_weights(checkpoint, file);
  if (base) {
    checkpoint.prefix = official_prefix(*base);
    checkpoint.notes.push_back(fmt::format("these are what fine-tuning has trained ({}), beside the weights of {}",
                                           checkpoint.loaded.experiment.train.tune.kind, base->path().string()));
  }
  // The size of images is that of the data, which weights do not tell.
  const bool reads_images = !objective_of_model(checkpoint.loaded.experiment.model.kind).empty();
  const auto root =
      reads_images ? build_model(checkpoint.loaded) : build_checkpoint_model(checkpoint, base ? *base : file);
  if (!base || !holds_masked_autoencoder(*base)) {  // Its encoder starts models with other names.
    check_weights(*root, base ? *base : file,
                  {.prefix = checkpoint.prefix, .may_lack_initial_state = base.has_value()});
  }
  if (base) checkpoint.prefix.clear();
  if (checkpoint.version.empty()) checkpoint.version = official_version(base ? *base : file);
  const ModelDescription model = describe_model(*root, describe_options(*root, checkpoint.loaded.experiment.train));
  const bool is_checked = output.check || file.size() <= soon_read_bytes;
  const Stored stored = stored_in(file, checkpoint.prefix, is_checked);
  const int code = stored.not_finite.empty() ? success : wrong_data;
  if (output.json) {
    print_json(file, checkpoint, stored, model, is_checked, output);
    return code;
  }
  const auto line = [](const char* name, const std::string& text) { fmt::print("{:<11} {}\n", name, text); };
  line("file", fmt::format("{}, {}, {}", file.path().string(), file.format(),
                           bytes_text(static_cast<std::int64_t>(file.size()))));
  line("model", fmt::format("{}{}", checkpoint.version.empty() ? "" : checkpoint.version + ": ", root->summary()));
  if (file.metadata().contains("step"))
    line("trained", fmt::format("{} steps, as '{}'", file.metadata("step"), checkpoint.loaded.experiment.name));
  line("parameters", fmt::format("{}, stored as {}", grouped(stored.elements), types_text(stored)));
  if (const auto* const text = dynamic_cast<const LanguageModel*>(root.get()))
    line("tokenizer", tokenizer_text(file, text->vocabulary()));
  for (const std::string& note : checkpoint.notes) line("note", note);
  line("numbers", !is_checked                 ? "not read for NaN and infinity (--check does)"
                  : stored.not_finite.empty() ? "all finite"
                                              : "not finite in " + join_names(stored.not_finite));
  fmt::print("\n{}", describe_text(model));
  if (output.tensors) {
    fmt::print("\n");
    print_tensors(file);
  }
  return code;
}

}  // namespace rwkvlab::cli
