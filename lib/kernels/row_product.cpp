#include "kernels/row_product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/onednn.h"
#include "kernels/row_sums.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"

// Stored rows in steps of 64 inputs. A 32-bit word of bfloat16 holds inputs n (low half) and n + 16 of 32 in a row, a
// 16-bit word of int8 inputs n (low byte) and n + 32 of 64: taken apart by shifts, the parts meet inputs that lie in
// their natural order.

namespace rwkvlab::kernels {
namespace {

Index padded(Index inputs) { return (inputs + row_step - 1) / row_step * row_step; }

/// Bytes of weights per piece: small enough that threads end together.
constexpr Index piece_bytes = 8192;

Index output_grain(const StoredRows& stored) {
  return std::max<Index>(1, piece_bytes / stored_row_bytes(stored.format, stored.inputs));
}

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

float store_int8(Index inputs, const float* row, std::uint16_t* words) {
  const float scale = largest_magnitude(inputs, row) / 127;
  const float inverse = scale > 0 ? 1 / scale : 0;
  const auto byte = [&](Index i) -> std::uint16_t {
    return i < inputs ? static_cast<std::uint8_t>(std::clamp(rounded(row[i] * inverse), -127, 127)) : 0;
  };
  for (Index block = 0; block < padded(inputs); block += 64) {
    for (Index n = 0; n < 32; ++n) {
      words[block / 2 + n] = static_cast<std::uint16_t>(byte(block + n) | byte(block + n + 32) << 8);
    }
  }
  return scale;
}

/// Rows of float32 inputs, padded; the given ones where nothing is missing.
const float* padded_inputs(Index rows, Index inputs, const float* x) {
  const Index width = padded(inputs);
  if (width == inputs) return x;
  float* const copy = scratch<float>(Scratch::partials, rows * width);
  for (Index row = 0; row < rows; ++row) {
    std::copy_n(x + row * inputs, inputs, copy + row * width);
    std::fill(copy + row * width + inputs, copy + (row + 1) * width, 0.0F);
  }
  return copy;
}

/// Rows of inputs as integers, padded, and what one unit is worth in each.
struct IntegerInputs {
  const std::int16_t* values;
  const float* units;
};

IntegerInputs integer_inputs(Index rows, Index inputs, const float* x) {
  const Index width = padded(inputs), unit_bytes = (rows * Index{sizeof(float)} + 63) / 64 * 64;
  std::byte* const memory = scratch_bytes(
      Scratch::partials, static_cast<std::size_t>(unit_bytes + rows * width * Index{sizeof(std::int16_t)}));
  auto* const units = reinterpret_cast<float*>(memory);
  auto* const values = reinterpret_cast<std::int16_t*>(memory + unit_bytes);
  // Partial sums of 32 bits each take in a sixteenth of the products, which are at most 127 times this.
  const Index limit = std::min<Index>(32767, std::numeric_limits<std::int32_t>::max() / 127 / (width / 16));
  for (Index row = 0; row < rows; ++row) {
    const float* const from = x + row * inputs;
    std::int16_t* const to = values + row * width;
    const auto largest = static_cast<float>(limit);
    float* const unit = units + row;
    run_cloned(
        [=](Index, Index) RWKVLAB_INLINE_LAMBDA {
          const float magnitude = lane_max<float>(
              0, inputs, 0.0F, [=](Index i) RWKVLAB_INLINE_LAMBDA { return from[i] < 0 ? -from[i] : from[i]; });
          // NaN if one of the inputs is no number, so that what follows from it is none either.
          const float nothing = lane_sum<float>(0, inputs, [=](Index i) RWKVLAB_INLINE_LAMBDA { return from[i] * 0; });
          *unit = magnitude / largest + nothing;
          const float inverse = magnitude > 0 && nothing == 0 ? largest / magnitude : 0;
#pragma omp simd
          for (Index i = 0; i < inputs; ++i) {
            const float product = from[i] * inverse;
            const float scaled = product == product ? product : 0;
            to[i] = static_cast<std::int16_t>(static_cast<std::int32_t>(scaled + (scaled < 0 ? -0.5F : 0.5F)));
          }
        },
        0, 0);
    std::fill(to + inputs, to + width, std::int16_t{0});
  }
  return {values, units};
}

void few_row_product(const StoredRows& stored, Index rows, const float* x, float* y) {
  const Index width = padded(stored.inputs), outputs = stored.outputs;
  if (stored.format == WeightFormat::int8) {
    const IntegerInputs inputs = integer_inputs(rows, stored.inputs, x);
    const auto* const words = reinterpret_cast<const std::uint16_t*>(stored.words);
    const IntegerRowSums sums = integer_row_sums();
    const float* const scales = stored.scales;
    parallel_for(outputs, output_grain(stored), [=](Index begin, Index end) {
      for (Index start = begin; start < end; start += row_sum_block) {
        const Index count = std::min(end - start, row_sum_block);
        for (Index row = 0; row < rows; ++row) {
          sums(words + start * width / 2, count, width, inputs.values + row * width, scales + start, inputs.units[row],
               y + row * outputs + start);
        }
      }
    });
    return;
  }
  const float* const inputs = padded_inputs(rows, stored.inputs, x);
  const auto* const words = reinterpret_cast<const std::uint32_t*>(stored.words);
  const Index row_words = stored_row_bytes(stored.format, stored.inputs) / 4;
  const FloatRowSums sums = stored.format == WeightFormat::float32 ? float_row_sums() : bfloat16_row_sums();
  parallel_for(outputs, output_grain(stored), [=](Index begin, Index end) {
    for (Index start = begin; start < end; start += row_sum_block) {
      const Index count = std::min(end - start, row_sum_block);
      for (Index row = 0; row < rows; ++row) {
        sums(words + start * row_words, count, width, inputs + row * width, y + row * outputs + start);
      }
    }
  });
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
        scales[output] = store_int8(inputs, row, reinterpret_cast<std::uint16_t*>(to));
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
      const auto* const bytes = reinterpret_cast<const std::int8_t*>(from);
      const float scale = stored.scales[output];
      for (Index i = 0; i < inputs; ++i) {
        const Index at = i / 64 * 64 + i % 32 * 2 + i / 32 % 2;
        to[i] = scale * static_cast<float>(bytes[at]);
      }
    }
  }
}

void row_product(const StoredRows& stored, Index rows, const float* x, float* y) {
  if (rows <= few_rows) {
    few_row_product(stored, rows, x, y);
  } else {
    many_row_product(stored, rows, x, y);
  }
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
