// One run of a reference case: hands inputs to a runner, collects what it computed, and compares.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "autograd/var.h"
#include "nn/module.h"
#include "verify/reference_case.h"

namespace rwkvlab {

/// Elements [from, from + count) of `value` are elements [to, to + count) of a tensor of the file.
struct Piece {
  Var value;
  std::int64_t from = 0, to = 0, count = 0;
};

/// A tensor of the file as the values it is made of: chunks of a sequence, rows of a state.
struct Packed {
  Shape shape;
  std::vector<Piece> pieces;
};

Packed packed(const Var& whole);

/// The largest allowed error of each tensor.
struct Tolerances {
  double output = 0;
  double gradient = 0;
  std::map<std::string, double> of_output;  ///< outputs that have their own
  bool absolute = false;                    ///< errors are not divided by the largest expected magnitude
};

/// The comparison of one expected tensor.
struct TensorResult {
  std::string name;          ///< as in the file: "out.y", "grad.key.weight"
  bool is_gradient = false;  ///< else an output
  double error = 0;          ///< largest difference, see `is_relative`; infinite when a value is NaN or missing
  bool is_relative = true;   ///< divided by the largest expected magnitude
  double tolerance = 0;
  bool pass = false;
  std::string note;  ///< why a tensor fails without a number
};

class CaseRun {
 public:
  /// All arithmetic is done in `precision`, float32 or float64.
  CaseRun(const ReferenceCase& reference, DType precision) : reference_(reference), precision_(precision) {}

  const ReferenceCase& reference() const { return reference_; }
  const CaseConfig& config() const { return reference_.config; }
  DType precision() const { return precision_; }
  bool expects(const std::string& output) const { return reference_.outputs.count(output) != 0; }

  /// param.<name> as a leaf of this shape. Throws DataError when it is missing or has another one.
  Var parameter(const std::string& name, const Shape& shape);
  /// in.<name>, real numbers, as a leaf of the shape it has in the file.
  Var input(const std::string& name);
  /// The same as a leaf of this shape. Throws DataError when the file's tensor has another one.
  Var input(const std::string& name, const Shape& shape);
  /// in.<name>, real numbers of the wanted rank, converted to the precision.
  Tensor real_input(const std::string& name, int rank) const;
  /// in.<name>, integers of the wanted rank.
  Tensor integer_input(const std::string& name, int rank) const;
  /// Values that together are in.<name>; their gradients are compared with grad_in.<name>.
  void set_input(const std::string& name, Packed leaves) { inputs_[name] = std::move(leaves); }
  /// Gives a module without memory the weights of the file, `file_name` telling what a parameter is called there (left
  /// out: the same). Throws DataError listing the parameters that are missing, unexpected or of another shape. Mask
  /// buffers of official checkpoints are skipped.
  void load(Module& module, const std::function<std::string(const std::string&)>& file_name = {});

  /// What was computed for out.<name>. Throws DataError when the file's tensor has another shape.
  void output(const std::string& name, Packed values);
  void output(const std::string& name, const Var& value) { output(name, packed(value)); }
  void output(const std::string& name, const Shape& shape, const std::vector<double>& values);

  /// Runs backward of L = Σ out · cotangent over the outputs that have a cotangent. A scalar output "loss" without
  /// one counts once when no output has any.
  void backward(Tape& tape) const;
  /// Compares every expected output and gradient; those that were not computed fail.
  std::vector<TensorResult> compare(const Tolerances& tolerances) const;

 private:
  const ReferenceCase& reference_;
  DType precision_;
  std::map<std::string, Packed> parameters_, inputs_, outputs_;
};

/// Throws DataError when `elements` (of what `what` names) would take more memory than a reference case has any need
/// of. Keeps a small file from asking for a huge computation.
void check_size(double elements, std::string_view what);

/// Tokens or vectors [begin, end) of [batch, time, ...]; a copy.
Tensor time_range(const Tensor& x, std::int64_t begin, std::int64_t end);
/// Values [batch, time_i, ...] side by side in time, as a tensor of `shape`.
Packed joined_in_time(const std::vector<Var>& chunks, const Shape& shape);
/// [begin, end) of every chunk of `time` tokens, from `chunk_1` (an integer or a list of the first chunks' lengths; or
/// `split_at`, which means the same) of the config; the rest is the last chunk.
std::vector<std::pair<std::int64_t, std::int64_t>> chunk_ranges(const CaseConfig& config, std::int64_t time);

}  // namespace rwkvlab
