// The layers that blocks are made of.
#pragma once

#include <vector>

#include "autograd/ops/token_shift.h"
#include "kernels/activation.h"
#include "nn/module.h"

namespace rwkvlab {

/// What token_mix takes.
struct TokenMixInputs {
  Var x, previous;
  std::vector<Var> mixes;
  MixedToken weighs = MixedToken::current;
  const TokenShift* shift = nullptr;
};

/// y = x Wᵀ (+ b); weight [outputs, inputs] under the name "weight", bias [outputs] under "bias" when asked for.
class Linear : public Module {
 public:
  Linear(std::int64_t inputs, std::int64_t outputs, Initialiser initial, bool has_bias = false);
  Var forward(const Var& x, const ForwardContext& context) const;
  /// This layer of f(hidden(x)), `kind` being f: both layers at once where one operation can (feed_forward), which then
  /// counts as the caller's in profiles.
  Var forward_hidden(const Linear& hidden, kernels::Activation kind, const Var& x, const ForwardContext& context) const;
  /// [outputs, inputs].
  const Var& weight() const { return weight_.var; }
  std::string summary() const override;

 private:
  friend std::vector<Var> forward_mixed(const std::vector<const Linear*>&, const TokenMixInputs&,
                                        const ForwardContext&);
  /// Whether an operation of several layers may do this one's work: it has no bias, nobody listens to every layer, and
  /// no weight is in a format of inference, which is for one product.
  bool joins_others(const ForwardContext& context) const;

  std::int64_t inputs_, outputs_;
  Parameter& weight_;
  Parameter* bias_ = nullptr;
};

/// forward() of every layer on its input; there may be more inputs.
std::vector<Var> forward_each(const std::vector<const Linear*>& layers, const std::vector<Var>& inputs,
                              const ForwardContext& context);

/// forward() of every layer on its blend of token_mix: in one operation where one can (mixed_linear), which then counts
/// as the caller's in profiles.
std::vector<Var> forward_mixed(const std::vector<const Linear*>& layers, const TokenMixInputs& blends,
                               const ForwardContext& context);

/// Layer normalisation over the channels (arXiv:1607.06450) with weight (1 at first, if not
/// said otherwise) and bias (0 at first).
class LayerNorm : public Module {
 public:
  LayerNorm(std::int64_t channels, double epsilon, Initialiser weight = initialise::constant(1));
  Var forward(const Var& x, const ForwardContext& context) const;
  /// {x + branch, LN(x + branch)} in one pass.
  std::pair<Var, Var> forward_residual(const Var& x, const Var& branch, const ForwardContext& context) const;
  std::string summary() const override;

 private:
  std::int64_t channels_;
  double epsilon_;
  Parameter& weight_;
  Parameter& bias_;
};

/// Group normalisation (arXiv:1803.08494) of `groups` equal parts of the channels, with weight and bias (0 at first)
/// per channel: the norm of every head of a matrix-valued state's output. `groups` must divide the channels.
class GroupNorm : public Module {
 public:
  GroupNorm(std::int64_t channels, std::int64_t groups, double epsilon, Initialiser weight = initialise::constant(1));
  Var forward(const Var& x, const ForwardContext& context) const;
  std::string summary() const override;

 private:
  std::int64_t groups_;
  double epsilon_;
  Parameter& weight_;
  Parameter& bias_;
};

/// Rows of a table [vocabulary, channels] under the name "weight".
class Embedding : public Module {
 public:
  Embedding(std::int64_t vocabulary, std::int64_t channels, Initialiser initial);
  /// tokens: int64 [batch, time]; result [batch, time, channels].
  Var forward(const Tensor& tokens, const ForwardContext& context) const;
  /// h Wᵀ, the scores of all tokens by the same table. h: [batch, time, channels]; result [batch, time, vocabulary].
  Var scores(const Var& h, const ForwardContext& context) const;
  /// The table, [vocabulary, channels].
  const Var& weight() const { return weight_.var; }
  std::string summary() const override;

 private:
  std::int64_t vocabulary_, channels_;
  Parameter& weight_;
};

/// Zeroes each element with probability p during training (Srivastava et al., 2014). The mask depends on the context's
/// seed and step, the module's path and the element's index.
class Dropout : public Module {
 public:
  explicit Dropout(double probability) : probability_(probability) {}
  bool active() const { return probability_ > 0; }
  Var forward(const Var& x, const ForwardContext& context) const;
  std::string summary() const override;

 private:
  double probability_;
};

/// RWKV's initial projection: orthogonal with gain `factor` · sqrt(outputs / inputs) for more outputs than inputs, else
/// `factor`.
Initialiser rwkv_orthogonal(std::int64_t inputs, std::int64_t outputs, double factor = 1);

/// Rules of the weight matrices: weight decay applies.
inline ParameterRules matrix_rules() { return {1, 1, true}; }

}  // namespace rwkvlab
