// Runs a fuzz target without libFuzzer: its seeds, then mutations of them that are the same every time.
//   <target>_replay [COUNT]          COUNT mutations, 4000 where none is given
//   <target>_replay --write FOLDER   writes the seeds as files: a corpus for libFuzzer
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/random.h"
#include "tests/fuzz/fuzz.h"

namespace {

using rwkvlab::RandomStream;

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> seeds) : seeds_(std::move(seeds)) {}

  // One to six changes of a seed: bits, bytes, numbers at the edge, pieces removed, doubled or taken from other seeds.
  std::string next() {
    std::string bytes = seeds_[pick(seeds_.size())];
    for (std::uint64_t change = 0, changes = 1 + pick(6); change < changes && !bytes.empty(); ++change) {
      const std::size_t place = pick(bytes.size());
      switch (pick(7)) {
        case 0:
          bytes[place] = static_cast<char>(bytes[place] ^ (1 << pick(8)));
          break;
        case 1:
          bytes[place] = static_cast<char>(pick(256));
          break;
        case 2:
          bytes.resize(place);
          break;
        case 3:
          bytes.erase(place, 1 + pick(20));
          break;
        case 4: {
          static constexpr unsigned char edges[] = {0x00, 0x01, 0x7F, 0x80, 0xFF};
          std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(place),
                      std::min<std::size_t>(std::size_t{1} << pick(4), bytes.size() - place),
                      static_cast<char>(edges[pick(std::size(edges))]));
          break;
        }
        case 5:
          bytes.insert(place, bytes.substr(pick(bytes.size()), pick(60)));
          break;
        default: {
          const std::string& other = seeds_[pick(seeds_.size())];
          bytes.insert(place, other.substr(pick(other.size() + 1), pick(60)));
        }
      }
    }
    return bytes;
  }

 private:
  std::size_t pick(std::size_t bound) { return random_.below(next_++, std::max<std::size_t>(bound, 1)); }

  std::vector<std::string> seeds_;
  RandomStream random_{20240601, "fuzz replay"};
  std::uint64_t next_ = 0;
};

void run(const std::string& bytes) {
  // Memory of exactly this size, so that a sanitizer sees a byte too much.
  const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> seeds = rwkvlab::fuzz::seeds();
  if (count == 3 && std::string(arguments[1]) == "--write") {
    std::filesystem::create_directories(arguments[2]);
    for (std::size_t i = 0; i < seeds.size(); ++i)
      std::ofstream(std::filesystem::path(arguments[2]) / std::to_string(i), std::ios::binary) << seeds[i];
    return 0;
  }
  const long mutations = count > 1 ? std::atol(arguments[1]) : 4000;
  for (const std::string& seed : seeds) run(seed);
  run("");
  Mutator mutator(seeds);
  for (long i = 0; i < mutations; ++i) run(mutator.next());
  std::printf("%zu seeds and %ld mutations\n", seeds.size(), mutations);
  return 0;
}
