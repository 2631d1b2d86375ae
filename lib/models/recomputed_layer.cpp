#include "models/recomputed_layer.h"

#include "autograd/ops/recomputed.h"

namespace rwkvlab {
namespace {

// Places of what enters and leaves; pieces of state follow.
enum Input : std::size_t { stream_in, embedded_in, first_value_in, state_in };
enum Output : std::size_t { stream_out, first_value_out, state_out };

// The layer's pieces of the incoming state. False when one is missing: then the layer itself must say so.
bool read_pieces(const ResidualLayer& layer, const State& from, std::vector<std::string>& names,
                 std::vector<Var>& values) {
  if (from.empty()) return true;
  for (const StatePiece& piece : layer.state_pieces()) {
    const Var* const value = from.find(piece.name);
    if (value == nullptr) return false;
    names.push_back(piece.name);
    values.push_back(*value);
  }
  return true;
}

std::vector<Var> parameters_of(const ResidualLayer& layer) {
  std::vector<Var> result;
  for (const Parameter* const parameter : layer.parameters()) result.push_back(parameter->var);
  return result;
}

// What the body needs of the context of the first pass: what that points to is gone when the second comes.
struct Crossing {
  const ResidualLayer* layer;
  ForwardContext context;
  bool reads_state, writes_state, shares;
  std::vector<std::string> read_names;
  std::shared_ptr<std::vector<std::string>> written_names;

  std::vector<Var> run(const std::vector<Var>& inputs, bool again) const {
    ForwardContext inner = context;
    SharedValues shared = {inputs[first_value_in]};
    State before, after;
    for (std::size_t i = 0; i < read_names.size(); ++i) before.set(read_names[i], inputs[state_in + i]);
    inner.state_in = reads_state ? &before : nullptr;
    inner.state_out = writes_state ? &after : nullptr;
    inner.shared = shares ? &shared : nullptr;
    if (again) inner.probes = nullptr, inner.listener = nullptr;
    std::vector<Var> outputs = {layer->forward(inputs[stream_in], inputs[embedded_in], inner)};
    outputs.push_back(inputs[first_value_in].defined() ? Var() : shared.first_value);
    written_names->clear();
    for (const auto& [name, value] : after.pieces()) {
      written_names->push_back(name);
      outputs.push_back(value);
    }
    return outputs;
  }
};

}  // namespace

Var recomputed_layer(const ResidualLayer& layer, const Var& x, const Var& embedded, const ForwardContext& context) {
  Crossing crossing{&layer,
                    context,
                    context.state_in != nullptr,
                    context.state_out != nullptr,
                    context.shared != nullptr,
                    {},
                    std::make_shared<std::vector<std::string>>()};
  std::vector<Var> inputs = {x, embedded, context.shared != nullptr ? context.shared->first_value : Var()};
  if (context.state_in != nullptr && !read_pieces(layer, *context.state_in, crossing.read_names, inputs)) {
    return layer.forward(x, embedded, context);
  }
  const auto names = crossing.written_names;
  const std::vector<Var> outputs = recomputed(
      [crossing = std::move(crossing)](const std::vector<Var>& in, bool again) { return crossing.run(in, again); },
      inputs, parameters_of(layer));
  if (outputs[first_value_out].defined()) context.shared->first_value = outputs[first_value_out];
  for (std::size_t i = 0; i < names->size(); ++i) context.state_out->set((*names)[i], outputs[state_out + i]);
  return outputs[stream_out];
}

}  // namespace rwkvlab
