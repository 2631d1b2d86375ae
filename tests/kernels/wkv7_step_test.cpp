#include "kernels/wkv7_step.h"

#include <gtest/gtest.h>

#include <vector>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

// One token against the loop for many, which keeping a state makes wkv7_forward() take.
TEST(Wkv7Step, DoesWhatTheLoopOverTokensDoes) {
  for (const Index keys : {64, 20}) {
    for (const int parts : {0, 1, 2}) {  // Without decay and delta rule, with decay, with both.
      Wkv7Size size;
      size.batch = 2;
      size.time = 1;
      size.heads = 3;
      size.key_size = size.value_size = keys;
      const Index channels = 2 * 3 * keys;
      const auto r = random_values<double>(channels, "r"), k = random_values<double>(channels, "k"),
                 v = random_values<double>(channels, "v"), a = random_values<double>(channels, "a", 0.3),
                 b = random_values<double>(channels, "b", 0.3), state = random_values<double>(channels * keys, "state");
      std::vector<double> decay = random_values<double>(channels, "decay");
      for (double& x : decay) x = -std::abs(x);
      const auto run = [&](std::vector<double>* kept) {
        std::vector<double> all(static_cast<std::size_t>(channels + channels * keys));
        Wkv7Forward<double> call{};
        call.size = size;
        call.receptance = r.data();
        call.log_decay = parts > 0 ? decay.data() : nullptr;
        call.key = k.data();
        call.value = v.data();
        call.a = parts > 1 ? a.data() : nullptr;
        call.b = parts > 1 ? b.data() : nullptr;
        call.state = state.data();
        call.y = all.data();
        call.final_state = all.data() + channels;
        call.kept_states = kept != nullptr ? kept->data() : nullptr;
        EXPECT_EQ(is_wkv7_step(call), kept == nullptr);
        wkv7_forward(call);
        return all;
      };
      std::vector<double> kept(static_cast<std::size_t>(channels * keys));
      EXPECT_LT(relative_error(run(nullptr), run(&kept)), 1e-14) << keys << " keys, " << parts;  // Sums of 64 doubles.
      expect_same_bits([&] { return run(nullptr); });
    }
  }
}

}  // namespace
}  // namespace rwkvlab::kernels
