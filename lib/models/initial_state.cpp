#include "models/initial_state.h"

#include <string_view>

#include "autograd/ops/broadcast.h"

namespace rwkvlab {
namespace {

constexpr std::string_view suffix = ".initial";

// Below this, exp is 0 in any format.
constexpr double log_of_nothing = -1e4;

Initialiser initial_values(const StatePiece& piece) {
  const std::int64_t row = piece.initial.empty() ? 1 : piece.shape.elements() / piece.shape[0];
  return initialise::from_index([values = piece.initial, row](std::int64_t i) {
    const double value = values.empty() ? 0 : values[static_cast<std::size_t>(i / row)];
    return value < log_of_nothing ? 0 : value;
  });
}

}  // namespace

bool is_initial_state(const Parameter& parameter) {
  return parameter.name.ends_with(suffix) || parameter.name.ends_with(".time_state");
}

void LearnedState::declare(Module& root, const std::string& name, const Module& child) {
  // Without full names, a module's pieces are its own and then its children's.
  std::vector<StatePiece> own = child.state_pieces();
  for (const auto& [below, module] : child.children()) own.resize(own.size() - module->state_pieces().size());
  for (const StatePiece& piece : own) {
    if (piece.learned || piece.grows()) continue;
    const std::string full = name + "." + piece.name;
    parameters_.emplace_back(full, &root.parameter(full + std::string(suffix), piece.shape, initial_values(piece)));
  }
  for (const auto& [below, module] : child.children()) declare(root, name + "." + below, *module);
}

State LearnedState::start(const Module& root, std::int64_t batch, DType type) const {
  State state = root.initial_state(batch, type);
  for (const auto& [piece, parameter] : parameters_) state.set(piece, for_every_sequence(parameter->var, batch));
  return state;
}

}  // namespace rwkvlab
