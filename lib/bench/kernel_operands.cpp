#include "base/random.h"
#include "bench/kernel_cases.h"

namespace rwkvlab {

Tensor KernelOperands::add(kernels::Index count, double smallest, double largest) {
  const Tensor& tensor = tensors_.emplace_back(Tensor::empty({count}));
  const RandomStream random(static_cast<std::uint64_t>(tensors_.size()), "kernel operands");
  for (kernels::Index i = 0; i < count; ++i) {
    tensor.data<float>()[i] =
        static_cast<float>(smallest + (largest - smallest) * random.uniform(static_cast<std::uint64_t>(i)));
  }
  return tensor;
}

const float* KernelOperands::read(kernels::Index count, double smallest, double largest) {
  bytes_ += static_cast<double>(count) * sizeof(float);
  return add(count, smallest, largest).data<float>();
}

float* KernelOperands::write(kernels::Index count) {
  bytes_ += static_cast<double>(count) * sizeof(float);
  return tensors_.emplace_back(Tensor::zeros({count})).data<float>();
}

float* KernelOperands::update(kernels::Index count) {
  bytes_ += 2.0 * static_cast<double>(count) * sizeof(float);
  return add(count, 0, 1).data<float>();
}

const std::int64_t* KernelOperands::tokens(kernels::Index count, kernels::Index below) {
  bytes_ += static_cast<double>(count) * sizeof(std::int64_t);
  const RandomStream random(static_cast<std::uint64_t>(tensors_.size()), "kernel tokens");
  const Tensor& tensor = tensors_.emplace_back(Tensor::empty({count}, DType::i64));
  for (kernels::Index i = 0; i < count; ++i) {
    tensor.data<std::int64_t>()[i] =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(below)));
  }
  return tensor.data<std::int64_t>();
}

const kernels::Bfloat16* KernelOperands::read_bfloat16(kernels::Index count) {
  bytes_ += static_cast<double>(count) * sizeof(kernels::Bfloat16);
  return rounded_.emplace_back(ProductOperand::rounded(add(count, -0.5, 0.5))).bfloat16();
}

kernels::Bfloat16* KernelOperands::write_bfloat16(kernels::Index count) {
  bytes_ += static_cast<double>(count) * sizeof(kernels::Bfloat16);
  return reinterpret_cast<kernels::Bfloat16*>(tensors_.emplace_back(Tensor::zeros({(count + 1) / 2})).data<float>());
}

void KernelOperands::computes(double flops, bool bfloat16) {
  flops_ += flops;
  if (bfloat16) bfloat16_flops_ += flops;
}

}  // namespace rwkvlab
