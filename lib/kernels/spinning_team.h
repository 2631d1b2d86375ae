// Threads that wait for work awake: for programs that start thousands of very short parallel loops per second.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// While one of these lives, parallel_for of the thread that made it runs on this team instead of OpenMP's. Waking a
/// thread that sleeps takes tens of microseconds, as long as a whole matrix product of one token; these threads look
/// for work without sleep for about half a millisecond after the last, and then sleep. A thread that does not come,
/// since something else has its core, finds its share done by the maker. Which thread runs what changes no result.
/// Newer teams hide older ones.
class SpinningTeam {
 public:
  /// As many threads as threads() says, the maker's own included; with one, nothing changes.
  SpinningTeam();
  ~SpinningTeam();
  SpinningTeam(const SpinningTeam&) = delete;
  SpinningTeam& operator=(const SpinningTeam&) = delete;

  /// The newest team of this thread that is not at work; null: none.
  static SpinningTeam* current();
  /// Whether the calling thread is inside such a loop.
  static bool at_work();

  int size() const { return static_cast<int>(helpers_.size()) + 1; }

  /// work(context, share) for every share from 0 to size() - 1; returns when all have ended. It must not throw.
  using Work = void (*)(void* context, int share);
  void run(Work work, void* context);

 private:
  /// The last round in which someone took the share of a helper, on a cache line of its own.
  struct alignas(64) Claim {
    std::atomic<std::uint32_t> round{0};
  };

  void serve(int share);
  std::uint32_t next_round(std::uint32_t seen) const;
  void run_if_free(std::uint32_t round, int share);

  std::vector<Claim> claims_;  // of shares from 1
  std::vector<std::thread> helpers_;
  SpinningTeam* previous_;
  Work work_ = nullptr;
  std::atomic<bool> ending_{false};
  void* context_ = nullptr;
  // On cache lines of their own: each is written by one side while the other waits for it.
  alignas(64) std::atomic<std::uint32_t> round_{0};
  alignas(64) std::atomic<int> unfinished_{0};
};

}  // namespace rwkvlab::kernels
