#include "kernels/onednn.h"

#include <fmt/format.h>
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "base/error.h"
#include "kernels/matmul.h"
#include "kernels/scratch.h"

namespace rwkvlab::kernels {
namespace {

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

struct ProductHash {
  std::size_t operator()(const SerialProduct& p) const {
    std::size_t hash = 0;
    const Index flags = p.transpose_a + 2 * p.transpose_b + 4 * p.accumulate + 8 * p.bfloat16;
    for (const Index part : {p.m, p.n, p.k, p.lda, p.ldb, p.ldc, flags}) {
      hash = (hash ^ static_cast<std::size_t>(part)) * 0x9E3779B97F4A7C15ULL;
      hash ^= hash >> 29;
    }
    return hash;
  }
};

/// oneDNN asks OpenMP how many threads it may use, and plans its sums accordingly. While this lives, the answer is 1.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

/// A primitive with its arguments; only the pointers change between calls.
class Product {
 public:
  explicit Product(const SerialProduct& p) : stream_(cpu()) {
    using Desc = dnnl::memory::desc;
    using Dims = dnnl::memory::dims;
    const auto type = p.bfloat16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
    const Desc a({p.m, p.k}, type, p.transpose_a ? Dims{1, p.lda} : Dims{p.lda, 1});
    const Desc b({p.k, p.n}, type, p.transpose_b ? Dims{1, p.ldb} : Dims{p.ldb, 1});
    const Desc c({p.m, p.n}, dnnl::memory::data_type::f32, Dims{p.ldc, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (p.accumulate) {
      dnnl::post_ops after;
      after.append_sum(1.0F);
      attributes.set_post_ops(after);
    }
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(cpu(), a, b, c, attributes);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, cpu());
#endif
    primitive_ = dnnl::matmul(description);
    scratch_bytes_ = description.scratchpad_desc().get_size();
    a_ = dnnl::memory(a, cpu(), nullptr);
    b_ = dnnl::memory(b, cpu(), nullptr);
    c_ = dnnl::memory(c, cpu(), nullptr);
    scratch_ = dnnl::memory(description.scratchpad_desc(), cpu(), nullptr);
    arguments_ = {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}, {DNNL_ARG_SCRATCHPAD, scratch_}};
  }

  void run(const void* a, const void* b, float* c) {
    // oneDNN's handles are not const; the inputs are only read.
    a_.set_data_handle(const_cast<void*>(a));
    b_.set_data_handle(const_cast<void*>(b));
    c_.set_data_handle(c);
    if (scratch_bytes_ > 0) scratch_.set_data_handle(scratch_bytes(Scratch::matmul, scratch_bytes_));
    primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::stream stream_;
  dnnl::matmul primitive_;
  dnnl::memory a_, b_, c_, scratch_;
  std::size_t scratch_bytes_ = 0;
  std::unordered_map<int, dnnl::memory> arguments_;  // Shares the handles of the members above.
};

/// Shapes repeat in training; a caller with ever new ones (growing attention windows) starts over now and then.
class KeptProducts {
 public:
  void run(const SerialProduct& product, const void* a, const void* b, float* c) {
    constexpr std::size_t most_kept = 1024;
    try {
      auto found = kept_.find(product);
      if (found == kept_.end()) {
        if (kept_.size() >= most_kept) kept_.clear();
        found = kept_.try_emplace(product, product).first;
      }
      found->second.run(a, b, c);
    } catch (const dnnl::error& error) {
      throw BugError(fmt::format("oneDNN cannot multiply [{}, {}] by [{}, {}]: {} (status {})", product.m, product.k,
                                 product.k, product.n, error.what(), static_cast<int>(error.status)));
    }
  }
  void clear() { kept_.clear(); }

 private:
  std::unordered_map<SerialProduct, Product, ProductHash> kept_;
};

SerialProduct in_bfloat16(SerialProduct product) {
  product.bfloat16 = true;
  return product;
}

void run_alone(const SerialProduct& product, const void* a, const void* b, float* c) {
  thread_local KeptProducts kept;
  const OneThread alone;
  kept.run(product, a, b, c);
}

void run_as_onednn_would(const SerialProduct& product, const void* a, const void* b, float* c) {
  thread_local KeptProducts kept;
  thread_local int planned_for = 0;  // A primitive is planned for a number of threads.
  if (planned_for != omp_get_max_threads()) kept.clear();
  planned_for = omp_get_max_threads();
  kept.run(product, a, b, c);
}

}  // namespace

void run_serial_product(const SerialProduct& product, const float* a, const float* b, float* c) {
  run_alone(product, a, b, c);
}

void run_serial_product(const SerialProduct& product, const Bfloat16* a, const Bfloat16* b, float* c) {
  run_alone(in_bfloat16(product), a, b, c);
}

void run_product_as_onednn_would(const SerialProduct& product, const float* a, const float* b, float* c) {
  run_as_onednn_would(product, a, b, c);
}

void run_product_as_onednn_would(const SerialProduct& product, const Bfloat16* a, const Bfloat16* b, float* c) {
  run_as_onednn_would(in_bfloat16(product), a, b, c);
}

bool has_bfloat16_products() {
  // Instruction sets are sets of bits, each holding those that it extends.
  constexpr auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

std::string onednn_version() {
  const dnnl_version_t* const version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace rwkvlab::kernels
