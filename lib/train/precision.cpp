#include "train/precision.h"

#include "kernels/matmul.h"

namespace rwkvlab {

std::string precision_used(const std::string& precision) {
  return kernels::has_bfloat16_products() ? precision : float32_precision;
}

std::string precision_note(const std::string& precision) {
  if (precision_used(precision) == precision) return "";
  return "train.precision is bfloat16_products, but this processor has no AVX512-BF16: training in float32";
}

PrecisionScope::PrecisionScope(const std::string& precision) {
  if (precision_used(precision) == bfloat16_precision) products_.emplace();
}

}  // namespace rwkvlab
