#include "train/language_modelling.h"

#include <fmt/format.h>

#include "autograd/profiler.h"
#include "base/error.h"
#include "data/data_set.h"
#include "models/language_model.h"
#include "train/evaluation_sums.h"

namespace rwkvlab {
namespace {

const RegisterSlot slot("objective", "What the model is trained to do.");

class LanguageModelling final : public Objective {
 public:
  LanguageModelling(const LanguageModellingParams& params, const ObjectiveSite& site, LanguageModel& model)
      : params_(params), site_(site), model_(model), data_(token_data(*site.data)) {}

  Module& model() override { return model_; }

  StepResult forward(std::int64_t index, const ForwardContext& given) override {
    const Batch batch = training_batch(index);
    ForwardContext context = given;
    State left;
    const bool wants_state = params_.carry_state || given.state_out != nullptr;
    context.state_out = wants_state ? &left : nullptr;
    const bool continues = params_.carry_state && batch.carries_state && !carried_.empty();
    context.state_in = continues ? &carried_ : nullptr;
    CrossEntropyLoss result = model_.loss(batch.tokens, batch.targets, params_.l2wrap, context);
    if (given.state_out != nullptr) *given.state_out = left.detached();
    if (params_.carry_state) carried_ = left.detached();
    return {std::move(result.loss)};
  }

  const State& carried_state() const override { return carried_; }
  void set_carried_state(State state) override {
    if (params_.carry_state) carried_ = std::move(state);
  }

  bool can_evaluate() const override { return data_.held_out_batches(1, site_.context, 1) > 0; }

  Evaluation evaluate(const EvaluationRequest& request) override {
    // Windows follow each other in the text, row by row: with more than one row, a state could not be carried.
    const std::int64_t rows = request.carry_state ? 1 : request.batch > 0 ? request.batch : site_.batch;
    const std::int64_t context_length = request.context > 0 ? request.context : site_.context;
    // The same amount of text whether the state is carried or not.
    const std::int64_t wanted_rows = request.batch > 0 ? request.batch : site_.batch;
    const std::int64_t limit = request.carry_state ? request.batches * wanted_rows : request.batches;
    const std::int64_t batches = data_.held_out_batches(rows, context_length, limit);
    if (batches == 0) {
      throw ConfigError("there is no held-out text to evaluate on; set a held-out part in the section 'data'");
    }
    if (request.carry_state) refuse_growing_state(model_, "eval.carry_state");
    EvaluationSums sums(request.by_position);
    State carried;
    for (std::int64_t i = 0; i < batches; ++i) {
      const Batch batch = data_.held_out_batch(i, rows, context_length);
      if (batch.is_task && request.carry_state) throw ConfigError(no_state_between_examples);
      ForwardContext context;
      State left;
      if (request.carry_state) {
        context.state_in = carried.empty() ? nullptr : &carried;
        context.state_out = &left;
      }
      const TargetLogits scored = model_.target_logits(batch.tokens, batch.targets, context);
      sums.add(cross_entropy(scored.logits, scored.targets), scored.logits.value(), batch);
      carried = std::move(left);
    }
    return sums.result();
  }

 private:
  Batch training_batch(std::int64_t index) const {
    const ProfileSpan span(Phase::data, "batch");
    return data_.training_batch(index, site_.batch, site_.context);
  }

  LanguageModellingParams params_;
  ObjectiveSite site_;
  LanguageModel& model_;
  const TokenDataSet& data_;
  State carried_;
};

// A model that sees the whole sequence at once cannot carry a state: found out by a pass without memory. A model that
// is not allocated yet is left so.
void check_state(LanguageModel& model) {
  const ShapeOnly shape_only;
  const std::vector<Parameter*> parameters = model.parameters();
  const bool was_allocated = parameters.front()->var.defined();
  if (!was_allocated) model.allocate_uninitialised();
  std::string problem;
  try {
    State left;
    ForwardContext context;
    context.state_out = &left;
    model.logits(Tensor::empty({1, 1}, DType::i64), context);
  } catch (const ShapeError& error) {
    problem = error.what();
  }
  if (!was_allocated) {
    for (Parameter* const p : parameters) p->var = Var();
  }
  if (!problem.empty()) {
    throw ConfigError(fmt::format("the objective's carry_state does not go with this model: {}", problem));
  }
}

const RegisterKind<Objective, LanguageModellingParams, ObjectiveSite> registered(
    "objective", "language_modelling", [](Fields<LanguageModellingParams>& f) { describe(f); },
    make_language_modelling);

}  // namespace

void describe(Fields<LanguageModellingParams>& f) {
  f.doc("Predict the next token: mean cross-entropy.");
  f.add("l2wrap", &LanguageModellingParams::l2wrap,
        "factor of L2Wrap, which pulls the largest logit of every token towards 0; 0: off, and tasks that ask for few "
        "answers are trained several times as fast, because the head is evaluated only there",
        at_least(0));
  f.add("carry_state", &LanguageModellingParams::carry_state,
        "truncated back-propagation through time: start from the state that the batch before left; needs sequential "
        "data");
}

void refuse_growing_state(const Module& model, const std::string& option) {
  for (const StatePiece& piece : model.state_pieces()) {
    if (!piece.grows()) continue;
    throw ConfigError(fmt::format(
        "{} does not go with this model: its state '{}' grows with every token, without an end; set carry_state: false",
        option, piece.name));
  }
}

std::unique_ptr<Objective> make_language_modelling(const LanguageModellingParams& params, const ObjectiveSite& site) {
  check_invariant(site.model != nullptr && site.data != nullptr, "an objective needs a model and data");
  auto* const model = dynamic_cast<LanguageModel*>(site.model);
  if (model == nullptr) throw ConfigError("the objective 'language_modelling' needs a language model");
  if (params.carry_state) {
    refuse_growing_state(*model, "the objective's carry_state");
    check_state(*model);
    if (!ShapeOnly::active() && !token_data(*site.data).training_batch(1, site.batch, site.context).carries_state) {
      throw ConfigError(
          "the objective's carry_state needs data whose batches go on where the one before stopped: set 'order: "
          "sequential' in the section 'data', with a text of more than batch · context tokens");
    }
  }
  return std::make_unique<LanguageModelling>(params, site, *model);
}

std::unique_ptr<Objective> make_objective(const Choice& choice, const ObjectiveSite& site) {
  return build_kind<Objective, ObjectiveSite>("objective",
                                              choice ? choice : make_choice("objective", "language_modelling"), site);
}

}  // namespace rwkvlab
