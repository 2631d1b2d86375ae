// Thousands of damaged files: each is refused with a DataError or read, and never takes memory that the size of the
// file does not explain.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/error.h"
#include "base/random.h"
#include "tensor/safetensors.h"
#include "tests/temporary_folder.h"

// Counting replaces the allocator, which would take the place of the sanitizer's.
#if !defined(RWKVLAB_SANITIZED)
#define RWKVLAB_COUNT_ALLOCATIONS
namespace {
std::atomic<std::size_t> requested{0};
}
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  requested += bytes;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace rwkvlab {
namespace {

std::string valid_file(const TemporaryFolder& folder) {
  const auto path = folder / "valid";
  write_safetensors(path,
                    {{"blocks.0.att.time_decay", Tensor::full({4, 3}, 0.5)},
                     {"blocks.0.att.key.weight", Tensor::full({3, 3}, -1, DType::f64)},
                     {"step", Tensor::full({2}, 9, DType::i64)},
                     {"head", Tensor::full({5}, 2)}},
                    {{"system", "rwkv4"}, {"config", "{\"layers\": 2}"}});
  return read_text(path);
}

// One to eight random changes; most of them hit the header, where the rules are.
std::string mutate(std::string bytes, const RandomStream& random, std::uint64_t& next) {
  static constexpr std::string_view tokens[] = {"[",
                                                "]",
                                                "{",
                                                "}",
                                                ",",
                                                "-",
                                                "0",
                                                "9",
                                                "\"",
                                                "null",
                                                "F16",
                                                "1e9",
                                                "\\u0000",
                                                "99999999999999999999",
                                                "__metadata__",
                                                "\xC3"};
  const auto pick = [&](std::uint64_t bound) { return random.below(next++, std::max<std::uint64_t>(bound, 1)); };
  for (std::uint64_t change = 0, changes = 1 + pick(8); change < changes && !bytes.empty(); ++change) {
    const std::size_t place = pick(4) == 0 ? pick(bytes.size()) : pick(std::min<std::size_t>(bytes.size(), 400));
    switch (pick(6)) {
      case 0:
        bytes[place] = static_cast<char>(bytes[place] ^ (1 << pick(8)));
        break;
      case 1:
        bytes[place] = static_cast<char>(pick(256));
        break;
      case 2:
        bytes.resize(pick(bytes.size()));
        break;
      case 3:
        bytes.insert(place, tokens[pick(std::size(tokens))]);
        break;
      case 4:
        bytes.erase(place, 1 + pick(20));
        break;
      default:
        bytes.insert(place, bytes.substr(pick(bytes.size()), pick(60)));
    }
    // Half of the time the length is mended, so that the damage reaches the JSON reader.
    if (bytes.size() >= 8 && pick(2) == 0) {
      const std::uint64_t length = std::min<std::uint64_t>(bytes.size() - 8, bytes.rfind('}') - 7);
      std::memcpy(bytes.data(), &length, 8);
    }
  }
  return bytes;
}

TEST(SafetensorsMutation, NeverCrashesNorTakesMemoryWithoutBound) {
  const TemporaryFolder folder;
  const std::string valid = valid_file(folder);
  const RandomStream random(20240601, "safetensors mutations");
  std::uint64_t next = 0;
  int refused = 0, read = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::string bytes = mutate(valid, random, next);
    const auto path = folder.make("case", bytes);
    reset_peak_memory();
    const std::int64_t live = memory_use().live;
#ifdef RWKVLAB_COUNT_ALLOCATIONS
    const std::size_t before = requested;
#endif
    try {
      const SafetensorsFile file(path);
      for (const TensorEntry& entry : file.entries()) file.tensor(entry.name);
      ++read;
    } catch (const DataError& error) {
      ASSERT_NE(std::string_view(error.what()).find("case"), std::string_view::npos) << error.what();
      ++refused;
    }
    // A byte of the file becomes at most eight of a tensor, in blocks of at least 64.
    ASSERT_LE(memory_use().peak - live, static_cast<std::int64_t>(8 * bytes.size() + 4096)) << "mutation " << i;
#ifdef RWKVLAB_COUNT_ALLOCATIONS
    // The sum of all requests, also of those that were given back: names, paths, messages and the parser's buffer.
    ASSERT_LE(requested - before, 64 * bytes.size() + 65536) << "mutation " << i;
#endif
  }
  // Both ways must be exercised for the test to mean something.
  EXPECT_GT(refused, 3000);
  EXPECT_GT(read, 20);
}

TEST(SafetensorsMutation, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  const std::string valid = valid_file(folder);
  for (std::size_t size = 0; size < valid.size(); ++size) {
    const auto path = folder.make("case", std::string_view(valid).substr(0, size));
    EXPECT_THROW(SafetensorsFile{path}, DataError) << size;
  }
}

}  // namespace
}  // namespace rwkvlab
