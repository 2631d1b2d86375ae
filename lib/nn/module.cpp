#include "nn/module.h"

#include <fmt/format.h>

#include "base/error.h"

namespace rwkvlab {
namespace {

std::string joined(const std::string& path, std::string_view name) {
  if (path.empty()) return std::string(name);
  std::string all;
  all.reserve(path.size() + 1 + name.size());
  return all.append(path).append(1, '.').append(name);
}

}  // namespace

const Var* State::find(std::string_view name) const {
  for (const auto& [key, value] : pieces_) {
    if (key == name) return &value;
  }
  return nullptr;
}

void State::set(std::string_view name, Var value) {
  for (auto& [key, old] : pieces_) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  pieces_.emplace_back(name, std::move(value));
}

State State::detached() const {
  State result;
  for (const auto& [name, value] : pieces_) result.pieces_.emplace_back(name, value.detached());
  return result;
}

std::vector<Parameter*> Module::parameters() const {
  std::vector<Parameter*> all;
  for (const auto& own : parameters_) all.push_back(own.get());
  for (const auto& [name, module] : children_) {
    const auto below = module->parameters();
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

std::vector<StatePiece> Module::state_pieces() const {
  std::vector<StatePiece> all;
  for (const StatePiece& own : states_) all.push_back({joined(path_, own.name), own.shape, own.initial, own.learned});
  for (const auto& [name, module] : children_) {
    const auto below = module->state_pieces();
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

Parameter& Module::parameter(const std::string& name, const Shape& shape, Initialiser initial, ParameterRules rules) {
  parameters_.push_back(std::make_unique<Parameter>(Parameter{name, shape, std::move(initial), rules, Var()}));
  return *parameters_.back();
}

void Module::state(const std::string& name, const Shape& shape, std::vector<double> initial) {
  check_invariant(initial.empty() || static_cast<std::int64_t>(initial.size()) == shape[0],
                  "a piece of state has one initial value per row");
  states_.push_back({name, shape, std::move(initial), {}});
}

void Module::learned_state(const std::string& name, const Shape& shape, std::function<Var(std::int64_t batch)> start) {
  states_.push_back({name, shape, {}, std::move(start)});
}

void Module::set_path(const std::string& path) {
  check_invariant(path_.empty(), "a module tree is rooted once");
  path_ = path;
  for (const auto& own : parameters_) own->name = joined(path, own->name);
  for (const auto& [name, module] : children_) module->set_path(joined(path, name));
}

void Module::allocate_uninitialised(DType type) {
  for (Parameter* const p : parameters()) p->var = Var::leaf(Tensor::empty(p->shape, type));
}

void Module::allocate(std::uint64_t seed, DType type) {
  allocate_uninitialised(type);
  for (Parameter* const p : parameters()) p->initial(p->var.value(), RandomStream(seed, p->name));
}

State Module::initial_state(std::int64_t batch, DType type) const {
  State result;
  for (const StatePiece& piece : state_pieces()) {
    if (piece.learned) {
      result.set(piece.name, piece.learned(batch));
      continue;
    }
    std::vector<std::int64_t> sizes = {batch};
    sizes.insert(sizes.end(), piece.shape.sizes().begin(), piece.shape.sizes().end());
    const Tensor value = Tensor::zeros(Shape(sizes), type);
    for (std::int64_t b = 0; b < batch && !piece.initial.empty(); ++b) {
      const Tensor rows = value.rows(b, b + 1).reshaped(piece.shape);
      for (std::int64_t row = 0; row < piece.shape[0]; ++row) rows.rows(row, row + 1).fill(piece.initial[row]);
    }
    result.set(piece.name, Var(value));
  }
  return result;
}

std::string Module::member(std::string_view name) const { return joined(path_, name); }

void Module::probe(const ForwardContext& context, std::string_view name, const Var& value,
                   std::string_view dimensions) const {
  if (context.probes != nullptr && value.defined()) context.probes->probe(member(name), value, dimensions);
}

Var Module::read_state(const ForwardContext& context, std::string_view name) const {
  if (context.state_in == nullptr) return {};
  const Var* const value = context.state_in->find(member(name));
  if (value == nullptr && !context.state_in->empty()) {
    throw ShapeError(fmt::format("the given state has no piece '{}'", member(name)));
  }
  return value == nullptr ? Var() : *value;
}

void Module::write_state(const ForwardContext& context, std::string_view name, const Var& value) const {
  if (context.state_out != nullptr) context.state_out->set(member(name), value);
}

namespace detail {

void rethrow_with_path(const std::string& path) {
  try {
    throw;
  } catch (const ShapeError& error) {
    const std::string message = error.what();
    if (path.empty() || message.find("(in ") != std::string::npos) throw;
    throw ShapeError(fmt::format("{} (in {})", message, path));
  }
}

}  // namespace detail
}  // namespace rwkvlab
