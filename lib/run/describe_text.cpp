// Renders a ModelDescription for people and for programs.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "run/describe.h"

namespace rwkvlab {
namespace {

struct Row {
  std::string tree, shape, parameters, flops;
};

bool alike(const ModuleDescription& a, const ModuleDescription& b) {
  return a.summary == b.summary && a.own_parameters == b.own_parameters && a.parameters == b.parameters &&
         a.flops_per_token == b.flops_per_token && a.children.size() == b.children.size() &&
         std::equal(a.children.begin(), a.children.end(), b.children.begin(),
                    [](const auto& x, const auto& y) { return x.name == y.name && alike(x, y); });
}

bool is_shown(const ModuleDescription& module) { return module.parameters > 0 || !module.children.empty(); }

std::string flops_cell(const ModuleDescription& module) {
  return module.flops_per_token > 0 ? flops_text(module.flops_per_token) : "";
}

class TreeWriter {
 public:
  void write(const ModuleDescription& root) {
    rows_.push_back({root.summary.empty() ? root.name : root.summary, "", grouped(root.parameters), flops_cell(root)});
    below(root, "");
  }
  std::string text() const {
    std::size_t tree = 0, shape = 0, parameters = 0, flops = 0;
    for (const Row& row : rows_) {
      tree = std::max(tree, row.tree.size() - guide_bytes(row.tree));
      shape = std::max(shape, row.shape.size());
      parameters = std::max(parameters, row.parameters.size());
      flops = std::max(flops, row.flops.size());
    }
    std::string text;
    for (const Row& row : rows_) {
      std::string line = fmt::format("{}{}  {:<{}}  {:>{}}  {:>{}}", row.tree,
                                     std::string(tree - (row.tree.size() - guide_bytes(row.tree)), ' '), row.shape,
                                     shape, row.parameters, parameters, row.flops, flops);
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
    return text;
  }
  void head() { rows_.push_back({"module", "shape", "parameters", "forward per token"}); }

 private:
  // Bytes of UTF-8 that take no column of their own.
  static std::size_t guide_bytes(const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }));
  }
  void below(const ModuleDescription& module, const std::string& indent) {
    std::vector<const ModuleDescription*> children;
    for (const ModuleDescription& child : module.children) {
      if (is_shown(child)) children.push_back(&child);
    }
    for (std::size_t i = 0; i < module.own_parameters.size(); ++i) {
      const bool last = children.empty() && i + 1 == module.own_parameters.size();
      const auto& [name, shape] = module.own_parameters[i];
      rows_.push_back(
          {fmt::format("{}{}{}", indent, last ? "└─ " : "├─ ", name), shape.text(), grouped(shape.elements()), ""});
    }
    for (std::size_t first = 0; first < children.size();) {
      std::size_t end = first + 1;
      while (end < children.size() && alike(*children[first], *children[end])) ++end;
      write_child(children, first, end, indent);
      first = end;
    }
  }
  // "blocks.1 to blocks.11" for many, "ln1, ln2" for few.
  static std::string names(const std::vector<const ModuleDescription*>& children, std::size_t first, std::size_t end) {
    if (end - first > 4) return children[first]->name + " to " + children[end - 1]->name;
    std::string text = children[first]->name;
    for (std::size_t i = first + 1; i < end; ++i) text += ", " + children[i]->name;
    return text;
  }
  void write_child(const std::vector<const ModuleDescription*>& children, std::size_t first, std::size_t end,
                   const std::string& indent) {
    const ModuleDescription& child = *children[first];
    const bool last = end == children.size();
    std::string name = end - first > 1 ? names(children, first, end) + ", each" : child.name;
    // A single weight and nothing else, as a linear layer has, takes one line.
    const bool single = child.children.empty() && child.own_parameters.size() == 1;
    const std::string shape = single ? child.own_parameters[0].second.text() : "";
    if (!child.summary.empty() && !single) name += fmt::format(" ({})", child.summary);
    rows_.push_back({indent + (last ? "└─ " : "├─ ") + name, shape, grouped(child.parameters), flops_cell(child)});
    if (!single) below(child, indent + (last ? "   " : "│  "));
  }

  std::vector<Row> rows_;
};

nlohmann::ordered_json module_json(const ModuleDescription& module) {
  nlohmann::ordered_json json;
  json["name"] = module.name;
  json["path"] = module.path;
  json["summary"] = module.summary;
  json["parameters"] = module.parameters;
  json["forward_flops_per_token"] = module.flops_per_token;
  json["own_parameters"] = nlohmann::ordered_json::object();
  for (const auto& [name, shape] : module.own_parameters)
    json["own_parameters"][name] = std::vector<std::int64_t>(shape.sizes().begin(), shape.sizes().end());
  json["modules"] = nlohmann::ordered_json::array();
  for (const ModuleDescription& child : module.children) json["modules"].push_back(module_json(child));
  return json;
}

}  // namespace

std::string grouped(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::ptrdiff_t first = value < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return digits;
}

std::string bytes_text(std::int64_t bytes) {
  static constexpr std::array<const char*, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.4g} {}", value, units[unit]);
}

std::string flops_text(double flops) {
  static constexpr std::array<const char*, 5> units = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"};
  std::size_t unit = 0;
  while (flops >= 1000 && unit + 1 < units.size()) {
    flops /= 1000;
    ++unit;
  }
  return fmt::format("{:.4g} {}", flops, units[unit]);
}

namespace {

std::string memory_text(const ModelDescription& d) {
  std::string text = fmt::format("\nMemory of a training step, {}, batch {}{}\n", d.precision, d.batch,
                                 d.reads_images ? "" : fmt::format(" x context {}", d.context));
  const auto line = [&text](const char* name, std::int64_t bytes) {
    text += fmt::format("  {:<26}{:>12}\n", name, bytes_text(bytes));
  };
  line("parameters", d.memory.parameters);
  line("gradients", d.memory.gradients);
  line("optimiser", d.memory.optimizer);
  line("activations for backward", d.memory.activations);
  line("activations and gradients", d.memory.peak);
  line("total at the peak", d.memory.total());
  return text;
}

}  // namespace

std::string describe_text(const ModelDescription& d) {
  TreeWriter tree;
  tree.head();
  tree.write(d.root);
  std::string text = tree.text();
  text += fmt::format(
      "\nParameters        {}{}\n", grouped(d.parameters),
      d.trained_parameters == d.parameters ? "" : fmt::format(", trained {}", grouped(d.trained_parameters)));
  text += fmt::format("FLOPs per token   {:.4g} forward, {:.4g} training ({} and {})\n", d.forward_flops_per_token,
                      d.training_flops_per_token(), flops_text(d.forward_flops_per_token),
                      flops_text(d.training_flops_per_token()));
  text += fmt::format(
      "                  matrix products alone, 2 per multiply-add, embedding look-up not counted; training = 3 x "
      "forward{}\n",
      d.recomputed_flops_per_token > 0
          ? fmt::format(" + {} of layers that are computed again", flops_text(d.recomputed_flops_per_token))
          : "");
  if (d.reads_images) {
    text += fmt::format("FLOPs per image   {:.4g} forward ({}), tokens are its {} patches\n",
                        d.forward_flops_per_image(), flops_text(d.forward_flops_per_image()), d.context);
    if (d.published_flops > 0) {
      text += fmt::format(
          "                  {:#.5g} G as arXiv:2403.02308 counts them: 1 per multiply-add, with norms, pooling and "
          "token "
          "mixes\n",
          d.published_flops / 1e9);
    }
    return text + memory_text(d);
  }
  text += fmt::format("State             {} numbers per sequence ({} in float32){}\n", grouped(d.state_elements),
                      bytes_text(4 * d.state_elements),
                      d.state_elements_per_token == 0 ? ""
                                                      : fmt::format(" of {} tokens; {} more with each", d.context,
                                                                    grouped(d.state_elements_per_token)));
  return text + memory_text(d);
}

nlohmann::ordered_json describe_json(const ModelDescription& d) {
  nlohmann::ordered_json json;
  json["parameters"] = d.parameters;
  json["trained_parameters"] = d.trained_parameters;
  json["forward_flops_per_token"] = d.forward_flops_per_token;
  json["training_flops_per_token"] = d.training_flops_per_token();
  json["recomputed_flops_per_token"] = d.recomputed_flops_per_token;
  json["state_elements_per_sequence"] = d.state_elements;
  json["state_elements_per_token"] = d.state_elements_per_token;
  json["batch"] = d.batch;
  json["context"] = d.context;
  if (d.reads_images) {
    json["forward_flops_per_image"] = d.forward_flops_per_image();
    json["published_flops_per_image"] = d.published_flops;
  }
  json["precision"] = d.precision;
  json["memory_bytes"] = {{"parameters", d.memory.parameters},
                          {"gradients", d.memory.gradients},
                          {"optimizer", d.memory.optimizer},
                          {"activations", d.memory.activations},
                          {"activations_and_gradients_peak", d.memory.peak},
                          {"total", d.memory.total()}};
  json["model"] = module_json(d.root);
  return json;
}

}  // namespace rwkvlab
