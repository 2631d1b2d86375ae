#include "models/initial_values.h"

#include <cmath>

#include "blocks/mixer.h"
#include "models/position_embedding.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

constexpr double deviation = 0.02;

bool ends_branch(const std::string& mixer, const std::string& projection) {
  return projection == (mixer == "att" ? "output" : "value");
}

// `name` is that of the module in its parent.
void visit(Module& module, const std::string& name, const std::string& parent, double branch_factor) {
  if (dynamic_cast<const Linear*>(&module) != nullptr) {
    for (const auto& p : module.own_parameters()) {
      const double scale = ends_branch(parent, name) ? branch_factor : 1;
      p->initial = p->shape.rank() > 1 ? initialise::normal(deviation * scale) : initialise::constant(0);
    }
  } else if (dynamic_cast<const Embedding*>(&module) != nullptr ||
             dynamic_cast<const PositionEmbedding*>(&module) != nullptr) {
    for (const auto& p : module.own_parameters()) p->initial = initialise::normal(deviation);
  }
  for (const auto& [child_name, child] : module.children()) visit(*child, child_name, name, branch_factor);
}

}  // namespace

void use_gpt2_initial_values(Module& model, int layers) { visit(model, "", "", 1 / std::sqrt(2.0 * layers)); }

}  // namespace rwkvlab
