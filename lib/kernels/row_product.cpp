#include "kernels/row_product.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/onednn.h"
#include "kernels/row_sums.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"

// Stored rows in steps of 64 inputs. A 32-bit word of bfloat16 holds inputs n (low half) and n + 16 of 32 in a row:
// taken apart by shifts, the parts meet inputs that lie in their natural order. A byte of int8 is q + 128.

namespace rwkvlab::kernels {
namespace {

Index padded(Index inputs) { return (inputs + row_step - 1) / row_step * row_step; }

/// Bytes of weights that are worth a thread.
constexpr Index least_share = 8192;

std::int32_t rounded(float value) { return static_cast<std::int32_t>(std::nearbyint(value)); }

float largest_magnitude(Index count, const float* x) {
  return lane_max<float>(0, count, 0.0F, [=](Index i) RWKVLAB_INLINE_LAMBDA { return std::abs(x[i]); });
}

void store_bfloat16(Index inputs, const float* row, std::uint32_t* words) {
  const auto bits = [&](Index i) -> std::uint32_t { return i < inputs ? to_bfloat16(row[i]).bits : 0; };
  for (Index block = 0; block < padded(inputs); block += 32) {
    for (Index n = 0; n < 16; ++n) words[block / 2 + n] = bits(block + n) | bits(block + n + 16) << 16;
  }
}

float store_int8(Index inputs, const float* row, std::uint8_t* bytes) {
  const float scale = largest_magnitude(inputs, row) / 127;
  const float inverse = scale > 0 ? 1 / scale : 0;
  for (Index i = 0; i < padded(inputs); ++i) {
    const std::int32_t q = i < inputs ? std::clamp(rounded(row[i] * inverse), -127, 127) : 0;
    bytes[i] = static_cast<std::uint8_t>(q + 128);
  }
  return scale;
}

/// Rows of inputs in the form that the sums take: padded numbers, or for int8 integers.
struct RowInputs {
  const float* numbers = nullptr;
  const IntegerInputs* integers = nullptr;  ///< [rows]
};

constexpr Index in_lines(Index bytes) { return (bytes + 63) / 64 * 64; }

/// Bytes of scratch memory that inputs take in that form.
Index input_bytes(const StoredRows& stored, Index rows) {
  const Index width = padded(stored.inputs);
  if (stored.format == WeightFormat::int8)
    return in_lines(rows * Index{sizeof(IntegerInputs)}) + (2 * rows + 2) * width;
  return width == stored.inputs ? 0 : in_lines(rows * width * 4);
}

/// Float32 inputs; the given ones where nothing is missing.
RowInputs number_inputs(Index rows, Index inputs, const float* x, std::byte* memory) {
  const Index width = padded(inputs);
  if (width == inputs) return {x, nullptr};
  auto* const copy = reinterpret_cast<float*>(memory);
  for (Index row = 0; row < rows; ++row) {
    std::copy_n(x + row * inputs, inputs, copy + row * width);
    std::fill(copy + row * width + inputs, copy + (row + 1) * width, 0.0F);
  }
  return {copy, nullptr};
}

/// x as integers of magnitude up to `limit`, by their bytes. The unit is NaN if one of the inputs is no number, so that
/// what follows from it is none either.
IntegerInputs as_integers(Index inputs, const float* x, float limit, std::int16_t* integers, std::int8_t* high,
                          std::int8_t* low) {
  IntegerInputs result = {high, low, 0, 0};
  IntegerInputs* const out = &result;
  run_cloned(
      [=](Index, Index) RWKVLAB_INLINE_LAMBDA {
        std::uint32_t largest = 0;  // Of magnitudes' bits, which are in the order of the magnitudes, NaN last.
#pragma omp simd reduction(max : largest)
        for (Index i = 0; i < inputs; ++i) {
          const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFU;
          largest = bits > largest ? bits : largest;
        }
        const float magnitude = std::bit_cast<float>(largest);
        out->unit = magnitude / limit + magnitude * 0;
        const bool is_number = magnitude * 0 == 0;
        const float inverse = magnitude > 0 && is_number ? limit / magnitude : 0;
        std::int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < inputs; ++i) {
          const float scaled = is_number ? x[i] * inverse : 0;
          const auto integer = static_cast<std::int32_t>(scaled + (scaled < 0 ? -0.5F : 0.5F));
          integers[i] = static_cast<std::int16_t>(integer);
          sum += integer;
        }
        out->sum = sum;
#pragma omp simd
        for (Index i = 0; i < inputs; ++i) {
          const auto up = static_cast<std::int16_t>(integers[i] + 128);
          low[i] = static_cast<std::int8_t>(integers[i]);
          high[i] = static_cast<std::int8_t>(static_cast<std::int16_t>(up >> 8));
        }
      },
      0, 0);
  return result;
}

RowInputs integer_inputs(Index rows, Index inputs, const float* x, std::byte* memory) {
  const Index width = padded(inputs);
  auto* const all = reinterpret_cast<IntegerInputs*>(memory);
  auto* const integers = reinterpret_cast<std::int16_t*>(memory + in_lines(rows * Index{sizeof(IntegerInputs)}));
  auto* bytes = reinterpret_cast<std::int8_t*>(integers + width);
  // The largest of two signed bytes. Partial sums of 32 bits each take in a thirty-second of the products, which are at
  // most 127 times this.
  const Index limit = std::min<Index>(127 * 256 + 127, std::numeric_limits<std::int32_t>::max() / 127 / (width / 32));
  for (Index row = 0; row < rows; ++row, bytes += 2 * width) {
    all[row] = as_integers(inputs, x + row * inputs, static_cast<float>(limit), integers, bytes, bytes + width);
    std::fill(bytes + inputs, bytes + width, std::int8_t{0});
    std::fill(bytes + width + inputs, bytes + 2 * width, std::int8_t{0});
  }
  return {nullptr, all};
}

RowInputs inputs_of(const RowProduct& product, Index rows, std::byte* memory) {
  const StoredRows& weights = product.weights;
  return weights.format == WeightFormat::int8 ? integer_inputs(rows, weights.inputs, product.x, memory)
                                              : number_inputs(rows, weights.inputs, product.x, memory);
}

/// A product whose inputs have their form, and where its weights begin among those of all products of the call.
struct ReadyProduct {
  RowProduct product;
  RowInputs inputs;
  Index first_byte = 0, row_bytes = 0;
  IntegerRowSums sum_integers = nullptr;  ///< for int8
  FloatRowSums sum_numbers = nullptr;     ///< for the others

  Index bytes() const { return product.weights.outputs * row_bytes; }
  /// The outputs whose weights begin in bytes [begin, end) of the call, for all rows.
  void run(Index rows, Index begin, Index end) const {
    const Index first = output_at(begin), last = output_at(end);
    const Index block = rows == 1 ? last - first : row_sum_block;  // Read once for all rows.
    for (Index start = first; start < last; start += block) {
      for (Index row = 0; row < rows; ++row) run_block(row, start, std::min(block, last - start));
    }
  }

 private:
  Index output_at(Index byte) const {
    return std::clamp<Index>((byte - first_byte + row_bytes - 1) / row_bytes, 0, product.weights.outputs);
  }
  void run_block(Index row, Index start, Index count) const {
    const StoredRows& stored = product.weights;
    const Index width = padded(stored.inputs);
    const std::byte* const words = stored.words + start * row_bytes;
    float* const y = product.y + row * stored.outputs + start;
    if (sum_integers != nullptr) {
      sum_integers(reinterpret_cast<const std::uint8_t*>(words), count, width, inputs.integers[row],
                   stored.scales + start, y);
    } else {
      sum_numbers(reinterpret_cast<const std::uint32_t*>(words), count, width, inputs.numbers + row * width, y);
    }
  }
};

ReadyProduct ready_product(const RowProduct& product, const RowInputs& inputs, Index first_byte) {
  const WeightFormat format = product.weights.format;
  ReadyProduct ready = {product, inputs, first_byte, stored_row_bytes(format, product.weights.inputs)};
  if (format == WeightFormat::int8) ready.sum_integers = integer_row_sums();
  if (format != WeightFormat::int8)
    ready.sum_numbers = format == WeightFormat::float32 ? float_row_sums() : bfloat16_row_sums();
  return ready;
}

/// Blocks of the matrix as float32, each multiplied on one thread.
void many_row_product(const StoredRows& stored, Index rows, const float* x, float* y) {
  constexpr Index block = 128;
  parallel_for(stored.outputs, block, [&](Index begin, Index end) {
    float* const weights = scratch<float>(Scratch::local, block * stored.inputs);
    restore_rows(stored, begin, end, weights);
    SerialProduct product;
    product.m = rows;
    product.n = end - begin;
    product.k = stored.inputs;
    product.transpose_b = true;
    product.lda = product.ldb = stored.inputs;
    product.ldc = stored.outputs;
    run_serial_product(product, x, weights, y + begin);
  });
}

}  // namespace

std::string_view name(WeightFormat format) {
  return format == WeightFormat::float32 ? "float32" : format == WeightFormat::bfloat16 ? "bfloat16" : "int8";
}

Index stored_row_bytes(WeightFormat format, Index inputs) {
  return padded(inputs) * (format == WeightFormat::float32 ? 4 : format == WeightFormat::bfloat16 ? 2 : 1);
}

Index stored_bytes(WeightFormat format, Index outputs, Index inputs) {
  return outputs * stored_row_bytes(format, inputs);
}

Index bytes_read(const StoredRows& rows) {
  return stored_bytes(rows.format, rows.outputs, rows.inputs) + (rows.scales != nullptr ? 4 * rows.outputs : 0);
}

void store_rows(WeightFormat format, Index outputs, Index inputs, const float* weights, bool input_major,
                std::byte* words, float* scales) {
  const Index row_bytes = stored_row_bytes(format, inputs);
  parallel_for(outputs, 64, [=](Index begin, Index end) {
    float* const row = scratch<float>(Scratch::local, inputs);
    for (Index output = begin; output < end; ++output) {
      for (Index i = 0; i < inputs; ++i) row[i] = weights[input_major ? i * outputs + output : output * inputs + i];
      std::byte* const to = words + output * row_bytes;
      if (format == WeightFormat::float32) {
        std::memset(to, 0, static_cast<std::size_t>(row_bytes));
        std::memcpy(to, row, static_cast<std::size_t>(inputs) * sizeof(float));
      } else if (format == WeightFormat::bfloat16) {
        store_bfloat16(inputs, row, reinterpret_cast<std::uint32_t*>(to));
      } else {
        scales[output] = store_int8(inputs, row, reinterpret_cast<std::uint8_t*>(to));
      }
    }
  });
}

void restore_rows(const StoredRows& stored, Index begin, Index end, float* weights) {
  const Index inputs = stored.inputs, row_bytes = stored_row_bytes(stored.format, inputs);
  for (Index output = begin; output < end; ++output) {
    const std::byte* const from = stored.words + output * row_bytes;
    float* const to = weights + (output - begin) * inputs;
    if (stored.format == WeightFormat::float32) {
      std::memcpy(to, from, static_cast<std::size_t>(inputs) * sizeof(float));
    } else if (stored.format == WeightFormat::bfloat16) {
      const auto* const halves = reinterpret_cast<const Bfloat16*>(from);
      for (Index i = 0; i < inputs; ++i) to[i] = to_float(halves[i / 32 * 32 + i % 16 * 2 + i / 16 % 2]);
    } else {
      const auto* const bytes = reinterpret_cast<const std::uint8_t*>(from);
      const float scale = stored.scales[output];
      for (Index i = 0; i < inputs; ++i) to[i] = scale * static_cast<float>(bytes[i] - 128);
    }
  }
}

void row_product(const StoredRows& stored, Index rows, const float* x, float* y) {
  if (rows > few_rows) return many_row_product(stored, rows, x, y);
  const RowProduct one = {stored, x, y};
  row_products({&one, 1}, rows);
}

void row_products(std::span<const RowProduct> products, Index rows) {
  std::array<ReadyProduct, max_row_products> ready;
  Index input = 0, weight_bytes = 0;
  for (const RowProduct& product : products) input += input_bytes(product.weights, rows);
  std::byte* memory = scratch_bytes(Scratch::partials, static_cast<std::size_t>(input));
  for (std::size_t i = 0; i < products.size(); ++i) {
    const StoredRows& weights = products[i].weights;
    const ReadyProduct* const same = std::find_if(ready.data(), ready.data() + i, [&](const ReadyProduct& other) {
      const StoredRows& others = other.product.weights;
      return other.product.x == products[i].x && others.format == weights.format && others.inputs == weights.inputs;
    });
    ready[i] = ready_product(
        products[i], same == ready.data() + i ? inputs_of(products[i], rows, memory) : same->inputs, weight_bytes);
    memory += input_bytes(weights, rows);
    weight_bytes += ready[i].bytes();
  }
  const std::span<const ReadyProduct> all = std::span(ready).first(products.size());
  // A thread's share is one run of bytes: no output depends on which it is in.
  const Index shares = std::min<Index>(threads(), (weight_bytes + least_share - 1) / least_share);
  parallel_for(shares, 1, [all, rows, weight_bytes, shares](Index share, Index) {
    const Index begin = weight_bytes * share / shares, end = weight_bytes * (share + 1) / shares;
    for (const ReadyProduct& product : all) {
      if (product.first_byte < end && product.first_byte + product.bytes() > begin) product.run(rows, begin, end);
    }
  });
}

std::uint64_t read_stream(const std::byte* memory, Index bytes) {
  constexpr Index line_words = 64;  // 512 bytes.
  const Index count = bytes / (8 * line_words), grain = std::max<Index>(1, (count + 63) / 64);
  auto* const parts = scratch<std::uint64_t>(Scratch::partials, piece_count(count, grain));
  const auto* const words = reinterpret_cast<const std::uint64_t*>(memory);
  parallel_simd(count, grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    std::uint64_t sums[line_words] = {};
    for (Index line = begin; line < end; ++line) {
#pragma omp simd
      for (Index i = 0; i < line_words; ++i) sums[i] ^= words[line * line_words + i];
    }
    for (Index i = 1; i < line_words; ++i) sums[0] ^= sums[i];
    parts[begin / grain] = sums[0];
  });
  std::uint64_t all = 0;
  for (Index i = 0; i < piece_count(count, grain); ++i) all ^= parts[i];
  return all;
}

}  // namespace rwkvlab::kernels
