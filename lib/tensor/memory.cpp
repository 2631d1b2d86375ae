#include "tensor/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "tensor/page_arena.h"

namespace rwkvlab {
namespace {

constexpr std::size_t alignment = 64;
// From this size on buffers are runs of pages of the arena; smaller ones wait in lists, one per size, for the next of
// their size. Sanitizers see the bounds of memory that was allocated by itself alone.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t smallest_run = ~std::size_t{0};
#else
constexpr std::size_t smallest_run = 16 * PageArena::page;
#endif

// Sizes are rounded so that buffers of nearly equal size share a place in the pool.
std::size_t rounded(std::size_t bytes) {
  const std::size_t unit = bytes < PageArena::page ? alignment : PageArena::page;
  return std::max(unit, (bytes + unit - 1) / unit * unit);
}

thread_local bool shape_only = false;

}  // namespace

// One pool for the process, kept alive by every buffer that came from it.
class BufferPool {
 public:
  ~BufferPool() { release(); }

  static const std::shared_ptr<BufferPool>& instance() {
    static const std::shared_ptr<BufferPool> pool = std::make_shared<BufferPool>();
    return pool;
  }

  std::byte* take(std::size_t size, bool with_memory) {
    const std::lock_guard lock(mutex_);
    std::byte* const memory = with_memory ? find(size) : nullptr;
    count(static_cast<std::int64_t>(size));
    return memory;
  }

  void give(std::byte* memory, std::size_t size) {
    const std::lock_guard lock(mutex_);
    count(-static_cast<std::int64_t>(size));
    if (memory == nullptr) return;
    if (size >= smallest_run) {
      arena_.give(memory, size);
    } else {
      free_[size].push_back(memory);
    }
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, list] : free_) {
      for (std::byte* memory : list) std::free(memory);
      list.clear();
    }
    arena_.release();
  }

  MemoryUse use() const {
    const std::lock_guard lock(mutex_);
    MemoryUse use = use_;
    use.system_calls += arena_.system_calls();
    return use;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    use_.peak = use_.live;
  }

 private:
  std::byte* find(std::size_t size) {
    std::byte* const memory = size >= smallest_run ? arena_.take(size) : from_list(size);
    if (memory == nullptr) {
      throw Error(fmt::format("out of memory: the system refused {:.1f} MB. Lower the batch, the context or the width.",
                              static_cast<double>(size) * 1e-6));
    }
    return memory;
  }

  std::byte* from_list(std::size_t size) {
    auto& free = free_[size];
    if (!free.empty()) {
      std::byte* const memory = free.back();
      free.pop_back();
      return memory;
    }
    ++use_.system_calls;
    return static_cast<std::byte*>(std::aligned_alloc(alignment, size));
  }

  void count(std::int64_t bytes) {
    use_.live += bytes;
    use_.peak = std::max(use_.peak, use_.live);
  }

  mutable std::mutex mutex_;
  MemoryUse use_;
  PageArena arena_;
  std::unordered_map<std::size_t, std::vector<std::byte*>> free_;
};

std::shared_ptr<Buffer> Buffer::allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  const auto& pool = BufferPool::instance();
  return std::shared_ptr<Buffer>(new Buffer(pool, pool->take(size, !shape_only), size));
}

Buffer::~Buffer() { pool_->give(data_, bytes_); }

MemoryUse memory_use() { return BufferPool::instance()->use(); }
void reset_peak_memory() { BufferPool::instance()->reset_peak(); }
void release_pooled_memory() { BufferPool::instance()->release(); }

ShapeOnly::ShapeOnly() : previous_(shape_only) { shape_only = true; }
ShapeOnly::~ShapeOnly() { shape_only = previous_; }
bool ShapeOnly::active() { return shape_only; }

}  // namespace rwkvlab
