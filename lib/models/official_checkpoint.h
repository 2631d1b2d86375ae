// Which RWKV model a file of official weights holds, from the names and shapes of its tensors alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/node.h"
#include "tensor/tensor_file.h"

namespace rwkvlab {

/// A model that was recognised.
struct OfficialCheckpoint {
  std::string version;             ///< "RWKV-4", "RWKV-4a", "RWKV-5.2", "RWKV-6", "RWKV-7", ...
  std::string prefix;              ///< what stands before the official names: "", "param.", "module.", ...
  Node model;                      ///< the section `model` of an experiment file
  std::int64_t vocabulary = 0;     ///< tokens
  std::vector<std::string> notes;  ///< what shapes cannot tell, and what was taken for it
};

/// What stands before the official names in a file: the part before "emb.weight"; "" where there is no such tensor.
/// Throws DataError naming two of them when the file holds several models (weights and their moving average, say).
std::string official_prefix(const TensorFile& file);

/// Recognises RWKV-4 (with the options of its code, 4a and 4b among them), 5.0, 5.1, 5.2, 6 (x060 and the variants a
/// and b) and 7: layers, widths, heads, ranks of the low-rank maps, vocabulary (arXiv:2305.13048, arXiv:2404.05892,
/// arXiv:2503.14456; names and shapes of the official training code). What shapes cannot tell gets the official value.
/// Throws DataError saying what the file holds instead.
OfficialCheckpoint recognise_checkpoint(const TensorFile& file);

}  // namespace rwkvlab
