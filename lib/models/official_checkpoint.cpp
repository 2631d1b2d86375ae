#include "models/official_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "base/error.h"

namespace rwkvlab {
namespace {

constexpr std::string_view embedding = "emb.weight";
constexpr std::string_view known_versions = "RWKV-4, 5.0, 5.1, 5.2, 6 and 7";

// A block of an experiment file, filled key by key.
class Section {
 public:
  Section() : node_(Node::Map{}) {}
  explicit Section(const char* kind) : Section() { set("kind", kind); }
  template <class T>
  Section& set(const std::string& key, const T& value) {
    node_.insert(key, Node(value));
    return *this;
  }
  const Node& node() const { return node_; }

 private:
  Node node_;
};

class Recogniser {
 public:
  explicit Recogniser(const TensorFile& file) : file_(file), prefix_(official_prefix(file)) {}

  OfficialCheckpoint recognise() {
    refuse_foreign();
    result_.prefix = prefix_;
    const Shape& table = matrix(std::string(embedding));
    result_.vocabulary = table[0];
    width_ = table[1];
    layers_ = count_layers();
    Section model("language_model");
    model.set("layers", layers_).set("width", width_).set("vocabulary_size", result_.vocabulary);
    add_mixes(model);
    add_options(model);
    result_.model = model.node();
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("'{}': {}", file_.path().string(), what));
  }

  bool has(const std::string& name) const { return file_.contains(prefix_ + name); }
  const Shape& shape(const std::string& name) const {
    const TensorEntry* const entry = file_.find(prefix_ + name);
    if (entry == nullptr) fail(fmt::format("looks like {}, but lacks the tensor {}{}", result_.version, prefix_, name));
    return entry->shape;
  }
  const Shape& matrix(const std::string& name) const {
    const Shape& found = shape(name);
    if (found.rank() != 2 || found.elements() == 0)
      fail(fmt::format("the tensor {}{} has shape {}, expected a matrix", prefix_, name, found.text()));
    return found;
  }
  // Sizes of a vector or of one value per head and channel, whatever dimensions of 1 are around.
  std::vector<std::int64_t> sizes(const std::string& name) const {
    std::vector<std::int64_t> result;
    for (const std::int64_t size : shape(name).sizes()) {
      if (size != 1) result.push_back(size);
    }
    return result;
  }
  std::int64_t elements(const std::string& name) const { return shape(name).elements(); }

  void refuse_foreign() const {
    const std::map<std::string, std::string>& texts = file_.metadata();
    if (const auto strategy = texts.find("_strategy"); strategy != texts.end())
      fail(
          fmt::format("these weights were converted for inference with the strategy {}; use the file that they were "
                      "converted from",
                      detail::shown(strategy->second)));
    if (has(std::string(embedding))) return;
    const std::vector<std::string> names = file_.names();
    const auto any = [&](std::string_view part) {
      return std::any_of(names.begin(), names.end(),
                         [&](const std::string& name) { return name.find(part) != std::string::npos; });
    };
    if (any("embeddings.weight"))
      fail("these are the names of a Hugging Face model; use the .pth file that it was converted from");
    if (any("time_state")) fail("these are initial states from state tuning, not the weights of a model");
    fail(fmt::format("holds no RWKV model: there is no tensor 'emb.weight' among its {}{}", names.size(),
                     names.empty() ? "" : fmt::format(", which begin with {}", detail::shown(names.front()))));
  }

  int count_layers() const {
    std::set<int> layers;
    const std::string start = prefix_ + "blocks.";
    for (const TensorEntry& entry : file_.entries()) {
      if (!entry.name.starts_with(start)) continue;
      const std::string digits = entry.name.substr(start.size(), entry.name.find('.', start.size()) - start.size());
      if (digits.empty() || digits.size() > 4 || digits.find_first_not_of("0123456789") != digits.npos)
        fail(fmt::format("the tensor {} names no layer", detail::shown(entry.name)));
      layers.insert(std::stoi(digits));
    }
    int expected = 0;
    for (const int layer : layers) {
      if (layer != expected)
        fail(fmt::format("has tensors of layer {}, but none of layer {}", *layers.rbegin(), expected));
      ++expected;
    }
    if (expected == 0) fail("has an embedding, but no tensor 'blocks.…', expected the layers of a model");
    return expected;
  }

  void add_mixes(Section& model) {
    const bool starts_with_ffn = has("blocks.0.ffnPre.key.weight");
    att_ = fmt::format("blocks.{}.att.", starts_with_ffn ? 1 : 0);
    Section time_mix;
    if (has(att_ + "r_k")) {
      time_mix = rwkv7();
    } else if (has(att_ + "time_maa_k")) {
      time_mix = rwkv6();
    } else if (has(att_ + "ln_x.weight") && has(att_ + "time_decay")) {
      time_mix = rwkv5();
    } else if (has(att_ + "time_first") && has(att_ + "time_mix_k")) {
      time_mix = rwkv4();
    } else {
      fail(fmt::format("holds no version of RWKV that is known ({}): '{}' has {}", known_versions, prefix_ + att_,
                       names_below(prefix_ + att_)));
    }
    model.set("time_mix", time_mix.node());
    model.set("channel_mix", channel_mix("blocks.0.ffn.").node());
    if (const std::string_view kind = channel_mix_kind("blocks.0.ffn."); kind != kind_ && kind != "mish_glu") {
      result_.version += fmt::format(" with the channel mix {}", kind);
      result_.notes.push_back("official code does not read this pair of time mix and channel mix");
    }
    if (starts_with_ffn) model.set("pre_ffn", channel_mix("blocks.0.ffnPre.").node());
  }

  std::string names_below(const std::string& start) const {
    std::string list;
    for (const TensorEntry& entry : file_.entries()) {
      if (entry.name.starts_with(start) && list.size() < 200)
        list += (list.empty() ? "" : ", ") + entry.name.substr(start.size());
    }
    return list.empty() ? "no tensors" : list;
  }

  void add_options(Section& model) {
    if (!has("blocks.0.ln0.weight")) {
      model.set("embedding_norm", false);
      result_.notes.push_back("there is no ln0: its norm is taken to be part of the embeddings already");
    }
    if (!has("head.weight")) {
      model.set("tied_head", true);
    } else if (matrix("head.weight")[0] != result_.vocabulary) {
      fail(
          fmt::format("the embedding is for {} tokens, the head for {}", result_.vocabulary, matrix("head.weight")[0]));
    }
    if (has("head_q.weight")) model.set("copy_head", matrix("head_q.weight")[0]);
    for (int layer = 0; layer < layers_; ++layer) {
      const std::string query = fmt::format("blocks.{}.tiny_q.weight", layer);
      if (!has(query)) continue;
      model.set("tiny_attention", Section().set("layer", layer).set("width", matrix(query)[0]).node());
      result_.version = "RWKV-4a";
    }
    const std::vector<TensorEntry>& entries = file_.entries();
    if (std::any_of(entries.begin(), entries.end(), [&](const TensorEntry& entry) {
          return entry.name.starts_with(prefix_ + "blocks.") && entry.name.ends_with(".initial");
        })) {
      model.set("learned_state", true);
      result_.version += " with a learned initial state";
      result_.notes.push_back("official code does not read the learned initial state ('….initial')");
    }
  }

  Section rwkv4() {
    kind_ = "rwkv4";
    result_.version = "RWKV-4";
    Section mix("rwkv4");
    if (const std::int64_t attention = elements(att_ + "time_decay"); attention != width_)
      mix.set("attention_width", attention);
    if (has(att_ + "qq.weight")) {
      mix.set("small_attention", matrix(att_ + "qq.weight")[0]);
      result_.version = "RWKV-4b";
    }
    return mix;
  }

  // The head size, which must divide the channels.
  void set_heads(Section& mix, std::int64_t attention, std::int64_t head_size) {
    if (head_size <= 0 || attention % head_size != 0)
      fail(fmt::format("has heads of {} channels, which do not divide the {} of the time mix", head_size, attention));
    mix.set("head_size", head_size);
    if (attention != width_) mix.set("attention_width", attention);
  }

  Section rwkv5() {
    kind_ = "rwkv5";
    Section mix("rwkv5");
    const std::int64_t attention = elements(att_ + "ln_x.weight");
    const bool per_channel = elements(att_ + "time_decay") == attention && shape(att_ + "time_decay").rank() >= 2 &&
                             shape(att_ + "time_decay")[1] > 1;
    const bool has_gate = has(att_ + "gate.weight"), is_exponential = has(att_ + "time_first");
    result_.version = per_channel ? "RWKV-5.2" : has_gate ? "RWKV-5.1" : "RWKV-5.0";
    const std::int64_t heads = shape(att_ + "time_decay")[0];
    set_heads(mix, attention, per_channel ? shape(att_ + "time_decay")[1] : heads > 0 ? attention / heads : 0);
    if (!per_channel) mix.set("decay", "per_head");
    if (is_exponential) {
      mix.set("bonus", "per_head_exponential");
    } else if (elements(att_ + "time_faaaa") == heads) {
      mix.set("bonus", "per_head");
    }
    if (!has_gate) mix.set("gate", "none");
    if (!per_channel)
      result_.notes.push_back(
          "head_size_divisor is taken to be 8, as in the official code; the first models of this version were trained "
          "without that division (--set model.time_mix.head_size_divisor=1)");
    return mix;
  }

  Section rwkv6() {
    kind_ = "rwkv6";
    result_.version = "RWKV-6";
    Section mix("rwkv6");
    const std::vector<std::int64_t> heads = sizes(att_ + "time_faaaa");
    set_heads(mix, elements(att_ + "time_faaaa"), heads.empty() ? 1 : heads.back());
    std::string ranks = att_ + "time_maa_w2";
    if (!has(ranks)) ranks = att_ + "time_maa_rkvw_w2";
    if (has(ranks) && shape(ranks).rank() == 3) {
      mix.set("mix_rank", shape(ranks)[1]);
    } else {
      mix.set("token_shift", "static");
    }
    if (has(att_ + "time_decay_w1")) {
      mix.set("decay_rank", matrix(att_ + "time_decay_w1")[1]);
    } else {
      mix.set("decay", "learned");
    }
    if (has(att_ + "gate_w1")) {
      result_.version = "RWKV-6 (x060a)";
      mix.set("gate", "low_rank").set("gate_rank", matrix(att_ + "gate_w1")[1]);
    } else if (!has(att_ + "gate.weight")) {
      result_.version = "RWKV-6 (x060b)";
      mix.set("gate", "none").set("normalization", "layer_norm");
      result_.notes.push_back(
          "x060c has the same tensors as x060b, which it is taken to be (--set model.time_mix.key_scale=forgotten for "
          "x060c)");
    }
    if (has(att_ + "time_state")) mix.set("learned_state", true);
    return mix;
  }

  Section rwkv7() {
    kind_ = "rwkv7";
    result_.version = "RWKV-7";
    Section mix("rwkv7");
    const std::vector<std::int64_t> heads = sizes(att_ + "r_k");
    set_heads(mix, elements(att_ + "r_k"), heads.empty() ? 1 : heads.back());
    const auto rank = [&](const char* key, const std::string& name) {
      if (has(name)) mix.set(key, matrix(name)[1]);
      return has(name);
    };
    if (!rank("decay_rank", att_ + "w1")) mix.set("decay", "learned");
    if (!rank("rate_rank", att_ + "a1")) mix.set("rate", "learned");
    const bool in_first = has("blocks.0.att.v1");
    const std::string values = fmt::format("blocks.{}.att.v1", in_first ? 0 : 1);
    if (!rank("value_rank", values) && layers_ > 1) mix.set("value_residual", false);
    if (in_first) mix.set("value_residual_in_first_layer", true);
    if (!rank("gate_rank", att_ + "g1")) mix.set("gate", false);
    return mix;
  }

  // The names of the token shift tell it; it need not be of the time mix's generation.
  const char* channel_mix_kind(const std::string& start) const {
    if (has(start + "aa.weight")) return "mish_glu";
    if (has(start + "x_k")) return "rwkv7";
    if (has(start + "time_maa_k")) return "rwkv6";
    const bool is_newer = std::string_view(kind_) == "rwkv6" || std::string_view(kind_) == "rwkv7";
    return is_newer && has(start + "time_mix_k") ? "rwkv4" : kind_;
  }

  Section channel_mix(const std::string& start) const {
    const char* const kind = channel_mix_kind(start);
    Section mix(kind);
    if (std::string_view(kind) == "mish_glu") return mix.set("hidden_width", matrix(start + "aa.weight")[0]);
    mix.set("hidden_width", matrix(start + "key.weight")[0]);
    if (std::string_view(kind) != "rwkv7" && !has(start + "receptance.weight")) mix.set("receptance", false);
    return mix;
  }

  const TensorFile& file_;
  std::string prefix_, att_;
  const char* kind_ = "";
  std::int64_t width_ = 0;
  int layers_ = 0;
  OfficialCheckpoint result_;
};

}  // namespace

std::string official_prefix(const TensorFile& file) {
  std::vector<std::string> embeddings, models;
  const auto has_layers = [&](const std::string& prefix) {
    return std::any_of(file.entries().begin(), file.entries().end(),
                       [&](const TensorEntry& entry) { return entry.name.starts_with(prefix + "blocks."); });
  };
  for (const TensorEntry& entry : file.entries()) {
    if (!entry.name.ends_with(embedding)) continue;
    const std::string prefix = entry.name.substr(0, entry.name.size() - embedding.size());
    if (!prefix.empty() && prefix.back() != '.') continue;
    embeddings.push_back(prefix);
    if (has_layers(prefix)) models.push_back(prefix);
  }
  if (models.size() > 1) {
    throw DataError(fmt::format(
        "'{}' holds {} models, among them those of {} and {}; write the one that is meant to a file of its own",
        file.path().string(), models.size(), detail::shown(fmt::format("{}{}", models[0], embedding)),
        detail::shown(fmt::format("{}{}", models[1], embedding))));
  }
  if (!models.empty()) return models.front();
  return embeddings.empty() ? "" : *std::min_element(embeddings.begin(), embeddings.end(), [](auto& a, auto& b) {
    return a.size() < b.size();
  });
}

OfficialCheckpoint recognise_checkpoint(const TensorFile& file) { return Recogniser(file).recognise(); }

}  // namespace rwkvlab
