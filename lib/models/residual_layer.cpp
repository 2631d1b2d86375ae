#include "models/residual_layer.h"

#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/matmul.h"
#include "base/error.h"
#include "blocks/token_step.h"
#include "kernels/elementwise.h"
#include "kernels/layer_norm.h"

namespace rwkvlab {

ResidualLayer::ResidualLayer(const ResidualLayerSite& site, const std::string& time_mix_name,
                             std::unique_ptr<Mixer> time_mix, std::unique_ptr<Mixer> channel_mix)
    : time_norm_(&child<LayerNorm>("ln1", site.site.width, site.layer_norm_epsilon)),
      channel_norm_(&child<LayerNorm>("ln2", site.site.width, site.layer_norm_epsilon)),
      time_mix_(&adopt(time_mix_name, std::move(time_mix))),
      channel_mix_(&adopt("ffn", std::move(channel_mix))),
      time_dropout_(&child<Dropout>("drop0", site.dropout)),
      channel_dropout_(&child<Dropout>("drop1", site.dropout)),
      epsilon_(site.layer_norm_epsilon) {
  if (site.tiny_attention == 0) return;
  const std::int64_t width = site.site.width, small = site.tiny_attention;
  tiny_.width = small;
  tiny_.norm = &child<LayerNorm>("tiny_ln", width, site.layer_norm_epsilon);
  tiny_.query = &child<Linear>("tiny_q", width, small, rwkv_orthogonal(width, small));
  tiny_.key = &child<Linear>("tiny_k", width, small, rwkv_orthogonal(width, small));
  tiny_.value = &child<Linear>("tiny_v", width, width, rwkv_orthogonal(width, width));
}

Var ResidualLayer::forward(const Var& x, const Var& embedded, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    if (tiny_.width == 0 && weights_for_step(x, context) != nullptr) return step(x, context);
    const Var time_branch = time_mix_->forward(time_norm_->forward(x, context), context);
    const bool has_channel_mix = !channel_mix_->adds_nothing();
    Var stream, normed;
    if (!has_channel_mix || (context.training && time_dropout_->active())) {
      stream = time_dropout_->forward(add(x, time_branch), context);
      if (has_channel_mix) normed = channel_norm_->forward(stream, context);
    } else {
      std::tie(stream, normed) = channel_norm_->forward_residual(x, time_branch, context);
    }
    if (has_channel_mix) stream = add(stream, channel_mix_->forward(normed, context));
    stream = channel_dropout_->forward(stream, context);
    if (tiny_.width > 0) stream = add(stream, tiny_attention(stream, embedded, context));
    probe(context, "output", stream);
    return stream;
  });
}

Var ResidualLayer::step(const Var& x, const ForwardContext& context) const {
  const Tensor normed = Tensor::empty(x.shape()), stream = Tensor::empty(x.shape()), again = Tensor::empty(x.shape()),
               moments = Tensor::empty({2, x.shape().rows()});
  float *const mean = moments.data<float>(), *const deviation = mean + x.shape().rows();
  const auto values_of = [](const LayerNorm& layer, std::size_t i) {
    return layer.own_parameters()[i]->var.value().data<float>();
  };
  for (const LayerNorm* const layer : {time_norm_, channel_norm_}) {
    for (const std::size_t i : {0, 1}) ask_for(values_of(*layer, i), x.shape()[-1]);
  }
  const auto norm = [&](const LayerNorm& layer, const Tensor* branch, const Tensor& y) {
    kernels::layer_norm_forward<float>({{x.shape().rows(), x.shape()[-1]},
                                        epsilon_,
                                        x.value().data<float>(),
                                        branch != nullptr ? branch->data<float>() : nullptr,
                                        values_of(layer, 0),
                                        values_of(layer, 1),
                                        stream.data<float>(),
                                        y.data<float>(),
                                        mean,
                                        deviation});
  };
  norm(*time_norm_, nullptr, normed);
  const Var time_branch = time_mix_->forward(Var(normed), context);
  if (channel_mix_->adds_nothing()) return add(x, time_branch);
  norm(*channel_norm_, &time_branch.value(), again);
  const Var channel_branch = channel_mix_->forward(Var(again), context);
  float* const sum = stream.data<float>();
  kernels::add<float>(stream.elements(), sum, channel_branch.value().data<float>(), sum);
  return Var(stream);
}

Var ResidualLayer::tiny_attention(const Var& x, const Var& embedded, const ForwardContext& context) const {
  if (context.state_in != nullptr || context.state_out != nullptr) {
    throw ShapeError("tiny_attention sees the whole sequence at once and cannot carry a state");
  }
  const Var h = tiny_.norm->forward(x, context);
  const Var scores = matmul(tiny_.query->forward(h, context), tiny_.key->forward(h, context), false, true);
  const Var weights = causal_mask(scores, 1.0 / std::sqrt(static_cast<double>(tiny_.width)));
  return matmul(weights, tiny_.value->forward(embedded, context));
}

}  // namespace rwkvlab
