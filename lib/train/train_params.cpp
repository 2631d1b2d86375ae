// What the sections `train` and `eval` of an experiment file may say.
#include "train/trainer.h"

#include <fmt/format.h>

#include "config/base_members.h"

namespace rwkvlab {
namespace {

std::string check_tune(const TrainParams& p) {
  if (!tunes_base_weights(p.tune) || !p.start_from.empty()) return "";
  return fmt::format("tune: {} keeps the weights that it starts from: name some in train.start_from", p.tune.kind);
}

}  // namespace

void describe(Fields<TrainParams>& f) {
  using P = TrainParams;
  f.doc("How the model is trained.");
  f.add("steps", &P::steps, "optimiser steps", at_least(1)).unit("steps");
  f.add("batch", &P::batch, "rows of a micro-batch", at_least(1)).unit("rows");
  f.add("context", &P::context, "tokens of a row", at_least(1)).unit("tokens");
  f.add("accumulate", &P::accumulate, "micro-batches per optimiser step; their gradients are averaged", at_least(1));
  f.add("learning_rate", &P::learning_rate, "initial learning rate; blocks scale it for some parameters", above(0));
  f.kind("schedule", &P::schedule, "schedule", "how the learning rate moves", "cosine");
  f.kind("optimizer", &P::optimizer, "optimizer", "how parameters follow their gradients", "adamw");
  f.kind("objective", &P::objective, "objective", "what the model is trained to do", "language_modelling");
  f.add("gradient_clip", &P::gradient_clip, "largest global gradient norm; 0: no clipping", at_least(0));
  f.add(
      "precision", &P::precision,
      "number format of the operands of the linear layers' matrix products; weights, gradients, the optimiser, "
      "recurrences, norms, all sums and evaluations are float32 either way",
      one_of({{float32_precision, "single precision"},
              {bfloat16_precision,
               "inputs, weights and gradients are rounded to bfloat16 (to nearest even) where both sides of the weight "
               "are 64 or more, and their products are added up in float32: about twice the speed of these products; "
               "a processor without AVX512-BF16 trains in float32 and says so"}}));
  f.add("layerwise_learning_rate", &P::layerwise_learning_rate,
        "use the blocks' own learning-rate scales (RWKV: 2 for decays, 3 for bonuses)");
  f.add("warm_up_stage", &P::warm_up_stage,
        "first stage of staged training: the blocks' scales of that stage (RWKV: 5 for mixes, decays and bonuses)");
  f.list(
      "parameter_groups", &P::parameter_groups, [](Fields<ParameterGroup>& g) { describe(g); },
      "other rules for some parameters");
  f.kind("tune", &P::tune, "tune", "what of the model is trained", "full");
  f.add(
       "start_from", &P::start_from,
       "weights to start from in place of initial values: an official .pth or .safetensors file, a checkpoint or a run "
       "folder; empty: none")
      .path();
  f.add("start_with_other_tokenizer", &P::start_with_other_tokenizer,
        "start from weights that were trained with another tokenizer of as many tokens");
  f.add("checkpoint_every", &P::checkpoint_every, "steps between checkpoints; 0: at the end only", at_least(0))
      .unit("steps");
  f.add("keep_checkpoints", &P::keep_checkpoints, "how many of the newest checkpoints stay; 0: all", at_least(0));
  f.check(check_tune, "tune");
}

void describe(Fields<EvaluationParams>& f) {
  using P = EvaluationParams;
  f.doc("Evaluation on held-out data, always at the end of the training.");
  f.add("every", &P::every, "steps between evaluations; 0: at the end only", at_least(0)).unit("steps");
  f.add("batches", own<P>(&P::batches), "at most so many held-out batches; 0: all", at_least(0)).unit("batches");
  f.add("batch", own<P>(&P::batch), "rows of a batch; 0: as in training", at_least(0)).unit("rows");
  f.add("context", own<P>(&P::context), "tokens of a row; 0: as in training", at_least(0)).unit("tokens");
  f.add("carry_state", own<P>(&P::carry_state),
        "read the text as one sequence, going on from the state that the row before left; false: every row starts from "
        "the empty state");
  f.add("by_position", own<P>(&P::by_position), "also record the mean loss and the accuracy at each position of a row");
  f.add("stop_accuracy", &P::stop_accuracy,
        "end the training after an evaluation whose accuracy is above this; 1: never", between(0, 1));
}

}  // namespace rwkvlab
