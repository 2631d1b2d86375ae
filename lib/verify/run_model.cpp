// Runners of blocks, models, carried states and losses.
#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/cross_entropy.h"
#include "base/error.h"
#include "config/registry.h"
#include "verify/runners.h"

namespace rwkvlab {
namespace {

// Collects the residual streams that the file has outputs for.
class ResidualProbes final : public ProbeSink {
 public:
  explicit ResidualProbes(CaseRun& run) : run_(run) {}
  void probe(const std::string& path, const Var& value, std::string_view) override {
    constexpr std::string_view before = "blocks.", after = ".output";
    if (!path.starts_with(before) || !path.ends_with(after)) return;
    const std::string layer = path.substr(before.size(), path.size() - before.size() - after.size());
    if (layer.find('.') == std::string::npos) run_.output("block." + layer, value);
  }

 private:
  CaseRun& run_;
};

Tensor with_batch(const Tensor& tokens) {
  return tokens.shape().rank() == 1 ? tokens.reshaped({1, tokens.shape()[0]}) : tokens;
}

// in.<name> as [batch, time]; one sequence may come without the batch dimension.
Tensor token_input(const CaseRun& run, const std::string& name) {
  const int rank = run.reference().input(name).shape().rank();
  if (rank != 1 && rank != 2) run.integer_input(name, 2);
  return with_batch(run.integer_input(name, rank));
}

void check_model_size(const CaseRun& run, const LanguageModel& model, const Tensor& tokens) {
  std::int64_t widest = model.params().width;
  for (const auto& [name, tensor] : run.reference().parameters) {
    widest = std::max(widest, *std::max_element(tensor.shape().sizes().begin(), tensor.shape().sizes().end()));
  }
  const double rows = static_cast<double>(tokens.elements());
  check_size(rows * static_cast<double>(widest), "an activation of the model");
  // Only the attentions of RWKV-4's variants keep a matrix over time.
  const bool attends =
      model.params().copy_head > 0 || model.params().tiny_attention || run.reference().mentions("att.qq.weight");
  if (attends) check_size(rows * static_cast<double>(tokens.shape()[1]), "an attention matrix of the model");
}

// Sizes that the config repeats must be those of the tensors.
void agree_with_tokens(const CaseRun& run, const Tensor& tokens) {
  run.config().agree("batch", tokens.shape()[0], "'in.tokens'");
  run.config().agree("seq_len", tokens.shape()[1], "'in.tokens'");
}

double l2wrap_factor(const CaseRun& run, double standard) { return run.config().number_or("l2wrap_factor", standard); }

// Copies between the rows of an official state and the pieces of a State.
class StateCodec {
 public:
  StateCodec(const LanguageModel& model, std::vector<StateRow> rows, std::int64_t batch)
      : model_(model), rows_(std::move(rows)), batch_(batch), width_(model.params().width) {
    for (const StatePiece& piece : model.state_pieces()) {
      if (piece.shape[-1] != width_) {
        throw DataError(fmt::format("a state of rows needs pieces of the model's width {}, but '{}' has {} channels",
                                    width_, piece.name, piece.shape[-1]));
      }
    }
  }

  Shape shape() const { return {batch_, static_cast<std::int64_t>(rows_.size()), width_}; }

  // in.state as leaves, or the empty state.
  State read(CaseRun& run) const {
    State state = model_.initial_state(batch_, run.precision());
    if (run.reference().inputs.count("state") == 0) return state;
    const Tensor& stored = run.reference().input("state");
    if (squeezed(stored.shape()) != squeezed(shape()) || stored.dtype() == DType::i64) {
      throw DataError(
          fmt::format("tensor 'in.state' has shape {}, expected {}", stored.shape().text(), shape().text()));
    }
    State leaves;
    for (const auto& [name, value] : state.pieces()) leaves.set(name, Var::leaf(value.value()));
    const Packed rows = pack(leaves);
    const std::vector<double> values = stored.to_doubles();
    for (const Piece& piece : rows.pieces) {
      for_real(run.precision(), [&]<class Real>(Real) {
        for (std::int64_t i = 0; i < piece.count; ++i) {
          piece.value.value().data<Real>()[piece.from + i] = static_cast<Real>(values[piece.to + i]);
        }
      });
    }
    run.set_input("state", rows);
    return leaves;
  }

  Packed pack(const State& state) const {
    Packed result{shape(), {}};
    const std::int64_t count = static_cast<std::int64_t>(rows_.size());
    for (std::int64_t r = 0; r < count; ++r) {
      const Var* const value = state.find(rows_[r].piece);
      if (value == nullptr) throw DataError(fmt::format("this model has no state '{}'", rows_[r].piece));
      const std::int64_t stride = value->value().elements() / batch_;
      for (std::int64_t b = 0; b < batch_; ++b) {
        result.pieces.push_back({*value, b * stride + rows_[r].row * width_, (b * count + r) * width_, width_});
      }
    }
    return result;
  }

 private:
  const LanguageModel& model_;
  std::vector<StateRow> rows_;
  std::int64_t batch_, width_;
};

}  // namespace

std::unique_ptr<LanguageModel> make_case_model(const ReferenceCase& reference, const ModelTranslation& translation) {
  const Choice choice = make_choice("model", "language_model", translation.parameters(reference));
  std::unique_ptr<Module> built = build_kind<Module, ModelSite>("model", choice, {});
  auto* const model = dynamic_cast<LanguageModel*>(built.get());
  check_invariant(model != nullptr, "the kind language_model builds a LanguageModel");
  static_cast<void>(built.release());
  return make_root(std::unique_ptr<LanguageModel>(model));
}

void run_block(CaseRun& run, const std::string& slot, const std::string& kind, const Node& parameters, MixerSite site,
               const ForwardContext& context) {
  const Var x = run.input("x");
  if (x.shape().rank() != 3) {
    throw DataError(fmt::format("tensor 'in.x' has shape {}, expected [batch, time, width]", x.shape().text()));
  }
  run.config().agree("batch", x.shape()[0], "'in.x'");
  run.config().agree("seq_len", x.shape()[1], "'in.x'");
  run.config().agree("n_embd", x.shape()[2], "'in.x'");
  site.width = x.shape()[2];
  const auto block = make_root(build_kind<Mixer, MixerSite>(slot, make_choice(slot, kind, parameters), site));
  run.load(*block);
  double widest = static_cast<double>(site.width);
  for (const Parameter* const p : block->parameters()) widest = std::max(widest, static_cast<double>(p->shape[0]));
  const double rows = static_cast<double>(x.shape().rows());
  check_size(rows * widest, "an activation of the block");
  if (run.reference().mentions("qq.weight")) {
    check_size(rows * static_cast<double>(x.shape()[1]), "an attention matrix of the block");
  }
  run.output("y", block->forward(x, context));
}

void run_model(CaseRun& run, const ModelTranslation& translation) {
  const auto model = make_case_model(run.reference(), translation);
  run.load(*model);
  const Tensor tokens = token_input(run, "tokens");
  agree_with_tokens(run, tokens);
  check_model_size(run, *model, tokens);
  ResidualProbes probes(run);
  ForwardContext context;
  context.probes = &probes;
  const Var logits = model->logits(tokens, context);
  run.output("logits", logits);
  if (run.reference().inputs.count("targets") == 0) return;
  run.output("loss", cross_entropy(logits, token_input(run, "targets"), l2wrap_factor(run, 0)).loss);
}

void run_model_state(CaseRun& run, const ModelTranslation& translation) {
  const auto model = make_case_model(run.reference(), translation);
  run.load(*model);
  const Tensor tokens = token_input(run, "tokens");
  agree_with_tokens(run, tokens);
  check_model_size(run, *model, tokens);
  const StateCodec codec(*model, translation.state_rows(run.reference()), tokens.shape()[0]);
  State state = codec.read(run);
  std::vector<Var> logits;
  const auto ranges = chunk_ranges(run.config(), tokens.shape()[1]);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    State after;
    ForwardContext context;
    context.state_in = &state;
    context.state_out = &after;
    logits.push_back(model->logits(time_range(tokens, ranges[i].first, ranges[i].second), context));
    state = std::move(after);
    run.output(i == 0 ? "state_mid" : fmt::format("state_mid_{}", i + 1), codec.pack(state));
  }
  run.output("logits", joined_in_time(logits, {tokens.shape()[0], tokens.shape()[1], model->vocabulary()}));
  run.output("state", codec.pack(state));
}

namespace {

// The piece `state.piece` of all layers as one tensor of the file.
Packed stacked(const State& all, const LayerState& state, std::int64_t layers) {
  Packed result;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::string name = fmt::format("blocks.{}.{}", layer, state.piece);
    const Var* const value = all.find(name);
    if (value == nullptr) throw DataError(fmt::format("this model has no state '{}'", name));
    std::vector<std::int64_t> sizes(value->shape().sizes().begin(), value->shape().sizes().end());
    const std::int64_t batch = sizes[0], stride = value->value().elements() / batch;
    sizes.insert(sizes.begin() + 1, layers);
    result.shape = Shape(sizes);
    for (std::int64_t b = 0; b < batch; ++b) {
      result.pieces.push_back({*value, b * stride, (b * layers + layer) * stride, stride});
    }
  }
  return result;
}

State read_layer_states(CaseRun& run, const LanguageModel& model, const std::vector<LayerState>& states,
                        std::int64_t batch) {
  const State initial = model.initial_state(batch, run.precision());
  State leaves;
  for (const auto& [name, value] : initial.pieces()) leaves.set(name, Var::leaf(value.value()));
  for (const LayerState& state : states) {
    const std::string name = "state_" + state.name;
    if (run.reference().inputs.count(name) == 0) continue;
    const Packed packed_state = stacked(leaves, state, model.params().layers);
    const Tensor stored = run.real_input(name, packed_state.shape.rank());
    if (stored.shape() != packed_state.shape) {
      throw DataError(fmt::format("tensor 'in.{}' has shape {}, expected {}", name, stored.shape().text(),
                                  packed_state.shape.text()));
    }
    for_real(run.precision(), [&]<class Real>(Real) {
      for (const Piece& piece : packed_state.pieces) {
        std::copy_n(stored.data<Real>() + piece.to, piece.count, piece.value.value().data<Real>() + piece.from);
      }
    });
    run.set_input(name, packed_state);
  }
  return leaves;
}

}  // namespace

void run_model_layer_states(CaseRun& run, const ModelTranslation& translation, const std::vector<LayerState>& states) {
  const auto model = make_case_model(run.reference(), translation);
  run.load(*model);
  const Tensor tokens = token_input(run, "tokens");
  agree_with_tokens(run, tokens);
  check_model_size(run, *model, tokens);
  State state = read_layer_states(run, *model, states, tokens.shape()[0]);
  const auto output = [&](const std::string& prefix) {
    for (const LayerState& piece : states) {
      run.output(prefix + piece.name, stacked(state, piece, model->params().layers));
    }
  };
  std::vector<Var> logits;
  for (const auto& [begin, end] : chunk_ranges(run.config(), tokens.shape()[1])) {
    State after;
    ForwardContext context;
    context.state_in = &state;
    context.state_out = &after;
    logits.push_back(model->logits(time_range(tokens, begin, end), context));
    state = std::move(after);
    if (begin == 0) output("mid_state_");
  }
  run.output("logits", joined_in_time(logits, {tokens.shape()[0], tokens.shape()[1], model->vocabulary()}));
  output("state_");
}

void run_trained_model(CaseRun& run, const ModelTranslation& translation) {
  const auto model = make_case_model(run.reference(), translation);
  run.load(*model);
  const Tensor prompt = token_input(run, "tokens");
  check_model_size(run, *model, prompt);
  const Var logits = model->logits(prompt, {});
  const std::int64_t vocabulary = model->vocabulary(), rows = logits.shape().rows();
  run.output("logits", Packed{{vocabulary}, {{logits, (rows - 1) * vocabulary, 0, vocabulary}}});
  if (run.reference().inputs.count("tokens_long") == 0) return;
  const Tensor text = token_input(run, "tokens_long");
  check_model_size(run, *model, text);
  run.output("logits_long", model->logits(text, {}));
}

Var logits_input(CaseRun& run) {
  const Var logits = run.input("logits");
  if (logits.shape().rank() < 2 || logits.shape().rank() > 3) {
    throw DataError(
        fmt::format("tensor 'in.logits' has shape {}, expected [batch, time, vocabulary]", logits.shape().text()));
  }
  run.config().agree("vocab_size", logits.shape()[-1], "'in.logits'");
  return logits;
}

void run_loss(CaseRun& run) {
  const Var logits = logits_input(run);
  const Tensor targets = run.integer_input("targets", logits.shape().rank() - 1);
  run.output("loss", cross_entropy(logits, targets, l2wrap_factor(run, 1e-4)).loss);
}

}  // namespace rwkvlab
