#include "kernels/spinning_team.h"

#include "kernels/parallel.h"

namespace rwkvlab::kernels {
namespace {

constexpr int spins_before_sleep = 20000;  // About half a millisecond.
constexpr int spins_before_yield = 2000;   // The other threads may want this very core.

thread_local SpinningTeam* newest = nullptr;
thread_local bool inside = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

SpinningTeam::SpinningTeam() : claims_(static_cast<std::size_t>(threads() - 1)), previous_(newest) {
  newest = this;
  for (int share = 1; share < threads(); ++share) helpers_.emplace_back([this, share] { serve(share); });
}

SpinningTeam::~SpinningTeam() {
  ending_.store(true, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
  newest = previous_;
}

SpinningTeam* SpinningTeam::current() { return inside ? nullptr : newest; }
bool SpinningTeam::at_work() { return inside; }

// Nobody reads work_ and context_ after unfinished_ is 0: a helper reads them once it has a share, and then that share
// is unfinished.
void SpinningTeam::run(Work work, void* context) {
  work_ = work;
  context_ = context;
  unfinished_.store(size() - 1, std::memory_order_relaxed);
  const std::uint32_t round = round_.fetch_add(1, std::memory_order_release) + 1;
  round_.notify_all();  // A test of a counter when nobody sleeps.
  inside = true;
  work(context, 0);
  for (int share = 1; share < size(); ++share) run_if_free(round, share);
  inside = false;
  for (int spins = 0; unfinished_.load(std::memory_order_acquire) > 0; ++spins) {
    if (spins < spins_before_yield) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

void SpinningTeam::run_if_free(std::uint32_t round, int share) {
  std::uint32_t before = round - 1;
  if (!claims_[static_cast<std::size_t>(share - 1)].round.compare_exchange_strong(before, round)) return;
  work_(context_, share);
  unfinished_.fetch_sub(1, std::memory_order_release);
}

std::uint32_t SpinningTeam::next_round(std::uint32_t seen) const {
  for (int spins = 0; spins < spins_before_sleep; ++spins) {
    if (const std::uint32_t now = round_.load(std::memory_order_acquire); now != seen) return now;
    relax();
  }
  round_.wait(seen, std::memory_order_acquire);
  return round_.load(std::memory_order_acquire);
}

void SpinningTeam::serve(int share) {
  inside = true;
  for (std::uint32_t seen = 0;;) {
    seen = next_round(seen);
    if (ending_.load(std::memory_order_acquire)) return;
    run_if_free(seen, share);
  }
}

}  // namespace rwkvlab::kernels
