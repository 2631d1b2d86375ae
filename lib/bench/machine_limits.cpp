#include "bench/machine_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "autograd/bfloat16_products.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t side = 1024, elements = 16 << 20;
constexpr const char *product = "limit: product", *bfloat16_product = "limit: bfloat16 product", *sum = "limit: sum";

kernels::MatmulCall square() {
  kernels::MatmulCall call;
  call.m = call.n = call.k = side;
  return call;
}

}  // namespace

double MachineLimits::seconds(double flops, double bfloat16_flops, double bytes) const {
  const double in_bfloat16 = bfloat16_rate > 0 ? bfloat16_flops : 0.0;
  const double arithmetic =
      (flops - in_bfloat16) / product_rate + (in_bfloat16 > 0 ? in_bfloat16 / bfloat16_rate : 0.0);
  return std::max(arithmetic, bytes / memory_rate);
}

void MachineLimits::reached(double flops, bool in_bfloat16, double seconds) {
  double& rate = in_bfloat16 ? bfloat16_rate : product_rate;
  rate = std::max(rate, flops / seconds);
}

LimitProbe::LimitProbe() : a_(Tensor::full({elements}, 0.5)), b_(Tensor::full({elements}, 0.25)), c_(a_.clone()) {}

std::vector<Candidate> LimitProbe::candidates() const {
  std::vector<Candidate> all;
  all.push_back({product, [this] {
                   kernels::batched_matmul_as_onednn_would(square(), a_.data<float>(), b_.data<float>(),
                                                           c_.data<float>());
                 }});
  all.push_back({sum, [this] { kernels::add(elements, a_.data<float>(), b_.data<float>(), c_.data<float>()); }});
  if (kernels::has_bfloat16_products()) {
    const ProductOperand a = ProductOperand::rounded(a_.rows(0, side * side)),
                         b = ProductOperand::rounded(b_.rows(0, side * side));
    all.push_back({bfloat16_product, [this, a, b] {
                     kernels::batched_matmul_as_onednn_would(square(), a.bfloat16(), b.bfloat16(), c_.data<float>());
                   }});
  }
  return all;
}

MachineLimits LimitProbe::limits(const std::vector<Timing>& timings, std::size_t first) {
  MachineLimits limits;
  limits.threads = kernels::threads();
  limits.product_rate = square().flops() / timings[first].minimum;
  limits.memory_rate = 3.0 * static_cast<double>(elements * sizeof(float)) / timings[first + 1].minimum;
  if (kernels::has_bfloat16_products()) limits.bfloat16_rate = square().flops() / timings[first + 2].minimum;
  return limits;
}

std::string text(const MachineLimits& limits) {
  return fmt::format(
      "limits, {} thread{}: {:.0f} GFLOP/s of float32 products{}, {:.1f} GB/s of memory\n", limits.threads,
      limits.threads == 1 ? "" : "s", limits.product_rate * 1e-9,
      limits.bfloat16_rate > 0 ? fmt::format(", {:.0f} of bfloat16 products", limits.bfloat16_rate * 1e-9) : "",
      limits.memory_rate * 1e-9);
}

nlohmann::json json(const MachineLimits& limits) {
  return {{"threads", limits.threads},
          {"product_flops_per_second", limits.product_rate},
          {"bfloat16_product_flops_per_second", limits.bfloat16_rate},
          {"memory_bytes_per_second", limits.memory_rate}};
}

}  // namespace rwkvlab
