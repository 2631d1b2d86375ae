// Reading a set of named tensors from a file into memory that exists, with one message for all that does not fit.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor_file.h"
#include "tensor/tensor_writing.h"

namespace rwkvlab {

struct TensorLoading {
  std::string prefix;              ///< put before every name in the file; tensors without it do not count
  bool ignore_unexpected = false;  ///< whether the file may hold more
  std::function<bool(std::string_view name)> may_be_extra;  ///< names (without prefix) that are never unexpected
};

/// A tensor that a file shall hold.
struct ExpectedTensor {
  std::string name;
  Shape shape;
  DType type = DType::f32;
};

/// Checks that the file holds these tensors. Shapes may differ in dimensions of size 1. Throws DataError listing what
/// is missing, has another shape or is unexpected.
void check_tensors(const TensorFile& file, const std::vector<ExpectedTensor>& expected,
                   const TensorLoading& options = {});

/// Overwrites every target with the file's tensor of that name, converted to the target's type on the way; no tensor is
/// held twice. Throws DataError as check_tensors does; then nothing has been overwritten.
void load_tensors(const TensorFile& file, const std::vector<NamedTensor>& targets, const TensorLoading& options = {});

}  // namespace rwkvlab
