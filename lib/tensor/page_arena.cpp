#include "tensor/page_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace rwkvlab {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t smallest_growth = std::size_t{32} << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// `bytes`, a multiple of huge_page, aligned to one. Of the room that the alignment needs, the highest place is used:
// the system hands out addresses downwards, so that what it gives next lies right below and joins this.
std::byte* map_aligned(std::size_t bytes) {
  void* const mapped = mmap(nullptr, bytes + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(mapped);
  std::byte* const end = begin + bytes + huge_page;
  const std::size_t above = reinterpret_cast<std::uintptr_t>(end) % huge_page;
  std::byte* const chosen = end - above - bytes;
  if (above > 0) munmap(chosen + bytes, above);
  if (chosen > begin) munmap(begin, static_cast<std::size_t>(chosen - begin));
#ifdef MADV_HUGEPAGE
  madvise(chosen, bytes, MADV_HUGEPAGE);  // A wish; where it is not granted, the memory is as good.
#endif
  return chosen;
}

}  // namespace

std::byte* PageArena::take(std::size_t bytes) {
  if (by_size_.lower_bound({bytes, nullptr}) == by_size_.end() && !grow(bytes)) return nullptr;
  const std::size_t size = by_size_.lower_bound({bytes, nullptr})->first;
  std::byte* const run = std::prev(by_size_.lower_bound({size + 1, nullptr}))->second;
  erase(by_address_.find(run));
  if (size > bytes) insert(run, size - bytes);
  return run + (size - bytes);
}

void PageArena::give(std::byte* memory, std::size_t bytes) {
  const auto after = by_address_.lower_bound(memory);
  if (after != by_address_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == memory) {
      memory = before->first;
      bytes += before->second;
      erase(before);
    }
  }
  if (after != by_address_.end() && memory + bytes == after->first) {
    bytes += after->second;
    erase(after);
  }
  insert(memory, bytes);
}

void PageArena::release() {
  for (const auto& [memory, bytes] : by_address_) munmap(memory, bytes);
  by_address_.clear();
  by_size_.clear();
}

bool PageArena::grow(std::size_t bytes) {
  const std::size_t size = std::max(smallest_growth, rounded_up(bytes, huge_page));
  std::byte* const memory = map_aligned(size);
  if (memory == nullptr) return false;
  ++system_calls_;
  give(memory, size);
  return true;
}

void PageArena::insert(std::byte* memory, std::size_t bytes) {
  by_address_.emplace(memory, bytes);
  by_size_.emplace(bytes, memory);
}

void PageArena::erase(std::map<std::byte*, std::size_t>::iterator run) {
  by_size_.erase({run->second, run->first});
  by_address_.erase(run);
}

}  // namespace rwkvlab
