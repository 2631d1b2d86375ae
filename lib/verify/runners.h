// How the kinds of case are computed. A runner knows tensors, modules and training, and no particular system: what a
// system's config keys mean comes in through ModelTranslation or as the parameters of a block.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/node.h"
#include "models/language_model.h"
#include "verify/case_run.h"

namespace rwkvlab {

/// Where one row of a system's official state lives: row `row` of the piece ([rows, width], or a vector).
struct StateRow {
  std::string piece;
  std::int64_t row = 0;
};

/// How the files of a system describe a language model.
struct ModelTranslation {
  /// The parameters of the kind `language_model`, as YAML would have them.
  std::function<Node(const ReferenceCase&)> parameters;
  /// The rows of in.state and out.state, [rows, width].
  std::function<std::vector<StateRow>(const ReferenceCase&)> state_rows;
};

/// A piece of state that every layer has, as the cases of RWKV-5 and later store it: in.state_<name>, out.state_<name>
/// and out.mid_state_<name> are [batch, layers, ...] of the pieces "blocks.<layer>.<piece>".
struct LayerState {
  std::string name, piece;
};

/// The model that the config describes, rooted and without memory.
std::unique_ptr<LanguageModel> make_case_model(const ReferenceCase& reference, const ModelTranslation& translation);

/// A block of the registry: in.x [batch, time, width] -> out.y. `site` says which layer it is; its width is that of x.
void run_block(CaseRun& run, const std::string& slot, const std::string& kind, const Node& parameters,
               MixerSite site = {}, const ForwardContext& context = {});

/// in.tokens [batch, time] (or [time]) -> out.logits and out.block.N, the residual stream after each layer. With
/// in.targets also out.loss (with config.l2wrap_factor).
void run_model(CaseRun& run, const ModelTranslation& translation);
/// in.tokens [time] (or [batch, time]) and in.state [rows, width] (or [batch, rows, width]; left out: the empty state),
/// in the chunks of config.chunk_1 -> out.logits, out.state, and out.state_mid after the first chunk (out.state_mid_2
/// after the second, and so on).
void run_model_state(CaseRun& run, const ModelTranslation& translation);
/// in.tokens [batch, time] and in.state_<name> of every state (left out: the empty state), in the chunks of
/// config.split_at -> out.logits, out.state_<name>, and out.mid_state_<name> after the first chunk.
void run_model_layer_states(CaseRun& run, const ModelTranslation& translation, const std::vector<LayerState>& states);
/// in.tokens [time] -> out.logits [vocabulary], after the last token; in.tokens_long -> out.logits_long, after each.
void run_trained_model(CaseRun& run, const ModelTranslation& translation);
/// in.logits [batch, time, vocabulary], or without the batch; DataError unless it has config.vocab_size symbols.
Var logits_input(CaseRun& run);
/// in.logits, in.targets -> out.loss: cross-entropy with L2Wrap.
void run_loss(CaseRun& run);
/// Config alone -> out.<parameter>: initial values that do not depend on chance.
void run_initial_values(CaseRun& run, const ModelTranslation& translation);
/// in.tokens, in.targets [steps, batch, time] -> out.loss, out.lr, out.grad_norm [steps] and out.after.<parameter>
/// (with config.group_2x or config.group_decay, as cases of the later trainers have, out.final.<parameter>).
void run_train_steps(CaseRun& run, const ModelTranslation& translation);
/// config.schedule_N -> out.lr_N, out.wd_N, one value per optimiser step.
void run_schedules(CaseRun& run);
/// in.logits [rows, vocabulary] and config.<name> {temperature, top_p, top_k} -> out.<name>.
void run_sampling(CaseRun& run);
/// Decay plot and causal trace: in.tokens, in.noise, in.subject, in.answer -> out.logprob_*; the parameters
/// time_decay -> out.decay_sorted, out.half_life [layers, channels].
void run_analysis(CaseRun& run, const ModelTranslation& translation);

}  // namespace rwkvlab
