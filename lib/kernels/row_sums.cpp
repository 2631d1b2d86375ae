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

RWKVLAB_CLONES void integer_sums_anywhere(const std::uint8_t* bytes, Index count, Index width, const IntegerInputs& x,
                                          const float* scales, float* sums) {
  const std::int8_t *const high = x.high, *const low = x.low;
  for (Index row = 0; row < count; ++row, bytes += width) {
    std::int32_t lanes[32] = {};
    for (Index i = 0; i < width; i += 32) {
#pragma omp simd
      for (int n = 0; n < 32; ++n) lanes[n] += (bytes[i + n] - 128) * (256 * high[i + n] + low[i + n]);
    }
    std::int64_t sum = 0;
    for (const std::int32_t lane : lanes) sum += lane;
    sums[row] = static_cast<float>(sum) * (scales[row] * x.unit);
  }
}

#ifdef RWKVLAB_HAS_AVX512_ROWS

#define RWKVLAB_AVX512 __attribute__((target("avx512f,avx512bw")))

// How far ahead of the reads weights are asked for: the processor's own prefetcher stops at pages of 4 kB.
constexpr Index ahead = 8192;

/// A cache line of weights in a register. Loops over them are unrolled: the processor's own prefetcher follows each
/// load of a loop by itself, and sees further ahead where there are several. GCC would rather read a line once per use,
/// from memory both times, and while a line is still on its way the second read costs half of the bandwidth.
RWKVLAB_AVX512 RWKVLAB_INLINE __m512i line(const void* at) {
  __m512i words = _mm512_loadu_si512(at);
  asm("" : "+v"(words));
  _mm_prefetch(static_cast<const char*>(at) + ahead, _MM_HINT_NTA);
  return words;
}

RWKVLAB_AVX512 void float_sums_avx512(const std::uint32_t* words, Index count, Index width, const float* x,
                                      float* sums) {
  for (Index row = 0; row < count; ++row, words += width) {
    __m512 a{}, b{}, c{}, d{};
#pragma GCC unroll 2
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
#pragma GCC unroll 4
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

#define RWKVLAB_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

/// In every 128 bits, sums of neighbours of the first vector, then of the second (for pairs, of pairs).
RWKVLAB_AVX512 RWKVLAB_INLINE __m512i with_neighbours(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}
RWKVLAB_AVX512 RWKVLAB_INLINE __m512i with_pairs(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}
/// The sums of four vectors.
RWKVLAB_AVX512 RWKVLAB_INLINE __m128i four_sums(const __m512i* v) {
  const __m512i quarters = with_pairs(with_neighbours(v[0], v[1]), with_neighbours(v[2], v[3]));
  const __m256i halves = _mm256_add_epi32(_mm512_castsi512_si256(quarters), _mm512_extracti64x4_epi64(quarters, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

/// Sums of weights' bytes times the bytes of inputs.
struct ByteSums {
  __m512i high, low;
};

RWKVLAB_VNNI RWKVLAB_INLINE void add_line(ByteSums& sums, __m512i weights, const IntegerInputs& x, Index at) {
  sums.high = _mm512_dpbusd_epi32(sums.high, weights, _mm512_loadu_si512(x.high + at));
  sums.low = _mm512_dpbusd_epi32(sums.low, weights, _mm512_loadu_si512(x.low + at));
}

/// A row, four lines at a time: the processor's prefetcher follows each load of a loop by itself, and sees further
/// ahead where there are several.
RWKVLAB_VNNI RWKVLAB_INLINE ByteSums row_byte_sums(const std::uint8_t* bytes, Index width, const IntegerInputs& x) {
  ByteSums even{}, odd{};
  Index i = 0;
  for (; i + 256 <= width; i += 256) {
    const __m512i a = line(bytes + i), b = line(bytes + i + 64), c = line(bytes + i + 128), d = line(bytes + i + 192);
    add_line(even, a, x, i), add_line(odd, b, x, i + 64);
    add_line(even, c, x, i + 128), add_line(odd, d, x, i + 192);
  }
  for (; i < width; i += 64) add_line(even, line(bytes + i), x, i);
  return {_mm512_add_epi32(even.high, odd.high), _mm512_add_epi32(even.low, odd.low)};
}

/// Four rows' sums at a time. With bytes b = w + 128, Σ w x = 256 Σ b high + Σ b low - 128 Σ x.
RWKVLAB_VNNI void integer_sums_vnni(const std::uint8_t* bytes, Index count, Index width, const IntegerInputs& x,
                                    const float* scales, float* sums) {
  constexpr Index widest = 65536;  // Whose sums fit into 32 bits.
  if (width > widest) return integer_sums_anywhere(bytes, count, width, x, scales, sums);
  const __m256d offset = _mm256_set1_pd(128.0 * static_cast<double>(x.sum));
  for (Index first = 0; first < count; first += 4) {
    const Index rows = count - first < 4 ? count - first : 4;
    __m512i high[4] = {}, low[4] = {};
    for (Index row = 0; row < rows; ++row, bytes += width) {
      const ByteSums row_sums = row_byte_sums(bytes, width, x);
      high[row] = row_sums.high, low[row] = row_sums.low;
    }
    const __m256d by_high = _mm256_mul_pd(_mm256_cvtepi32_pd(four_sums(high)), _mm256_set1_pd(256));
    const __m256d exact = _mm256_sub_pd(_mm256_add_pd(by_high, _mm256_cvtepi32_pd(four_sums(low))), offset);
    alignas(16) float wide[4];
    _mm_store_ps(wide, _mm256_cvtpd_ps(exact));
    for (Index row = 0; row < rows; ++row) sums[first + row] = wide[row] * (scales[first + row] * x.unit);
  }
}

bool has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  return has;
}
bool has_vnni() {
  static const bool has = has_avx512() && __builtin_cpu_supports("avx512vnni");
  return has;
}

#else

constexpr FloatRowSums float_sums_avx512 = nullptr, bfloat16_sums_avx512 = nullptr;
constexpr IntegerRowSums integer_sums_vnni = nullptr;
bool has_avx512() { return false; }
bool has_vnni() { return false; }

#endif

}  // namespace

FloatRowSums portable_float_row_sums() { return float_sums_anywhere; }
FloatRowSums portable_bfloat16_row_sums() { return bfloat16_sums_anywhere; }
IntegerRowSums portable_integer_row_sums() { return integer_sums_anywhere; }

FloatRowSums float_row_sums() { return has_avx512() ? float_sums_avx512 : float_sums_anywhere; }
FloatRowSums bfloat16_row_sums() { return has_avx512() ? bfloat16_sums_avx512 : bfloat16_sums_anywhere; }
IntegerRowSums integer_row_sums() { return has_vnni() ? integer_sums_vnni : integer_sums_anywhere; }

}  // namespace rwkvlab::kernels
