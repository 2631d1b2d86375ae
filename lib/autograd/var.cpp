#include "autograd/var.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/profiler.h"
#include "base/error.h"
#include "kernels/elementwise.h"

namespace rwkvlab {
namespace {

thread_local Tape* current_tape = nullptr;

double bytes_of(const Tensors& tensors) {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.defined() ? static_cast<double>(tensor.bytes()) : 0.0;
  return bytes;
}

}  // namespace

Tensor Saved::recomputed() const {
  ProfileSpan span;
  if (Profiler* const profiler = Profiler::current()) span.open_inside(*profiler, Phase::recompute);
  return recompute_();
}

void GradSlot::add(const Tensor& piece) {
  if (!piece.defined()) return;
  if (!grad.defined()) {
    grad = piece;
    return;
  }
  ProfileSpan span;
  if (Profiler* const profiler = Profiler::current()) {
    span.open_inside(*profiler, Phase::backward, "gradient_sum");
    span.add_bytes(3.0 * static_cast<double>(grad.bytes()));
  }
  // A gradient that another slot shares is not overwritten.
  const Tensor sum = grad.unique() ? grad : Tensor::empty(grad.shape(), grad.dtype());
  for_real(grad.dtype(), [&]<class Real>(Real) {
    kernels::add(grad.elements(), grad.data<Real>(), piece.data<Real>(), sum.data<Real>());
  });
  grad = sum;
}

Var Var::leaf(Tensor value) { return Var(std::move(value), std::make_shared<GradSlot>()); }

const Tensor& Var::grad() const {
  static const Tensor none;
  return slot_ ? slot_->grad : none;
}

void Var::clear_grad() {
  if (slot_) slot_->grad = Tensor();
}

bool Op::wants_any() const {
  return std::any_of(wants_.begin(), wants_.end(), [](bool wanted) { return wanted; });
}

Recompute Op::recompute(std::size_t) const { return {}; }

double Op::forward_bytes(const Tensors& inputs, const Tensors& outputs) const {
  return bytes_of(inputs) + bytes_of(outputs);
}

double Op::backward_bytes(double input_bytes, const Tensors& output_grads, const Tensors& input_grads) const {
  return input_bytes + bytes_of(output_grads) + bytes_of(input_grads);
}

Saved Op::save(std::size_t i, const Tensor& value) const {
  return i < sources_.size() && sources_[i] ? Saved(sources_[i]) : Saved(value);
}

void Op::fail_shapes(std::string_view expected, const Tensors& inputs) const {
  std::string found;
  for (const Tensor& input : inputs) {
    found += found.empty() ? "" : ", ";
    found += input.defined() ? input.shape().text() : "none";
  }
  throw ShapeError(fmt::format("{}: expected {}, found {}", name(), expected, found));
}

Tape::Tape() : previous_(current_tape) { current_tape = this; }
Tape::~Tape() { current_tape = previous_; }
Tape* Tape::current() { return current_tape; }

PauseRecording::PauseRecording() : paused_(current_tape) { current_tape = nullptr; }
PauseRecording::~PauseRecording() { current_tape = paused_; }

std::vector<Var> run_op(std::unique_ptr<Op> op, const std::vector<Var>& inputs) {
  Tape* const tape = current_tape;
  const bool recorded =
      tape != nullptr && std::any_of(inputs.begin(), inputs.end(), [](const Var& v) { return v.needs_grad(); });
  if (recorded) return tape->record(std::move(op), inputs);
  Tensors values;
  values.reserve(inputs.size());
  for (const Var& input : inputs) values.push_back(input.value());
  ProfileSpan span;
  if (Profiler* const profiler = Profiler::current()) span.open_forward(*profiler, op->name());
  std::vector<Var> outputs;
  Tensors results = op->forward(values);
  if (span) span.add_bytes(op->forward_bytes(values, results));
  for (Tensor& value : results) outputs.emplace_back(std::move(value));
  return outputs;
}

std::vector<Var> Tape::record(std::unique_ptr<Op> op, const std::vector<Var>& inputs) {
  Record entry;
  Tensors values;
  for (const Var& input : inputs) {
    values.push_back(input.value());
    entry.inputs.push_back(input.slot_);
    op->wants_.push_back(input.needs_grad());
    op->sources_.push_back(input.slot_ ? input.slot_->recompute : Recompute());
  }
  ProfileSpan span;
  if (Profiler* const profiler = Profiler::current()) span.open_forward(*profiler, op->name());
  std::vector<Var> outputs;
  Tensors results = op->forward(values);
  if (span) {
    span.add_bytes(op->forward_bytes(values, results));
    entry.module = span.module();
    entry.input_bytes = bytes_of(values);
  }
  for (Tensor& value : results) {
    if (!value.defined()) {
      outputs.emplace_back();
      entry.outputs.push_back(nullptr);
      continue;
    }
    entry.outputs.push_back(std::make_shared<GradSlot>());
    entry.outputs.back()->recompute = op->recompute(outputs.size());
    outputs.push_back(Var(std::move(value), entry.outputs.back()));
  }
  op->sources_.clear();
  entry.op = std::move(op);
  records_.push_back(std::move(entry));
  return outputs;
}

void Tape::backward(const std::vector<Var>& outputs, const Tensors& seeds) {
  check_invariant(outputs.size() == seeds.size(), "backward needs one seed per output");
  const ProfileSpan whole(Phase::backward, "backward");
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].slot_) continue;
    const Tensor seed = seeds[i].defined() ? seeds[i] : Tensor::full(outputs[i].shape(), 1.0, outputs[i].dtype());
    if (seed.shape() != outputs[i].shape()) {
      throw ShapeError(fmt::format("backward: output {} has shape {}, its seed {}", i, outputs[i].shape().text(),
                                   seed.shape().text()));
    }
    outputs[i].slot_->add(seed);
  }
  while (!records_.empty()) {
    Record entry = std::move(records_.back());
    records_.pop_back();
    Tensors grads;
    bool reached = false;
    for (const auto& slot : entry.outputs) {
      // Moved out, so that the operation may overwrite a gradient that nobody else holds.
      grads.push_back(slot ? std::move(slot->grad) : Tensor());
      if (slot) slot->grad = Tensor();
      reached |= grads.back().defined();
    }
    if (!reached) continue;
    ProfileSpan span;
    if (Profiler* const profiler = Profiler::current()) span.open_backward(*profiler, entry.op->name(), entry.module);
    Tensors input_grads = entry.op->backward(grads);
    if (span) span.add_bytes(entry.op->backward_bytes(entry.input_bytes, grads, input_grads));
    entry.op.reset();
    grads.clear();
    check_invariant(input_grads.size() == entry.inputs.size(), "an operation must return one gradient per input");
    for (std::size_t i = 0; i < input_grads.size(); ++i) {
      if (entry.inputs[i]) entry.inputs[i]->add(input_grads[i]);
      input_grads[i] = Tensor();
    }
  }
}

}  // namespace rwkvlab
