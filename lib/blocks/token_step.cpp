#include "blocks/token_step.h"

namespace rwkvlab {

const StoredWeights* weights_for_step(const Var& x, const ForwardContext& context) {
  const Shape& shape = x.shape();
  const bool is_step = shape.rank() == 3 && shape[1] == 1 && shape[0] <= kernels::few_rows && x.dtype() == DType::f32;
  const bool is_carried = context.state_in != nullptr && !context.state_in->empty() && context.state_out != nullptr;
  const bool is_watched = context.probes != nullptr || context.listener != nullptr || Tape::current() != nullptr ||
                          Profiler::current() != nullptr || ShapeOnly::active();
  return is_step && is_carried && !is_watched && context.token_shift == nullptr ? StoredWeights::current() : nullptr;
}

void survey_step_order(std::initializer_list<const Linear*> layers) {
  StoredWeights::Survey* const survey = StoredWeights::Survey::current();
  for (const Linear* const layer : layers) {
    if (survey != nullptr) survey->note(layer->weight().value(), false);
  }
}

}  // namespace rwkvlab
