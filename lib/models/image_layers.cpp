#include "models/image_layers.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/image_tokens.h"
#include "autograd/ops/recomputed.h"
#include "base/error.h"
#include "blocks/image_mixer.h"
#include "blocks/shifted_mixer.h"

namespace rwkvlab {
namespace {

std::unique_ptr<Mixer> build_mixer(const char* slot, const Choice& choice, const MixerSite& site) {
  return build_kind<Mixer, MixerSite>(slot, choice, site);
}

void check_mixers(const ImageLayerParams& p, const Mixer& time_mix) {
  const std::string& kind = p.time_mix.kind;
  // What the mixes of Vision-RWKV make of a token depends on its distance in the order, though not on the direction.
  const bool counts_distances = dynamic_cast<const ImageMixer*>(&time_mix) != nullptr;
  if (!time_mix.is_causal() && p.scan != "raster" && (p.scan == "bidirectional" || !counts_distances)) {
    throw ConfigError(
        fmt::format("scan is {}, but every token of the time mix '{}' sees all others already: {} would only compute "
                    "the same twice; leave scan out",
                    p.scan, kind, counts_distances ? "the reverse" : "another order of the tokens"));
  }
  if (time_mix.needs_grid() && p.scan != "raster") {
    throw ConfigError(
        fmt::format("scan is {}, but the time mix '{}' shifts tokens across the image by itself and must "
                    "read them row by row; leave scan out, or set time_mix.token_shift: none (and token_shift: "
                    "q_shift of the model for a blend in front of it)",
                    p.scan, kind));
  }
  // It would take the place of the mix's own without a word.
  const auto* const image_mix = dynamic_cast<const ImageMixer*>(&time_mix);
  if (p.token_shift == "q_shift" && image_mix != nullptr && image_mix->has_token_shift()) {
    throw ConfigError(
        fmt::format("token_shift is q_shift, but the time mix '{}' shifts tokens by itself; leave token_shift out, or "
                    "set time_mix.token_shift: none",
                    kind));
  }
}

}  // namespace

ImageLayer::ImageLayer(const ImageLayerParams& p, int index)
    : norm_after_(p.norm == "after"), drop_probability_(p.layers > 1 ? p.drop_path * index / (p.layers - 1) : 0) {
  const MixerSite site = {index, p.layers, p.width};
  if (p.embedding_norm && index == 0) embedding_norm_ = &child<LayerNorm>("ln0", p.width, p.layer_norm_epsilon);
  time_norm_ = &child<LayerNorm>("ln1", p.width, p.layer_norm_epsilon);
  channel_norm_ = &child<LayerNorm>("ln2", p.width, p.layer_norm_epsilon);
  time_mix_ = &adopt("att", build_mixer("time_mix", p.time_mix, site));
  channel_mix_ = &adopt("ffn", build_mixer("channel_mix", p.channel_mix, site));
  check_mixers(p, *time_mix_);
  orders_ = orders_of_layer(p, index, !time_mix_->is_causal());
  if (p.token_shift == "q_shift" && dynamic_cast<const ShiftedMixer*>(time_mix_) == nullptr) {
    blend_ = &parameter("shift_mix", {1, 1, p.width}, mix_ramp(p.width, site.remaining()), plain_rules);
  }
  if (p.layer_scale) {
    time_scale_ = &parameter("gamma1", {p.width}, initialise::constant(*p.layer_scale), matrix_rules());
    channel_scale_ = &parameter("gamma2", {p.width}, initialise::constant(*p.layer_scale), matrix_rules());
  }
}

// The factor of every image's branch; undefined where all are 1.
Tensor ImageLayer::kept_samples(std::int64_t batch, DType type, const char* branch,
                                const ForwardContext& context) const {
  if (!context.training || drop_probability_ == 0) return {};
  const Tensor factors = Tensor::empty({batch}, type);
  const RandomStream random(context.seed, path() + branch);
  for_real(type, [&]<class Real>(Real) {
    for (std::int64_t b = 0; b < batch; ++b) {
      // Every step has its own run of indices.
      const double draw = random.uniform((context.step << 24) + static_cast<std::uint64_t>(b));
      factors.data<Real>()[b] = static_cast<Real>(draw < drop_probability_ ? 0.0 : 1.0 / (1.0 - drop_probability_));
    }
  });
  return factors;
}

Var ImageLayer::add_to(const Var& x, const Var& branch, const Parameter* gamma, const char* name,
                       const ForwardContext& context) const {
  const Tensor samples = kept_samples(x.shape()[0], x.dtype(), name, context);
  if (gamma == nullptr && !samples.defined()) return add(x, branch);
  return add_branch(x, branch, gamma != nullptr ? gamma->var : Var(), samples);
}

Var ImageLayer::time_branch(const Var& x, const ScanTables& tables, ScanShared& shared,
                            const ForwardContext& context) const {
  const Var blended =
      blend_ == nullptr ? x : token_mix(x, {}, {blend_->var}, MixedToken::current, &tables.shifts[0])[0];
  return scan_tokens(*time_mix_, blended, orders_, tables, shared, context);
}

bool ImageLayer::leaves_branch(const ForwardContext& context) const {
  return !norm_after_ && channel_scale_ == nullptr && (!context.training || drop_probability_ == 0) &&
         context.probes == nullptr && context.listener == nullptr;
}

Var ImageLayer::forward(const Var& given, const Var& pending, const ScanTables& tables, ScanShared& shared,
                        const ForwardContext& context, Var* left) const {
  return in_module(*this, context, [&] {
    ForwardContext inner = context;
    inner.grid = &tables.grid;
    inner.token_shift = tables.shifts.empty() ? nullptr : &tables.shifts[0];
    Var x = embedding_norm_ != nullptr ? embedding_norm_->forward(given, inner) : given;
    Var stream;
    if (norm_after_) {
      Var branch = time_norm_->forward(time_branch(x, tables, shared, inner), inner);
      stream = add_to(x, branch, time_scale_, ".drop_path1", inner);
      branch = channel_norm_->forward(channel_mix_->forward(stream, inner), inner);
      stream = add_to(stream, branch, channel_scale_, ".drop_path2", inner);
    } else {
      Var normed;
      if (pending.defined()) {
        std::tie(x, normed) = time_norm_->forward_residual(x, pending, inner);
      } else {
        normed = time_norm_->forward(x, inner);
      }
      Var branch = time_branch(normed, tables, shared, inner);
      if (time_scale_ == nullptr && (!inner.training || drop_probability_ == 0)) {
        std::tie(stream, normed) = channel_norm_->forward_residual(x, branch, inner);
      } else {
        stream = add_to(x, branch, time_scale_, ".drop_path1", inner);
        normed = channel_norm_->forward(stream, inner);
      }
      branch = channel_mix_->forward(normed, inner);
      if (left != nullptr) {
        *left = branch;
        return stream;
      }
      stream = add_to(stream, branch, channel_scale_, ".drop_path2", inner);
    }
    probe(inner, "output", stream);
    return stream;
  });
}

ImageLayers::ImageLayers(Module& owner, const std::string& name, const ImageLayerParams& params) : params_(params) {
  if (const std::string problem = check_recompute(params, params.layers); !problem.empty()) throw ConfigError(problem);
  for (int index = 0; index < params.layers; ++index)
    layers_.push_back(&owner.child<ImageLayer>(fmt::format("{}.{}", name, index), params, index));
}

bool ImageLayers::is_recomputed(std::size_t index) const {
  return params_.recomputes(static_cast<int>(index), params_.layers);
}

Var ImageLayers::layer(std::size_t index, const Var& x, const std::shared_ptr<const ScanTables>& tables,
                       ScanShared& shared, const ForwardContext& context) const {
  const ImageLayer& one = *layers_[index];
  if (Tape::current() == nullptr || !is_recomputed(index)) return one.forward(x, {}, *tables, shared, context);
  std::vector<Var> inputs = {x}, parameters;
  for (const SharedValues& values : shared) inputs.push_back(values.first_value);
  for (const Parameter* const parameter : one.parameters()) parameters.push_back(parameter->var);
  // What the context points to may be gone when the second pass comes; the tables are kept.
  const auto body = [&one, tables, context](const std::vector<Var>& in, bool again) {
    ForwardContext inner = context;
    if (again) inner.probes = nullptr, inner.listener = nullptr;
    ScanShared values;
    for (std::size_t i = 1; i < in.size(); ++i) values.push_back({in[i]});
    std::vector<Var> outputs = {one.forward(in[0], {}, *tables, values, inner)};
    for (std::size_t i = 0; i < values.size(); ++i)
      outputs.push_back(in[i + 1].defined() ? Var() : values[i].first_value);
    return outputs;
  };
  const std::vector<Var> outputs = recomputed(body, inputs, parameters);
  for (std::size_t i = 0; i < shared.size(); ++i) {
    if (outputs[i + 1].defined()) shared[i].first_value = outputs[i + 1];
  }
  return outputs[0];
}

Var ImageLayers::forward(Var x, const TokenGrid& grid, const ForwardContext& context,
                         const std::function<void(int, const Var&)>& after) const {
  if (tables_ == nullptr || !(tables_->grid == grid)) tables_ = make_scan_tables(params_, grid, params_.width);
  const std::shared_ptr<const ScanTables> tables = tables_;
  ScanShared shared(tables->orders.size());
  const auto runs_twice = [&](std::size_t index) { return Tape::current() != nullptr && is_recomputed(index); };
  Var branch;  // Of the layer before, not added so far.
  for (std::size_t index = 0; index < layers_.size(); ++index) {
    const bool leaves = !after && index + 1 < layers_.size() && !runs_twice(index) && !runs_twice(index + 1) &&
                        layers_[index]->leaves_branch(context);
    if (leaves || branch.defined()) {
      Var left;
      x = layers_[index]->forward(x, branch, *tables, shared, context, leaves ? &left : nullptr);
      branch = left;
    } else {
      x = layer(index, x, tables, shared, context);
    }
    if (after) after(static_cast<int>(index), x);
  }
  return x;
}

bool ImageLayers::needs_grid() const {
  return std::any_of(layers_.begin(), layers_.end(), [](const ImageLayer* one) { return one->needs_grid(); });
}

std::vector<std::string> ImageLayers::recomputed_paths() const {
  std::vector<std::string> paths;
  for (std::size_t index = 0; index < layers_.size(); ++index) {
    if (is_recomputed(index)) paths.push_back(layers_[index]->path());
  }
  return paths;
}

}  // namespace rwkvlab
