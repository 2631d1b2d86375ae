// Any bytes as a safetensors header.
#include <string_view>

#include "base/error.h"
#include "tensor/safetensors.h"
#include "tensor/safetensors_header.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sample_tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto header = rwkvlab::detail::parse_safetensors_header(bytes, "input");
    for (const auto& entry : header.entries) {
      if (entry.begin + entry.bytes > size) __builtin_trap();
    }
  } catch (const rwkvlab::DataError&) {
    // The only way in which a broken file may end.
  }
  return 0;
}

std::vector<std::string> rwkvlab::fuzz::seeds() {
  return {written_by([](const auto& path) {
            write_safetensors(path, sample_tensors(), {{"system", "rwkv4"}});
          }),
          written_by([](const auto& path) { write_safetensors(path, sample_tensors(), {}, FloatFormat::float16); })};
}
