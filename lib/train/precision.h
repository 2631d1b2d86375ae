// In which number format the matrix products of a training are computed.
#pragma once

#include <optional>
#include <string>

#include "autograd/bfloat16_products.h"

namespace rwkvlab {

/// `train.precision` of an experiment file: the operands of the matrix products of linear layers are float32, or are
/// rounded to bfloat16 and their products added up in float32. Everything else is float32 either way.
inline constexpr const char *float32_precision = "float32", *bfloat16_precision = "bfloat16_products";

/// What comes of it on this processor: "bfloat16_products" where they are asked for and the processor has them, else
/// "float32".
std::string precision_used(const std::string& precision);

/// Why `precision` is not what is used, as one line for people; empty when it is.
std::string precision_note(const std::string& precision);

/// While this lives, forward passes on this thread, and the backward passes of what they record, use precision_used().
/// Weights must not change meanwhile.
class PrecisionScope {
 public:
  explicit PrecisionScope(const std::string& precision);

 private:
  std::optional<Bfloat16Products> products_;
};

}  // namespace rwkvlab
