// Define-by-run reverse-mode differentiation: Var is a value, Op a differentiable function, Tape the program that ran.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace rwkvlab {

/// Computes a value again from what was kept of its inputs.
using Recompute = std::function<Tensor()>;

/// A tensor kept for the backward pass, or, where that is cheaper than memory, the means to compute it again.
class Saved {
 public:
  Saved() = default;
  explicit Saved(Tensor value) : value_(std::move(value)) {}
  explicit Saved(Recompute recompute) : recompute_(std::move(recompute)) {}
  Tensor get() const { return recompute_ ? recomputed() : value_; }

 private:
  Tensor recomputed() const;
  Tensor value_;
  Recompute recompute_;
};

/// What belongs to one value on the tape: where its gradient gathers, and how to compute it again if that is cheap. The
/// value itself is not kept here, so that it can be freed.
struct GradSlot {
  Tensor grad;
  Recompute recompute;
  /// Adds `piece`. Takes it over without a copy when it is the first.
  void add(const Tensor& piece);
};

/// A value that gradients may flow to. Cheap to copy; a default-constructed one means "none".
class Var {
 public:
  Var() = default;
  /// A constant: no gradient flows to it.
  explicit Var(Tensor value) : value_(std::move(value)) {}
  /// A value whose gradient is wanted: a parameter, or an input of a gradient check.
  static Var leaf(Tensor value);

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  bool needs_grad() const { return slot_ != nullptr; }
  /// The gradient of the last backward pass; undefined when none arrived. Leaves keep theirs until clear_grad().
  const Tensor& grad() const;
  void clear_grad();
  /// The same value as a constant: backward stops here.
  Var detached() const { return Var(value_); }

 private:
  friend class Tape;
  friend class Op;
  Var(Tensor value, std::shared_ptr<GradSlot> slot) : value_(std::move(value)), slot_(std::move(slot)) {}

  Tensor value_;
  std::shared_ptr<GradSlot> slot_;
};

/// One differentiable function. A subclass per function, in a file of its own that begins with the equations. An object
/// serves one call: forward keeps in members what backward needs, and only that.
class Op {
 public:
  virtual ~Op() = default;
  /// As error messages name it.
  virtual std::string_view name() const = 0;
  /// Computes the outputs. Throws ShapeError (see fail_shapes) when the inputs do not fit.
  virtual Tensors forward(const Tensors& inputs) = 0;
  /// One gradient per input, undefined where wants(i) is false or the gradient is zero. An undefined output gradient
  /// means zero; at least one is defined.
  virtual Tensors backward(const Tensors& output_grads) = 0;
  /// How to compute an output again from what this operation keeps anyway; empty when it is not worth it. Operations
  /// that would keep the output for their backward pass keep this instead.
  virtual Recompute recompute(std::size_t output) const;
  /// Bytes that a forward pass cannot but move, for profiles: every input read and every output written once, if the
  /// operation does not know better.
  virtual double forward_bytes(const Tensors& inputs, const Tensors& outputs) const;
  /// The same of a backward pass: `input_bytes` are read again, the gradients that arrive are read and those that leave
  /// written.
  virtual double backward_bytes(double input_bytes, const Tensors& output_grads, const Tensors& input_grads) const;

 protected:
  /// Whether the gradient of input i is needed. False for all inputs when no tape records.
  bool wants(std::size_t i) const { return i < wants_.size() && wants_[i]; }
  bool wants_any() const;
  /// Input i for the backward pass.
  Saved save(std::size_t i, const Tensor& value) const;
  /// During forward: how whoever made input i computes it again; empty when it does not.
  Recompute source(std::size_t i) const { return i < sources_.size() ? sources_[i] : Recompute(); }
  /// Throws ShapeError: the operation, what was expected, and the shapes of the inputs.
  [[noreturn]] void fail_shapes(std::string_view expected, const Tensors& inputs) const;
  void require(bool fits, std::string_view expected, const Tensors& inputs) const {
    if (!fits) fail_shapes(expected, inputs);
  }

 private:
  friend class Tape;
  friend std::vector<Var> run_op(std::unique_ptr<Op>, const std::vector<Var>&);
  std::vector<bool> wants_;
  std::vector<Recompute> sources_;  // during forward only
};

/// Records operations while it lives; without a tape nothing is recorded and nothing kept. Tapes nest: the newest
/// records.
class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Gradients of Σ output·seed with respect to every leaf, added to what the leaves hold already. Walks the records
  /// backwards in the order of the program and frees each as soon as it is used. `seeds` pairs with `outputs`; a scalar
  /// output may have an undefined seed, meaning 1.
  void backward(const std::vector<Var>& outputs, const Tensors& seeds);
  void backward(const Var& loss) { backward({loss}, {Tensor()}); }

  std::size_t size() const { return records_.size(); }
  /// Bytes of all values that the recorded operations keep are counted by memory_use(); this drops them.
  void clear() { records_.clear(); }
  static Tape* current();

 private:
  friend std::vector<Var> run_op(std::unique_ptr<Op>, const std::vector<Var>&);
  struct Record {
    std::unique_ptr<Op> op;
    std::vector<std::shared_ptr<GradSlot>> inputs;  // null: no gradient wanted
    std::vector<std::shared_ptr<GradSlot>> outputs;
    std::string module;      // Of the profile, as long as there is one: the module's path,
    double input_bytes = 0;  // and what the inputs hold.
  };
  std::vector<Var> record(std::unique_ptr<Op> op, const std::vector<Var>& inputs);
  std::vector<Record> records_;
  Tape* previous_;
};

/// While one of these lives, this thread records nothing: for values that are only looked at, or that the backward pass
/// will compute again.
class PauseRecording {
 public:
  PauseRecording();
  ~PauseRecording();
  PauseRecording(const PauseRecording&) = delete;
  PauseRecording& operator=(const PauseRecording&) = delete;

 private:
  Tape* paused_;
};

/// Runs `op` on the inputs, recording it when a tape lives and an input needs a gradient. Blocks call the free
/// functions of autograd/ops instead.
std::vector<Var> run_op(std::unique_ptr<Op> op, const std::vector<Var>& inputs);

/// Shorthand for an operation with one output.
template <class Function, class... Arguments>
Var run_op_one(const std::vector<Var>& inputs, Arguments&&... arguments) {
  return run_op(std::make_unique<Function>(std::forward<Arguments>(arguments)...), inputs)[0];
}

}  // namespace rwkvlab
