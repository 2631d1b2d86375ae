// Any bytes as a .pth file, or, where they do not begin like an archive, as the pickle in one.
#include <string_view>

#include "base/error.h"
#include "tensor/pickle.h"
#include "tensor/pth.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sample_tensors.h"

namespace {

// Where the last element of a tensor ends, from its first byte.
std::uint64_t extent(const rwkvlab::TensorEntry& entry) {
  const std::uint64_t element = rwkvlab::detail::stored_size(entry.stored_type);
  if (entry.shape.elements() == 0) return 0;
  if (entry.strides.empty()) return static_cast<std::uint64_t>(entry.shape.elements()) * element;
  std::uint64_t last = 0;
  for (int d = 0; d < entry.shape.rank(); ++d)
    last += static_cast<std::uint64_t>((entry.shape[d] - 1) * entry.strides[static_cast<std::size_t>(d)]);
  return (last + 1) * element;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    if (!bytes.starts_with("PK")) {
      rwkvlab::detail::parse_pickle(bytes, "input");
      return 0;
    }
    for (const auto& entry : rwkvlab::detail::parse_pth(bytes, "input").entries) {
      if (entry.begin > size || entry.bytes > size - entry.begin || extent(entry) > entry.bytes) __builtin_trap();
    }
  } catch (const rwkvlab::DataError&) {
    // The only way in which a broken file may end.
  }
  return 0;
}

std::vector<std::string> rwkvlab::fuzz::seeds() {
  using namespace std::string_literals;
  // Protocol 4 with a frame, a parameter, a view with strides, plain values and an ordered dictionary with attributes.
  const std::string newer =
      "\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x0b"s
      "collections\x94\x8c\x0bOrderedDict\x93)R\x94(\x8c\x01w\x94"s
      "ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n(("s
      "\x8c\x07storagectorch\nHalfStorage\n\x8c\x01"s
      "0\x8c\x03"s
      "cpuK\x06tQK\x00K\x03K\x02\x86K\x01K\x03\x86\x89}tR\x88}tR\x8c\x04rateG?\xe0\x00\x00\x00\x00\x00\x00\x8c\x01nN"s
      "\x8c\x04list]q\x05(K\x01M\x02\x03J\x04\x05\x06\x07\x8a\x02\x08\x09"s
      "eu}\x8c\x09_metadata}sb."s;
  const std::string archive = written_by([](const auto& path) { write_pth(path, sample_tensors()); });
  return {archive, written_by([](const auto& path) { write_pth(path, sample_tensors(), FloatFormat::bfloat16); }),
          detail::write_pickle(sample_tensors(), {}), newer};
}
