// Matrix products: float and bfloat16 through oneDNN, double through Eigen. Every product of the library passes here.
#pragma once

#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// One product C = op(A) op(B), or C += op(A) op(B) when `accumulate`; `batch` of them at fixed distances. op(A) is [m,
/// k] and op(B) [k, n], row-major without gaps: with transpose_a, A is stored as [k, m]; with transpose_b, B as [n, k].
/// Strides are in elements between consecutive matrices of the batch; 0 for A or B uses the same matrix each time.
struct MatmulCall {
  Index batch = 1;
  Index m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
  Index stride_a = 0, stride_b = 0, stride_c = 0;
  bool bfloat16 = false;  ///< A and B are; C is float. The functions that compute set this by themselves

  /// 2 batch m n k: a multiplication and an addition each count as one.
  double flops() const {
    return 2.0 * static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

/// C [m, n] = op(A) op(B), or += with `accumulate`. The same bits for every thread count. Primitives are cached by
/// shape: only the first call of a shape allocates. k = 0 gives zeros (or leaves C as it is). Throws BugError when
/// oneDNN refuses (out of memory).
template <class Real>
void matmul(Index m, Index n, Index k, const Real* a, bool transpose_a, const Real* b, bool transpose_b, Real* c,
            bool accumulate = false);

/// `call.batch` products; C's matrices may not overlap.
template <class Real>
void batched_matmul(const MatmulCall& call, const Real* a, const Real* b, Real* c);

/// The same with operands in bfloat16. Products of two are exact in float; oneDNN adds them up in float and takes
/// denormal operands for 0. The same bits for every thread count, too. Throws BugError on a processor without
/// has_bfloat16_products() that oneDNN does not serve.
void batched_matmul(const MatmulCall& call, const Bfloat16* a, const Bfloat16* b, float* c);

/// Whether this processor multiplies bfloat16 faster than float: AVX512-BF16 or AMX, as oneDNN sees it (its environment
/// variable ONEDNN_MAX_CPU_ISA can hide them).
bool has_bfloat16_products();

/// The same products as a plain user of oneDNN would compute them, on its own threads: the yardstick of the benchmarks.
/// Not used in training, because the bits may depend on the number of threads.
void batched_matmul_as_onednn_would(const MatmulCall& call, const float* a, const float* b, float* c);
void batched_matmul_as_onednn_would(const MatmulCall& call, const Bfloat16* a, const Bfloat16* b, float* c);

/// Tells the recorders of this thread about a product. matmul() and batched_matmul() do so themselves; a caller that
/// only plans shapes calls this instead of computing. Costs one test of a thread-local pointer when nobody records.
void note_matmul(const MatmulCall& call);

/// The version of oneDNN that is loaded, "2.6.3".
std::string onednn_version();

/// Collects the products of this thread while it lives. Recorders may be nested; each sees every call.
class MatmulRecorder {
 public:
  MatmulRecorder();
  ~MatmulRecorder();
  MatmulRecorder(const MatmulRecorder&) = delete;
  MatmulRecorder& operator=(const MatmulRecorder&) = delete;

  const std::vector<MatmulCall>& calls() const { return calls_; }
  /// Sum of flops() over the calls.
  double flops() const;
  void clear() { calls_.clear(); }

 private:
  friend void note_matmul(const MatmulCall& call);
  std::vector<MatmulCall> calls_;
  MatmulRecorder* outer_;
};

}  // namespace rwkvlab::kernels
