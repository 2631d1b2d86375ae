#include "kernels/row_sums.h"

#include <bit>

#include "kernels/clones.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define RWKVLAB_HAS_AVX512_ROWS
#include <immintrin.h>
// GCC 12 sees uninitialised values in its own intrinsics (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace rwkvlab::kernels {
namespace {

RWKVLAB_INLINE float lower_half(std::uint32_t word) { return std::bit_cast<float>(word << 16); }
RWKVLAB_INLINE float upper_half(std::uint32_t word) { return std::bit_cast<float>(word & 0xFFFF0000U); }

/// 64 interleaved sums, folded in halves.
RWKVLAB_INLINE float folded(float* sums) {
  for (int half = 32; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

RWKVLAB_CLONES void float_sums_anywhere(const std::uint32_t* words, Index count, Index width, const float* x,
                                        float* sums) {
  for (Index row = 0; row < count; ++row, words += width) {
    float lanes[64] = {};
    for (Index i = 0; i < width; i += 64) {
#pragma omp simd
      for (int n = 0; n < 64; ++n) lanes[n] += x[i + n] * std::bit_cast<float>(words[i + n]);
    }
    sums[row] = folded(lanes);
  }
}

RWKVLAB_CLONES void bfloat16_sums_anywhere(const std::uint32_t* words, Index count, Index width, const float* x,
                                           float* sums) {
  for (Index row = 0; row < count; ++row, words += width / 2) {
    float lanes[64] = {};
    for (Index i = 0; i < width; i += 64) {
#pragma omp simd
      for (int n = 0; n < 16; ++n) lanes[n] += x[i + n] * lower_half(words[i / 2 + n]);
#pragma omp simd
      for (int n = 0; n < 16; ++n) lanes[16 + n] += x[i + 16 + n] * upper_half(words[i / 2 + n]);
#pragma omp simd
      for (int n = 0; n < 16; ++n) lanes[32 + n] += x[i + 32 + n] * lower_half(words[i / 2 + 16 + n]);
#pragma omp simd
      for (int n = 0; n < 16; ++n) lanes[48 + n] += x[i + 48 + n] * upper_half(words[i / 2 + 16 + n]);
    }
    sums[row] = folded(lanes);
  }
}

RWKVLAB_CLONES void integer_sums_anywhere(const std::uint16_t* words, Index count, Index width, const std::int16_t* x,
                                          const float* scales, float unit, float* sums) {
  for (Index row = 0; row < count; ++row, words += width / 2) {
    std::int32_t lanes[32] = {};
    for (Index i = 0; i < width; i += 64) {
#pragma omp simd
      for (int n = 0; n < 32; ++n) {
        const auto word = static_cast<std::int16_t>(words[i / 2 + n]);
        const auto low = static_cast<std::int8_t>(word & 0xFF);
        lanes[n] += std::int32_t{low} * std::int32_t{x[i + n]} + (word >> 8) * std::int32_t{x[i + 32 + n]};
      }
    }
    std::int64_t sum = 0;
    for (const std::int32_t lane : lanes) sum += lane;
    sums[row] = static_cast<float>(sum) * (scales[row] * unit);
  }
}

#ifdef RWKVLAB_HAS_AVX512_ROWS

#define RWKVLAB_AVX512 __attribute__((target("avx512f,avx512bw")))

// How far ahead of the reads weights are asked for: the processor's own prefetcher stops at pages of 4 kB.
constexpr Index ahead = 8192;

/// A cache line of weights in a register. GCC would rather read a line once per use, from memory both times, and while
/// a line is still on its way the second read costs half of the bandwidth.
RWKVLAB_AVX512 RWKVLAB_INLINE __m512i line(const void* at) {
  __m512i words = _mm512_loadu_si512(at);
  asm("" : "+v"(words));
  _mm_prefetch(static_cast<const char*>(at) + ahead, _MM_HINT_T0);
  return words;
}

RWKVLAB_AVX512 void float_sums_avx512(const std::uint32_t* words, Index count, Index width, const float* x,
                                      float* sums) {
  for (Index row = 0; row < count; ++row, words += width) {
    __m512 a{}, b{}, c{}, d{};
    for (Index i = 0; i < width; i += 64) {
      a = _mm512_fmadd_ps(_mm512_castsi512_ps(line(words + i)), _mm512_loadu_ps(x + i), a);
      b = _mm512_fmadd_ps(_mm512_castsi512_ps(line(words + i + 16)), _mm512_loadu_ps(x + i + 16), b);
      c = _mm512_fmadd_ps(_mm512_castsi512_ps(line(words + i + 32)), _mm512_loadu_ps(x + i + 32), c);
      d = _mm512_fmadd_ps(_mm512_castsi512_ps(line(words + i + 48)), _mm512_loadu_ps(x + i + 48), d);
    }
    sums[row] = _mm512_reduce_add_ps((a + b) + (c + d));
  }
}

RWKVLAB_AVX512 void bfloat16_sums_avx512(const std::uint32_t* words, Index count, Index width, const float* x,
                                         float* sums) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
  for (Index row = 0; row < count; ++row, words += width / 2) {
    __m512 a{}, b{}, c{}, d{};
    for (Index i = 0; i < width; i += 64) {
      const __m512i first = line(words + i / 2), second = line(words + i / 2 + 16);
      a = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(first, 16)), _mm512_loadu_ps(x + i), a);
      b = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(first, upper)), _mm512_loadu_ps(x + i + 16), b);
      c = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(second, 16)), _mm512_loadu_ps(x + i + 32), c);
      d = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(second, upper)), _mm512_loadu_ps(x + i + 48), d);
    }
    sums[row] = _mm512_reduce_add_ps((a + b) + (c + d));
  }
}

RWKVLAB_AVX512 void integer_sums_avx512(const std::uint16_t* words, Index count, Index width, const std::int16_t* x,
                                        const float* scales, float unit, float* sums) {
  for (Index row = 0; row < count; ++row, words += width / 2) {
    __m512i a{}, b{};
    for (Index i = 0; i < width; i += 64) {
      const __m512i both = line(words + i / 2);
      const __m512i low = _mm512_srai_epi16(_mm512_slli_epi16(both, 8), 8), high = _mm512_srai_epi16(both, 8);
      a = _mm512_add_epi32(a, _mm512_madd_epi16(low, _mm512_loadu_si512(x + i)));
      b = _mm512_add_epi32(b, _mm512_madd_epi16(high, _mm512_loadu_si512(x + i + 32)));
    }
    const __m512i lanes = _mm512_add_epi32(a, b);
    const double sum = _mm512_reduce_add_pd(_mm512_add_pd(_mm512_cvtepi32_pd(_mm512_castsi512_si256(lanes)),
                                                          _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(lanes, 1))));
    sums[row] = static_cast<float>(sum) * (scales[row] * unit);
  }
}

bool has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  return has;
}

#else

constexpr FloatRowSums float_sums_avx512 = nullptr, bfloat16_sums_avx512 = nullptr;
constexpr IntegerRowSums integer_sums_avx512 = nullptr;
bool has_avx512() { return false; }

#endif

}  // namespace

FloatRowSums portable_float_row_sums() { return float_sums_anywhere; }
FloatRowSums portable_bfloat16_row_sums() { return bfloat16_sums_anywhere; }
IntegerRowSums portable_integer_row_sums() { return integer_sums_anywhere; }

FloatRowSums float_row_sums() { return has_avx512() ? float_sums_avx512 : float_sums_anywhere; }
FloatRowSums bfloat16_row_sums() { return has_avx512() ? bfloat16_sums_avx512 : bfloat16_sums_anywhere; }
IntegerRowSums integer_row_sums() { return has_avx512() ? integer_sums_avx512 : integer_sums_anywhere; }

}  // namespace rwkvlab::kernels
