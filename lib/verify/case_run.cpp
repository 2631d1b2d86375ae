#include "verify/case_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/nearest.h"

namespace rwkvlab {
namespace {

// 2^28 elements: 1 GiB in float32.
constexpr double most_elements = 268435456.0;

Tensor from_doubles(const Shape& shape, const std::vector<double>& values, DType type) {
  const Tensor all = Tensor::from<double>(shape, values);
  return all.to(type);
}

std::vector<double> gather(const Packed& packed_values, const std::function<const Tensor&(const Var&)>& of) {
  std::vector<double> all(static_cast<std::size_t>(packed_values.shape.elements()), 0.0);
  for (const Piece& piece : packed_values.pieces) {
    const Tensor& tensor = of(piece.value);
    if (!tensor.defined()) continue;  // a gradient that never arrived is zero
    const std::vector<double> values = tensor.to_doubles();
    std::copy_n(values.begin() + piece.from, piece.count, all.begin() + piece.to);
  }
  return all;
}

const Tensor& value_of(const Var& var) { return var.value(); }
const Tensor& gradient_of(const Var& var) { return var.grad(); }

TensorResult compared(const Tensor& expected, const std::vector<double>& found, double tolerance, bool absolute) {
  TensorResult result;
  result.tolerance = tolerance;
  double largest = 0, difference = 0;
  bool finite = true;
  const std::vector<double> wanted = expected.to_doubles();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    finite = finite && std::isfinite(wanted[i]) && std::isfinite(found[i]);
    largest = std::max(largest, std::abs(wanted[i]));
    difference = std::max(difference, std::abs(found[i] - wanted[i]));
  }
  result.is_relative = !absolute && largest > 0;
  result.error = result.is_relative ? difference / largest : difference;
  if (!finite) {
    result.error = std::numeric_limits<double>::infinity();
    result.note = "NaN or infinity";
  }
  result.pass = result.error <= tolerance;
  return result;
}

bool is_mask_buffer(const std::string& name) {
  return name == "copy_mask" || name.ends_with("tiny_mask") || name.ends_with("att_mask");
}

}  // namespace

Packed packed(const Var& whole) { return {whole.shape(), {{whole, 0, 0, whole.value().elements()}}}; }

Var CaseRun::parameter(const std::string& name, const Shape& shape) {
  const Tensor& stored = reference_.parameter(name);
  if (squeezed(stored.shape()) != squeezed(shape)) {
    throw DataError(
        fmt::format("tensor 'param.{}' has shape {}, expected {}", name, stored.shape().text(), shape.text()));
  }
  // A copy: optimisers write into parameters.
  const Var leaf = Var::leaf(stored.to(precision_).clone().reshaped(shape));
  parameters_[name] = packed(leaf);
  return leaf;
}

Var CaseRun::input(const std::string& name) { return input(name, reference_.input(name).shape()); }

Var CaseRun::input(const std::string& name, const Shape& shape) {
  const Tensor stored = real_input(name, reference_.input(name).shape().rank());
  if (squeezed(stored.shape()) != squeezed(shape)) {
    throw DataError(fmt::format("tensor 'in.{}' has shape {}, expected {}", name, stored.shape().text(), shape.text()));
  }
  const Var leaf = Var::leaf(stored.reshaped(shape));
  inputs_[name] = packed(leaf);
  return leaf;
}

Tensor CaseRun::real_input(const std::string& name, int rank) const {
  const Tensor& stored = reference_.input(name);
  if (stored.dtype() == DType::i64 || stored.shape().rank() != rank) {
    throw DataError(fmt::format("tensor 'in.{}' is {} {}, expected {} dimensions of real numbers", name,
                                rwkvlab::name(stored.dtype()), stored.shape().text(), rank));
  }
  return stored.to(precision_);
}

Tensor CaseRun::integer_input(const std::string& name, int rank) const {
  const Tensor& stored = reference_.input(name);
  if (stored.dtype() != DType::i64 || stored.shape().rank() != rank) {
    throw DataError(fmt::format("tensor 'in.{}' is {} {}, expected {} dimensions of integers", name,
                                rwkvlab::name(stored.dtype()), stored.shape().text(), rank));
  }
  return stored;
}

void CaseRun::load(Module& module, const std::function<std::string(const std::string&)>& file_name) {
  std::vector<std::string> problems, known;
  for (Parameter* const p : module.parameters()) {
    const std::string name = file_name ? file_name(p->name) : p->name;
    known.push_back(name);
    const auto stored = reference_.parameters.find(name);
    if (stored == reference_.parameters.end()) {
      problems.push_back(fmt::format("'param.{}' {} is missing", name, p->shape.text()));
    } else if (squeezed(stored->second.shape()) != squeezed(p->shape)) {
      problems.push_back(
          fmt::format("'param.{}' has shape {}, expected {}", name, stored->second.shape().text(), p->shape.text()));
    } else {
      p->var = parameter(name, p->shape);
    }
  }
  for (const auto& [name, tensor] : reference_.parameters) {
    if (std::find(known.begin(), known.end(), name) == known.end() && !is_mask_buffer(name)) {
      problems.push_back(fmt::format("'param.{}' is not a parameter of this model{}", name, did_you_mean(name, known)));
    }
  }
  if (problems.empty()) return;
  const std::size_t shown = std::min<std::size_t>(problems.size(), 8);
  throw DataError(fmt::format("the weights do not fit the config: {}{}",
                              fmt::join(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(shown), "; "),
                              problems.size() > shown ? fmt::format("; and {} more", problems.size() - shown) : ""));
}

void CaseRun::output(const std::string& name, Packed values) {
  const auto expected = reference_.outputs.find(name);
  if (expected == reference_.outputs.end()) return;
  if (squeezed(expected->second.shape()) != squeezed(values.shape)) {
    throw DataError(fmt::format("tensor 'out.{}' has shape {}, but its inputs give {}", name,
                                expected->second.shape().text(), values.shape.text()));
  }
  outputs_[name] = std::move(values);
}

void CaseRun::output(const std::string& name, const Shape& shape, const std::vector<double>& values) {
  if (expects(name)) output(name, Var(Tensor::from<double>(shape, values)));
}

void CaseRun::backward(Tape& tape) const {
  std::vector<Var> outputs;
  Tensors seeds;
  for (const auto& [name, values] : outputs_) {
    const auto cotangent = reference_.cotangents.find(name);
    if (cotangent == reference_.cotangents.end()) continue;
    const std::vector<double> weights = cotangent->second.to_doubles();
    for (const Piece& piece : values.pieces) {
      std::vector<double> seed(static_cast<std::size_t>(piece.value.value().elements()), 0.0);
      std::copy_n(weights.begin() + piece.to, piece.count, seed.begin() + piece.from);
      outputs.push_back(piece.value);
      seeds.push_back(from_doubles(piece.value.shape(), seed, precision_));
    }
  }
  const auto loss = outputs_.find("loss");
  if (outputs.empty() && loss != outputs_.end() && loss->second.shape.elements() == 1) {
    outputs.push_back(loss->second.pieces.front().value);
    seeds.emplace_back();
  }
  tape.backward(outputs, seeds);
}

std::vector<TensorResult> CaseRun::compare(const Tolerances& tolerances) const {
  std::vector<TensorResult> results;
  const auto add = [&](const std::string& prefix, const TensorMap& expected, const std::map<std::string, Packed>& found,
                       bool is_gradient) {
    for (const auto& [name, tensor] : expected) {
      const auto own = tolerances.of_output.find(name);
      const double tolerance = is_gradient                         ? tolerances.gradient
                               : own != tolerances.of_output.end() ? own->second
                                                                   : tolerances.output;
      const auto values = found.find(name);
      TensorResult result;
      if (values == found.end()) {
        result.tolerance = tolerance;
        result.error = std::numeric_limits<double>::infinity();
        result.note = "this kind of case does not compute it";
      } else {
        result = compared(tensor, gather(values->second, is_gradient ? gradient_of : value_of), tolerance,
                          tolerances.absolute && !is_gradient);
      }
      result.name = prefix + name;
      result.is_gradient = is_gradient;
      results.push_back(std::move(result));
    }
  };
  add("out.", reference_.outputs, outputs_, false);
  add("grad.", reference_.gradients, parameters_, true);
  add("grad_in.", reference_.input_gradients, inputs_, true);
  return results;
}

void check_size(double elements, std::string_view what) {
  if (elements > most_elements) {
    throw DataError(fmt::format("{} would have {:.3g} elements; reference cases may have at most {:.3g}", what,
                                elements, most_elements));
  }
}

Tensor time_range(const Tensor& x, std::int64_t begin, std::int64_t end) {
  const std::int64_t batch = x.shape()[0], time = x.shape()[1], inner = x.elements() / (batch * time);
  std::vector<std::int64_t> sizes(x.shape().sizes().begin(), x.shape().sizes().end());
  sizes[1] = end - begin;
  const Tensor result = Tensor::empty(Shape(sizes), x.dtype());
  const auto copy = [&]<class T>(T) {
    for (std::int64_t b = 0; b < batch; ++b) {
      std::copy_n(x.data<T>() + (b * time + begin) * inner, (end - begin) * inner,
                  result.data<T>() + b * (end - begin) * inner);
    }
  };
  if (x.dtype() == DType::i64) {
    copy(std::int64_t{});
  } else {
    for_real(x.dtype(), copy);
  }
  return result;
}

Packed joined_in_time(const std::vector<Var>& chunks, const Shape& shape) {
  Packed result{shape, {}};
  std::int64_t time = 0, batch = 1, inner = 1;
  for (const Var& chunk : chunks) {
    time += chunk.shape()[1];
    batch = chunk.shape()[0];
    inner = chunk.value().elements() / (batch * chunk.shape()[1]);
  }
  std::int64_t begin = 0;
  for (const Var& chunk : chunks) {
    const std::int64_t length = chunk.shape()[1];
    for (std::int64_t b = 0; b < batch; ++b) {
      result.pieces.push_back({chunk, b * length * inner, (b * time + begin) * inner, length * inner});
    }
    begin += length;
  }
  return result;
}

std::vector<std::pair<std::int64_t, std::int64_t>> chunk_ranges(const CaseConfig& config, std::int64_t time) {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  std::int64_t begin = 0;
  const char* const key = config.has("split_at") ? "split_at" : "chunk_1";
  if (config.has(key)) {
    for (const std::int64_t length : config.integers(key, 1, time)) {
      if (begin + length > time) {
        throw DataError(fmt::format("the chunks of 'config.{}' are longer than the {} tokens", key, time));
      }
      ranges.emplace_back(begin, begin + length);
      begin += length;
    }
  }
  if (begin < time) ranges.emplace_back(begin, time);
  return ranges;
}

}  // namespace rwkvlab
