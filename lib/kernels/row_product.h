// Products of few rows with a stored matrix, as in generation: the cost is reading the weights, so they may be stored
// in fewer bytes than float32 has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// How the weights of a linear layer are stored for inference.
///   float32   as trained
///   bfloat16  rounded to nearest, ties to even (kernels/bfloat16.h)
///   int8      w ≈ scale · q with one float32 scale per output, scale = max |w| / 127, q an integer from -127 to 127.
///             The inputs of such a layer are rounded as well, to integers of 16 bits with one scale per row (a
///             relative error of 2^-16 of the largest, far below that of the weights), so that all sums are exact.
enum class WeightFormat : std::uint8_t { float32, bfloat16, int8 };

std::string_view name(WeightFormat format);

/// A matrix [outputs, inputs] in one of the formats. Each row is padded with zeros to whole steps of `row_step` inputs
/// and its elements lie in an order of the kernel's own; store_rows() makes it so.
struct StoredRows {
  WeightFormat format = WeightFormat::float32;
  Index outputs = 0, inputs = 0;
  const std::byte* words = nullptr;  ///< 64-byte aligned
  const float* scales = nullptr;     ///< int8 alone: [outputs]
};

inline constexpr Index row_step = 64;

/// Bytes of a stored row, of all rows, and of all that a product reads: rows and scales.
Index stored_row_bytes(WeightFormat format, Index inputs);
Index stored_bytes(WeightFormat format, Index outputs, Index inputs);
Index bytes_read(const StoredRows& rows);

/// Fills `words` [stored_bytes] and, for int8, `scales` [outputs] from weights [outputs, inputs], or from [inputs,
/// outputs] when `input_major`. The weights must be finite.
void store_rows(WeightFormat format, Index outputs, Index inputs, const float* weights, bool input_major,
                std::byte* words, float* scales);

/// The values that stored rows [begin, end) stand for, [end - begin, inputs].
void restore_rows(const StoredRows& stored, Index begin, Index end, float* weights);

/// y [rows, outputs] = x [rows, inputs] Wᵀ. Every row of y depends on its row of x alone, whatever `rows` is, and has
/// the same bits for every thread count, up to few_rows; more rows are multiplied in blocks that oneDNN sums in an
/// order of its own.
void row_product(const StoredRows& stored, Index rows, const float* x, float* y);

/// Up to how many rows reading the weights is the cost.
inline constexpr Index few_rows = 16;

/// One of several products that do not wait for one another: y = x Wᵀ, each with rows of its own.
struct RowProduct {
  StoredRows weights;
  const float* x;  ///< [rows, inputs]
  float* y;        ///< out [rows, outputs]
};

/// At most this many in one call.
inline constexpr std::size_t max_row_products = 8;

/// The same as row_product() of each, with `rows` up to few_rows: the threads meet once for all of them.
void row_products(std::span<const RowProduct> products, Index rows);

/// Reads `bytes` bytes (a multiple of 512) as fast as the cores of the set threads can and does as good as nothing else
/// with them: what row_product is measured against. The result says nothing; it keeps compilers from leaving it out.
std::uint64_t read_stream(const std::byte* memory, Index bytes);

}  // namespace rwkvlab::kernels
