// The kernels that `rwkvlab bench kernels` measures, one row each.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/bfloat16_products.h"
#include "kernels/sizes.h"
#include "tensor/tensor.h"

namespace rwkvlab {

/// The operands of one kernel, with random numbers in them, and what the kernel moves and computes: every array that is
/// read or written counts once.
class KernelOperands {
 public:
  const float* read(kernels::Index count, double smallest = -0.5, double largest = 0.5);
  float* write(kernels::Index count);
  float* update(kernels::Index count);  ///< read and written; numbers in [0, 1)
  const std::int64_t* tokens(kernels::Index count, kernels::Index below);
  const kernels::Bfloat16* read_bfloat16(kernels::Index count);
  kernels::Bfloat16* write_bfloat16(kernels::Index count);
  void computes(double flops, bool bfloat16 = false);

  double bytes() const { return bytes_; }
  double flops() const { return flops_; }
  double bfloat16_flops() const { return bfloat16_flops_; }

 private:
  Tensor add(kernels::Index count, double smallest, double largest);
  std::vector<Tensor> tensors_;
  std::vector<ProductOperand> rounded_;
  double bytes_ = 0, flops_ = 0, bfloat16_flops_ = 0;
};

/// `prepare` fills the operands, which must outlive what it returns: one call of the kernel.
struct KernelCase {
  std::string name;  ///< "wkv6 heads of 64 backward"
  std::function<std::function<void()>(KernelOperands&)> prepare;
  std::string series = {};  ///< of cases that compute the same for sequences of other lengths; empty: of none
  double tokens = 0;        ///< of a case of a series
};

namespace small_workload {
inline constexpr kernels::Index batch = 8, context = 256, width = 256, all = batch * context * width;
}  // namespace small_workload

/// The recurrences with matrix-valued states: WKV of RWKV-5, 6 and 7 for several sizes of heads.
std::vector<KernelCase> matrix_state_cases();
/// The kernels of Vision-RWKV: 192 channels, images of 14 x 14 to 128 x 128 tokens.
std::vector<KernelCase> image_cases();
/// All kernels, most at the sizes of the small workload (batch 8, context 256, width 256), without those that this
/// processor cannot run.
std::vector<KernelCase> kernel_cases();

}  // namespace rwkvlab
