// Modules own parameters and child modules; a tree of them is a model. Constructing a module declares shapes and
// allocates nothing; allocate() gives every parameter its memory and initial value.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/profiler.h"
#include "autograd/var.h"
#include "kernels/token_grid.h"
#include "nn/initialise.h"

namespace rwkvlab {

/// How the optimiser treats a parameter, as its block prescribes; an experiment may override it by name.
struct ParameterRules {
  double learning_rate_scale = 1;  ///< factor on the learning rate
  double warm_up_stage_scale = 1;  ///< the factor in the warm-up stage of staged training (spec: my_pile_stage 2)
  bool weight_decay = false;       ///< whether weight decay applies
};

struct Parameter {
  std::string name;  ///< full official name once the tree is rooted, for example "blocks.0.att.time_decay"
  Shape shape;
  Initialiser initial;
  ParameterRules rules;
  Var var;  ///< undefined until Module::allocate()
};

/// One piece of a model's recurrent state: what a module carries from one chunk of a sequence to the next.
struct StatePiece {
  std::string name;             ///< full name, "blocks.0.att.wkv"
  Shape shape;                  ///< without the batch dimension; with 0 rows, one more row comes with every token
  std::vector<double> initial;  ///< values at the start of a sequence, one per row of `shape`; empty: 0 everywhere
  std::function<Var(std::int64_t batch)> learned = {};  ///< in place of `initial`: where sequences learn to start

  /// Whether it grows with the sequence, as the cache of attention does. Whoever carries states without an end must
  /// refuse it.
  bool grows() const { return shape.rank() > 0 && shape[0] == 0; }
};

/// Values of all state pieces, each [batch, ...], in the order of Module::state_pieces().
class State {
 public:
  const Var* find(std::string_view name) const;
  void set(std::string_view name, Var value);
  const std::vector<std::pair<std::string, Var>>& pieces() const { return pieces_; }
  bool empty() const { return pieces_.empty(); }
  /// The same values as constants: truncates back-propagation through time.
  State detached() const;

 private:
  std::vector<std::pair<std::string, Var>> pieces_;
};

/// Receives named values during forward. Implemented by the run file's recorder and by the search for non-finite
/// values.
class ProbeSink {
 public:
  virtual ~ProbeSink() = default;
  /// `path` is the module's path and the probe's name, "blocks.0.att.receptance"; `dimensions` names the axes of the
  /// value, comma-separated ("batch,time,channel").
  virtual void probe(const std::string& path, const Var& value, std::string_view dimensions) = 0;
  /// False for a value that probe() would ignore: one that nobody else needs is then not computed.
  virtual bool wants(const std::string& /*path*/) const { return true; }
};

class Module;

/// Told when forward enters and leaves a module: attributes FLOPs, memory and time.
class ModuleListener {
 public:
  virtual ~ModuleListener() = default;
  virtual void enter(const Module& module) = 0;
  virtual void leave(const Module& module) = 0;
};

/// What one layer of a forward pass leaves for the layers after it. One per pass: it holds nothing at the start, and
/// whoever runs the layers (LanguageModel::logits) gives all of them the same.
struct SharedValues {
  Var first_value;  ///< the value of the first RWKV-7 time mix, [batch, time, channels]
};

/// What a forward pass carries besides its input. Everything is optional.
struct ForwardContext {
  const State* state_in = nullptr;  ///< state to start from; null: the empty state
  State* state_out = nullptr;       ///< where to leave the state after the last token; null: not wanted
  SharedValues* shared = nullptr;   ///< values passed from layer to layer; null: every layer is on its own
  ProbeSink* probes = nullptr;
  ModuleListener* listener = nullptr;
  const TokenGrid* grid = nullptr;          ///< how the tokens lie in an image; null: they are a sequence
  const TokenShift* token_shift = nullptr;  ///< what tokens are mixed with in place of the token before; null: that
  bool training = false;                    ///< dropout is active
  std::uint64_t seed = 0;                   ///< of dropout
  std::uint64_t step = 0;                   ///< of dropout: masks depend on (seed, step, module path, element)
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& path() const { return path_; }
  /// Every parameter of this module and its children, in declaration order.
  std::vector<Parameter*> parameters() const;
  std::vector<StatePiece> state_pieces() const;
  /// Direct children with their names.
  const std::vector<std::pair<std::string, std::unique_ptr<Module>>>& children() const { return children_; }
  const std::vector<std::unique_ptr<Parameter>>& own_parameters() const { return parameters_; }
  /// What `describe` prints beside the module, for example "Linear 256 -> 1024".
  virtual std::string summary() const { return ""; }

  /// Memory and initial values for all parameters. To be called on the root, once.
  void allocate(std::uint64_t seed, DType type = DType::f32);
  /// Memory only (undefined contents): for a model whose weights are read from a file, and in shape-only mode.
  void allocate_uninitialised(DType type = DType::f32);
  /// The state at the start of a sequence.
  State initial_state(std::int64_t batch, DType type = DType::f32) const;

  /// Sets full names below this module; called by the root's constructor user through make_root().
  void set_path(const std::string& path);

  Parameter& parameter(const std::string& name, const Shape& shape, Initialiser initial, ParameterRules rules = {});
  void state(const std::string& name, const Shape& shape, std::vector<double> initial = {});
  /// A piece of state whose start is a function of parameters; `start` gives [batch, ...].
  void learned_state(const std::string& name, const Shape& shape, std::function<Var(std::int64_t batch)> start);
  template <class M>
  M& adopt(const std::string& name, std::unique_ptr<M> module) {
    M& reference = *module;
    children_.emplace_back(name, std::move(module));
    return reference;
  }
  template <class M, class... Arguments>
  M& child(const std::string& name, Arguments&&... arguments) {
    return adopt(name, std::make_unique<M>(std::forward<Arguments>(arguments)...));
  }

 protected:
  /// Shows a value to whoever listens; costs a pointer test when nobody does.
  void probe(const ForwardContext& context, std::string_view name, const Var& value,
             std::string_view dimensions = "batch,time,channel") const;
  /// This module's piece of the incoming state; undefined when the sequence starts here.
  Var read_state(const ForwardContext& context, std::string_view name) const;
  void write_state(const ForwardContext& context, std::string_view name, const Var& value) const;
  bool wants_state(const ForwardContext& context) const { return context.state_out != nullptr; }

 private:
  std::string member(std::string_view name) const;
  std::string path_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<StatePiece> states_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
};

/// Marks the extent of one module's forward: tells the listener and the profiler, and adds the module's path to a
/// ShapeError on its way out. Usage: `return in_module(*this, context, [&] { ... });`
template <class Body>
Var in_module(const Module& module, const ForwardContext& context, Body&& body);

namespace detail {
/// Rethrows a ShapeError with the module's path added, unless it names one already.
[[noreturn]] void rethrow_with_path(const std::string& path);
}  // namespace detail

template <class Body>
Var in_module(const Module& module, const ForwardContext& context, Body&& body) {
  if (context.listener != nullptr) context.listener->enter(module);
  ProfileSpan span;
  if (Profiler* const profiler = Profiler::current()) span.open_module(*profiler, module.path());
  Var result;
  try {
    result = body();
  } catch (...) {
    detail::rethrow_with_path(module.path());
  }
  if (context.listener != nullptr) context.listener->leave(module);
  return result;
}

/// Declares full parameter and state names for a finished tree.
template <class M>
std::unique_ptr<M> make_root(std::unique_ptr<M> module, const std::string& path = "") {
  module->set_path(path);
  return module;
}

}  // namespace rwkvlab
