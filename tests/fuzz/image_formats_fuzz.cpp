// Any bytes as an IDX or CIFAR file.
#include "base/error.h"
#include "tests/data/picture_bytes.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::size_t dimensions : {std::size_t{1}, std::size_t{3}}) {
    try {
      const rwkvlab::IdxArray array = rwkvlab::parse_idx(bytes, dimensions, "input");
      std::size_t row = 1;
      for (std::size_t i = 1; i < dimensions; ++i) row *= static_cast<std::size_t>(array.shape[i]);
      if (array.shape.size() != dimensions || array.first + array.whole * row > size) __builtin_trap();
      if (static_cast<std::int64_t>(array.whole) > array.shape[0]) __builtin_trap();
    } catch (const rwkvlab::DataError&) {
      // The only way in which a broken file may end.
    }
  }
  for (const std::int64_t labels : {1, 2}) {
    for (const bool may_be_cut : {false, true}) {
      try {
        const std::int64_t count = rwkvlab::count_cifar_records(bytes, labels, may_be_cut, "input");
        if (count < 1 || static_cast<std::size_t>(count * (labels + rwkvlab::cifar_bytes)) > size) __builtin_trap();
      } catch (const rwkvlab::DataError&) {
        // As above.
      }
    }
  }
  return 0;
}

std::vector<std::string> rwkvlab::fuzz::seeds() {
  using test::cifar_record, test::idx_file;
  return {idx_file({2, 3, 2}, std::string(12, 'a')), idx_file({5}, "abcde"), idx_file({1, 1, 1}, "x"),
          cifar_record("a", 'b') + cifar_record("c", 'd'), cifar_record("ab", 'c')};
}
