#include "kernels/parallel.h"

#include <omp.h>

#include <atomic>
#include <exception>

#include "kernels/spinning_team.h"

namespace rwkvlab::kernels {
namespace {

std::atomic<int>& thread_count() {
  static std::atomic<int> count = omp_get_max_threads();
  return count;
}

/// The exception of the earliest piece that threw.
struct FirstError {
  Index piece = 0;
  std::exception_ptr error;

  void keep(Index thrower, const std::exception_ptr& thrown) {
#pragma omp critical(rwkvlab_first_error)
    {
      if (!error || thrower < piece) {
        piece = thrower;
        error = thrown;
      }
    }
  }
};

}  // namespace

void set_threads(int count) {
  thread_count() = std::max(1, count);
  omp_set_num_threads(threads());  // For oneDNN, which asks OpenMP.
}

int threads() { return thread_count(); }

namespace detail {

void run_pieces(Index count, Index grain, PieceFunction function, void* context) {
  if (count <= 0) return;
  grain = std::max<Index>(1, grain);
  const Index pieces = piece_count(count, grain);
  FirstError first;
  const auto run = [&](Index first_piece, Index last_piece) {
    for (Index piece = first_piece; piece < last_piece; ++piece) {
      try {
        function(context, piece * grain, std::min(count, (piece + 1) * grain));
      } catch (...) {
        first.keep(piece, std::current_exception());
      }
    }
  };
  const int team = threads();
  if (team == 1 || pieces == 1 || omp_in_parallel() || SpinningTeam::at_work()) {
    run(0, pieces);
  } else if (SpinningTeam* const spinning = SpinningTeam::current(); spinning != nullptr) {
    const auto share = [&](Index thread) {
      run(pieces * thread / spinning->size(), pieces * (thread + 1) / spinning->size());
    };
    spinning->run([](void* work, int thread) { (*static_cast<decltype(share)*>(work))(thread); },
                  const_cast<void*>(static_cast<const void*>(&share)));
  } else {
    // Always the full team: libgomp ends and restarts threads when the size of the team changes.
#pragma omp parallel num_threads(team)
    {
      const Index thread = omp_get_thread_num();
      const Index running = omp_get_num_threads();
      run(pieces * thread / running, pieces * (thread + 1) / running);
    }
  }
  if (first.error) std::rethrow_exception(first.error);
}

}  // namespace detail
}  // namespace rwkvlab::kernels
