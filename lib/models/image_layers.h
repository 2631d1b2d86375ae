// The layers of a model of images: two residual branches each, read under a scan plan.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blocks/mixer.h"
#include "config/registry.h"
#include "models/recompute_params.h"
#include "models/token_scan.h"
#include "nn/layers.h"

namespace rwkvlab {

/// What layers are made of.
struct ImageLayerParams : ScanParams, RecomputeParams {
  int layers = 12;
  std::int64_t width = 192;
  Choice time_mix;
  Choice channel_mix;
  std::string norm = "before";
  std::optional<double> layer_scale;
  double drop_path = 0;
  bool embedding_norm = true;
  double layer_norm_epsilon = 1e-5;
};

/// norm before:  x += DP(γ1 ⊙ att(ln1(x))); x += DP(γ2 ⊙ ffn(ln2(x)))
/// norm after:   x += DP(γ1 ⊙ ln1(att(x))); x += DP(γ2 ⊙ ln2(ffn(x)))
/// γ: [width] as gamma1 and gamma2, or 1; DP: in training, the branch of a whole image is dropped with probability p
/// and else divided by 1 - p (arXiv:1603.09382). The first layer normalises the stream first (ln0).
class ImageLayer final : public Module {
 public:
  /// Throws ConfigError for mixers that do not go with the scan plan.
  ImageLayer(const ImageLayerParams& params, int index);
  /// x: [batch, tokens, width]. branch: what the layer before has left to be added to x; or none. With `left` the same
  /// is left there of this layer (see leaves_branch), so that the next one adds and normalises in one pass.
  Var forward(const Var& x, const Var& branch, const ScanTables& tables, ScanShared& shared,
              const ForwardContext& context, Var* left = nullptr) const;
  /// Whether the channel mix's branch is added as it is, and nobody wants to see the sum.
  bool leaves_branch(const ForwardContext& context) const;
  /// Whether a mix must know how the tokens lie in an image.
  bool needs_grid() const { return time_mix_->needs_grid() || channel_mix_->needs_grid(); }

 private:
  Var time_branch(const Var& x, const ScanTables& tables, ScanShared& shared, const ForwardContext& context) const;
  Tensor kept_samples(std::int64_t batch, DType type, const char* branch, const ForwardContext& context) const;
  Var add_to(const Var& x, const Var& branch, const Parameter* gamma, const char* name,
             const ForwardContext& context) const;

  bool norm_after_;
  double drop_probability_ = 0;
  std::vector<std::size_t> orders_;
  LayerNorm *embedding_norm_ = nullptr, *time_norm_, *channel_norm_;
  Mixer *time_mix_, *channel_mix_;
  Parameter *time_scale_ = nullptr, *channel_scale_ = nullptr, *blend_ = nullptr;
};

/// Layers one after another.
class ImageLayers {
 public:
  /// Adopted by `owner` as "<name>.0", "<name>.1", ...
  ImageLayers(Module& owner, const std::string& name, const ImageLayerParams& params);
  /// Runs all layers; `after` sees the stream after each of them.
  Var forward(Var x, const TokenGrid& grid, const ForwardContext& context,
              const std::function<void(int layer, const Var& x)>& after = {}) const;
  /// Paths of those whose values are computed again.
  std::vector<std::string> recomputed_paths() const;
  /// Whether a mix must know how the tokens lie in an image.
  bool needs_grid() const;
  const ImageLayerParams& params() const { return params_; }

 private:
  bool is_recomputed(std::size_t index) const;
  Var layer(std::size_t index, const Var& x, const std::shared_ptr<const ScanTables>& tables, ScanShared& shared,
            const ForwardContext& context) const;

  ImageLayerParams params_;
  std::vector<ImageLayer*> layers_;
  mutable std::shared_ptr<const ScanTables> tables_;  // of the grid that was read last
};

}  // namespace rwkvlab
