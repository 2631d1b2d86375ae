// Large blocks of memory that are cut out of still larger ones and join again when they are free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace rwkvlab {

/// Whole pages from the system. A request takes the end of the smallest free run of pages that is large enough (of the
/// highest one of equals): what the system gives next lies below, so that free pages gather there. A run that is given
/// back joins its free neighbours, so that memory serves buffers of other sizes next, and what a training holds from
/// the system stays near what its tensors hold at their peak. The system is asked for more in steps of many megabytes,
/// in huge pages where it has them (fewer page faults, and fewer misses of the processor's address cache); pages that
/// are never touched cost nothing. Not thread-safe.
class PageArena {
 public:
  static constexpr std::size_t page = 4096;

  PageArena() = default;
  ~PageArena() { release(); }
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;

  /// `bytes`, a multiple of `page`, aligned to a page; contents undefined. Null when the system refuses.
  std::byte* take(std::size_t bytes);
  void give(std::byte* memory, std::size_t bytes);
  /// Gives what is free back to the system.
  void release();
  /// Times the system was asked for memory.
  std::int64_t system_calls() const { return system_calls_; }

 private:
  using Run = std::pair<std::size_t, std::byte*>;  // size first, as the search needs it
  bool grow(std::size_t bytes);
  void insert(std::byte* memory, std::size_t bytes);
  void erase(std::map<std::byte*, std::size_t>::iterator run);

  std::map<std::byte*, std::size_t> by_address_;
  std::set<Run> by_size_;
  std::int64_t system_calls_ = 0;
};

}  // namespace rwkvlab
