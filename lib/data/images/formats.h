// The files of MNIST (IDX) and of CIFAR (binary version): many small pictures in one file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/images/picture.h"

namespace rwkvlab {

/// An array of bytes. IDX, as http://yann.lecun.com/exdb/mnist describes it: 0, 0, the element type (8: bytes), the
/// number of dimensions, each of them as a big-endian 32-bit number, then the elements.
struct IdxArray {
  std::vector<std::int64_t> shape;
  std::size_t first = 0;  ///< place of the first element in the file
  std::size_t whole = 0;  ///< rows of the first dimension that the file really has
};

/// Reads the header. Throws DataError naming `source` for what is no IDX file of bytes with `dimensions` dimensions. A
/// file that is cut off has `whole` < shape[0]; too many bytes are an error.
IdxArray parse_idx(std::string_view bytes, std::size_t dimensions, const std::string& source);

/// A record of CIFAR: one label or two (coarse, fine), then 3 x 32 x 32 bytes, channel by channel
/// (https://www.cs.toronto.edu/~kriz/cifar.html).
inline constexpr std::int64_t cifar_side = 32, cifar_bytes = 3 * cifar_side * cifar_side;

/// Number of whole records of a file. Throws DataError naming `source` for an empty file and, unless
/// `may_be_cut`, for one that ends inside a record.
std::int64_t count_cifar_records(std::string_view bytes, std::int64_t labels, bool may_be_cut,
                                 const std::string& source);

}  // namespace rwkvlab
