// LoRA (arXiv:2106.09685): a matrix W [m, n] of the model becomes W + s B A with s = alpha / rank, B [m, rank] and
// A [rank, n]; W stays as it was. With G = ∂loss/∂(W + s B A):  ∂A = s Bᵀ G;  ∂B = s G Aᵀ.
//
// The sum is made once per step and stands in the place of W, so that no block knows of it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/matmul.h"
#include "base/error.h"
#include "base/file.h"
#include "kernels/elementwise.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {

struct LowRankTuningParams {
  std::int64_t rank = 8;
  double alpha = 16;
  std::vector<std::string> matrices;
  std::vector<std::string> also;
};

void describe(Fields<LowRankTuningParams>& f) {
  using P = LowRankTuningParams;
  f.doc(
      "LoRA: matrices W of the model stay as they are, and W + alpha/rank · B A is used in their place, where A and B "
      "are trained. Needs train.start_from.");
  f.paper("arXiv:2106.09685");
  f.add("rank", &P::rank, "rows of A and columns of B", at_least(1));
  f.add("alpha", &P::alpha, "B A is multiplied by alpha / rank", above(0));
  f.add("matrices", &P::matrices,
        "names or patterns of the matrices that are adapted; what matches and is no matrix stays as it is; `*` stands "
        "for any characters, dots included, `?` for one; left out: those of all layers, blocks.*.weight, or "
        "backbone.layers.*.weight in models of images");
  f.add("also", &P::also, "names or patterns of other parameters that are trained themselves");
}

/// One matrix of the model and what is added to it.
struct Adapter {
  Parameter* target;
  Tensor base;  ///< W; undefined without memory
  std::unique_ptr<Parameter> a, b;
};

bool is_matrix(const Parameter& parameter) { return parameter.shape.rank() == 2; }

// The matrices of all layers, under the names that language models and autoencoders, or classifiers and segmenters give
// them.
std::vector<std::string> matrices_of_layers(const std::vector<Parameter*>& all) {
  constexpr const char* of_images = "backbone.layers.*.weight";
  const bool is_of_images = std::any_of(
      all.begin(), all.end(), [](const Parameter* parameter) { return matches_glob(parameter->name, of_images); });
  return {is_of_images ? of_images : "blocks.*.weight"};
}

// target = factor · op(x) op(y).
void scaled_product(const ProductSize& size, const Tensor& x, bool transpose_x, const Tensor& y, bool transpose_y,
                    double factor, const Tensor& target) {
  multiply_into(size, x, transpose_x, y, transpose_y, target);
  for_real(target.dtype(), [&]<class Real>(Real) {
    kernels::scale<Real>(target.elements(), target.data<Real>(), factor, 0, target.data<Real>());
  });
}

class LowRankTuning final : public Tuning {
 public:
  LowRankTuning(const LowRankTuningParams& params, const TuningSite& site)
      : Tuning(site, true), params_(params), scale_(params.alpha / static_cast<double>(params.rank)) {
    const std::vector<Parameter*> all = site.model->parameters();
    if (params_.matrices.empty()) params_.matrices = matrices_of_layers(all);
    for (const std::string& pattern : params_.matrices) require_matrix(pattern, all);
    for (const std::string& pattern : params.also) require_match("train.tune.also", pattern, all);
    std::vector<Parameter*> frozen = all;
    for (const TrainedParameter& entry : trained_parameters(*site.model, site.policy)) {
      const bool adapted = is_matrix(*entry.parameter) && matches_any(entry.parameter->name, params_.matrices);
      const bool whole = matches_any(entry.parameter->name, params.also);
      if (adapted && whole) {
        throw ConfigError(
            fmt::format("train.tune: '{}' is among `matrices` and among `also`: name it once", entry.parameter->name));
      }
      if (!adapted && !whole) continue;
      if (adapted) adapt(entry, site.seed);
      if (whole) train(entry);
      std::erase(frozen, entry.parameter);
    }
    for (Parameter* const parameter : frozen) freeze(*parameter);
    if (adapters_.empty()) throw ConfigError("parameter_groups freeze every matrix that train.tune names");
  }

  std::int64_t elements_beside_model() const override {
    std::int64_t count = 0;
    for (const Adapter& adapter : adapters_) {
      count += adapter.target->shape.elements() + adapter.a->shape.elements() + adapter.b->shape.elements();
    }
    return count;
  }

  void collect_gradients() override {
    for (Adapter& adapter : adapters_) {
      const Tensor gradient = adapter.target->var.grad();
      if (!gradient.defined()) continue;
      const std::int64_t rows = adapter.target->shape[0], columns = adapter.target->shape[1];
      const Tensor of_a = Tensor::empty(adapter.a->shape, gradient.dtype());
      const Tensor of_b = Tensor::empty(adapter.b->shape, gradient.dtype());
      const Tensor &a = adapter.a->var.value(), &b = adapter.b->var.value();
      scaled_product({params_.rank, columns, rows}, b, true, gradient, false, scale_, of_a);
      scaled_product({rows, params_.rank, columns}, gradient, false, a, true, scale_, of_b);
      Tape().backward({adapter.a->var, adapter.b->var}, {of_a, of_b});  // Adds them to what the leaves hold.
      adapter.target->var.clear_grad();
    }
  }

  void update() override {
    for (const Adapter& adapter : adapters_) {
      const Tensor& merged = adapter.target->var.value();
      const std::int64_t rows = adapter.target->shape[0], columns = adapter.target->shape[1];
      scaled_product({rows, columns, params_.rank}, adapter.b->var.value(), false, adapter.a->var.value(), false,
                     scale_, merged);
      for_real(merged.dtype(), [&]<class Real>(Real) {
        kernels::add<Real>(merged.elements(), merged.data<Real>(), adapter.base.data<Real>(), merged.data<Real>());
      });
    }
  }

 private:
  static bool matches_any(const std::string& name, const std::vector<std::string>& patterns) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& pattern) { return matches_glob(name, pattern); });
  }

  static void require_matrix(const std::string& pattern, const std::vector<Parameter*>& all) {
    require_match("train.tune.matrices", pattern, all);
    const Parameter* other = nullptr;
    for (const Parameter* const parameter : all) {
      if (!matches_glob(parameter->name, pattern)) continue;
      if (is_matrix(*parameter)) return;
      other = parameter;
    }
    throw ConfigError(fmt::format(
        "train.tune.matrices: '{}' matches no matrix: {} is {}; name it in train.tune.also to train it itself", pattern,
        other->name, other->shape.text()));
  }

  void adapt(const TrainedParameter& entry, std::uint64_t seed) {
    Parameter& target = *entry.parameter;
    const std::int64_t rows = target.shape[0], columns = target.shape[1];
    if (params_.rank > std::min(rows, columns)) {
      throw ConfigError(fmt::format("train.tune.rank is {}, but {} is {}: a rank above the smaller side adds nothing",
                                    params_.rank, target.name, target.shape.text()));
    }
    const auto part = [&](const char* name, const Shape& shape, Initialiser initial) {
      auto parameter =
          std::make_unique<Parameter>(Parameter{target.name + name, shape, std::move(initial), target.rules, Var()});
      if (has_memory()) {
        parameter->var = Var::leaf(Tensor::empty(shape, target.var.dtype()));
        parameter->initial(parameter->var.value(), RandomStream(seed, parameter->name));
      }
      train({parameter.get(), entry.learning_rate_scale, entry.weight_decay});
      return parameter;
    };
    Adapter adapter = {&target, has_memory() ? target.var.value().clone() : Tensor(), nullptr, nullptr};
    adapter.a =
        part(".lora_A", {params_.rank, columns}, initialise::normal(1 / std::sqrt(static_cast<double>(columns))));
    adapter.b = part(".lora_B", {rows, params_.rank}, initialise::constant(0));
    adapters_.push_back(std::move(adapter));
  }

  LowRankTuningParams params_;
  double scale_;
  std::vector<Adapter> adapters_;
};

const RegisterKind<Tuning, LowRankTuningParams, TuningSite> lora(
    "tune", "lora", [](Fields<LowRankTuningParams>& f) { describe(f); },
    [](const LowRankTuningParams& params, const TuningSite& site) {
      return std::make_unique<LowRankTuning>(params, site);
    });

}  // namespace
}  // namespace rwkvlab
