// The kernels of one token of generation against those of whole sequences.
#include <gtest/gtest.h>

#include "helpers.h"
#include "kernels/activation.h"
#include "kernels/causal_attention.h"
#include "kernels/elementwise.h"
#include "kernels/group_norm.h"
#include "kernels/heads.h"
#include "kernels/rwkv7_token.h"
#include "kernels/wkv4_step.h"
#include "kernels/wkv7.h"

namespace rwkvlab::kernels {
namespace {

using Floats = std::vector<float>;

TEST(Wkv4Step, ComputesWhatTheSequenceComputes) {
  for (const Index channels : {1, 40, 100}) {
    const Index batch = 2, count = batch * channels;
    const Floats decay = random_values<float>(channels, "decay"), first = random_values<float>(channels, "first");
    const Floats key = random_values<float>(count, "key", 3), value = random_values<float>(count, "value");
    Floats state = random_values<float>(3 * count, "state", 2);
    for (Index b = 0; b < batch; ++b) {  // The denominator is positive.
      for (Index c = 0; c < channels; ++c)
        state[(3 * b + 1) * channels + c] = 0.1F + std::fabs(value[b * channels + c]);
    }
    Floats y(count), next(3 * count), y_step(count);
    Wkv4Forward<float> call = {{batch, 1, channels}, decay.data(), first.data(), key.data(),
                               value.data(),         state.data(), y.data(),     next.data()};
    wkv4_forward(call);
    call.y = y_step.data();
    call.final_state = state.data();  // in place
    wkv4_step(call);
    // The two exponentials differ by 2e-7 of an exponent of a few units.
    EXPECT_LT(relative_error(y_step, y), 5e-6) << channels;
    EXPECT_LT(relative_error(state, next), 5e-6) << channels;
  }
}

/// RWKV-7's time mix between its products, by the kernels of whole sequences.
void token_by_parts(const Rwkv7Token& call) {
  const Index channels = call.heads * call.head_size, count = call.sequences * channels;
  const RowsSize rows = {call.sequences, channels};
  const auto squashed = [&](const float* offset, const float* x, double factor) {
    Floats result(count);
    for (Index i = 0; i < count; ++i) result[i] = offset[i % channels] + x[i];
    activation_forward<float>(Activation::sigmoid, count, result.data(), result.data());
    scale<float>(count, result.data(), factor, 0.0, result.data());
    return result;
  };
  const Floats log_decay = squashed(call.decay_offset, call.decay, call.fastest_log_decay);
  const Floats rate = squashed(call.rate_offset, call.rate, call.rate_limit);
  Floats value(call.value, call.value + count);
  if (call.value_weight != nullptr) {
    const Floats weight = squashed(call.value_offset, call.value_weight, 1);
    lerp_forward<float>(count, call.value, call.first_value, weight.data(), value.data());
  }
  Floats removal(count), replacement(count), key(count), y(count), mean(count), deviation(count);
  delta_keys_forward<float>({rows, call.heads, call.key, rate.data(), call.key_scale, call.key_boost, removal.data(),
                             replacement.data(), key.data()});
  wkv7_forward<float>({{call.sequences, 1, call.heads, call.head_size, call.head_size},
                       call.receptance,
                       log_decay.data(),
                       key.data(),
                       value.data(),
                       removal.data(),
                       replacement.data(),
                       call.state,
                       y.data(),
                       call.next_state,
                       nullptr,
                       nullptr});
  group_norm_forward<float>({rows, call.heads, call.epsilon, y.data(), call.norm_weight, call.norm_bias, y.data(),
                             mean.data(), deviation.data()});
  head_bonus_forward<float>(
      {rows, call.heads, y.data(), call.receptance, key.data(), value.data(), call.bonus, y.data()});
  multiply<float>(count, y.data(), call.gate, call.y);
}

TEST(Rwkv7Token, ComputesWhatItsPartsCompute) {
  for (const auto& [head_size, mixes] :
       {std::pair{Index{64}, true}, {Index{64}, false}, {Index{32}, true}, {Index{20}, true}}) {
    Rwkv7Token call;
    call.sequences = 2, call.heads = 3, call.head_size = head_size;
    call.fastest_log_decay = -0.6, call.rate_limit = 1.5, call.epsilon = 1e-3;
    const Index channels = call.heads * head_size, count = call.sequences * channels;
    std::vector<Floats> memory;
    memory.reserve(32);
    const auto random = [&](Index size) {
      memory.push_back(random_values<float>(size, std::to_string(memory.size())));
      return memory.back().data();
    };
    for (const float** x : {&call.receptance, &call.key, &call.value, &call.decay, &call.rate, &call.gate})
      *x = random(count);
    for (const float** x : {&call.decay_offset, &call.rate_offset, &call.key_scale, &call.key_boost, &call.bonus,
                            &call.norm_weight, &call.norm_bias}) {
      *x = random(channels);
    }
    call.value_weight = mixes ? random(count) : nullptr;
    call.first_value = mixes ? random(count) : nullptr;
    call.value_offset = mixes ? random(channels) : nullptr;
    Floats state = random_values<float>(count * head_size, "state"), next(state.size()), y(count), y_token(count);
    call.state = state.data(), call.next_state = next.data(), call.y = y.data();
    token_by_parts(call);
    call.y = y_token.data();
    const auto run = [&] {
      Floats carried = state;
      call.state = call.next_state = carried.data();  // in place
      rwkv7_token(call);
      carried.insert(carried.end(), y_token.begin(), y_token.end());
      return carried;
    };
    Floats expected = next;
    expected.insert(expected.end(), y.begin(), y.end());
    EXPECT_LT(relative_error(run(), expected), 5e-6) << head_size;  // Sums of 64 products in another order.
    EXPECT_LT(relative_error(y_token, y), 5e-6) << head_size;
    expect_same_bits(run);
  }
}

TEST(AttentionStep, ComputesTheLastOfManyQueries) {
  const std::vector<double> slopes = {0.01, 0.002, 0};
  for (const Index keys : {1, 2, 700}) {  // More than one piece.
    const CausalAttentionSize many = {2, keys, keys, 3, 20, false}, one = {2, 1, keys, 3, 20, false};
    const Index channels = many.channels(), count = 2 * keys * channels;
    const Floats query = random_values<float>(count, "query"), key = random_values<float>(count, "key"),
                 value = random_values<float>(count, "value");
    Floats all(count), kept(static_cast<std::size_t>(2 * 3 * keys * 2)), last_query, expected;
    causal_attention_forward<float>(
        {many, slopes.data(), query.data(), key.data(), value.data(), all.data(), kept.data()});
    for (Index b = 0; b < 2; ++b) {
      const Index at = ((b + 1) * keys - 1) * channels;
      last_query.insert(last_query.end(), query.begin() + at, query.begin() + at + channels);
      expected.insert(expected.end(), all.begin() + at, all.begin() + at + channels);
    }
    const auto step = [&] {
      Floats y(static_cast<std::size_t>(2 * channels)), softmax(2 * 3 * 2);
      causal_attention_forward<float>(
          {one, slopes.data(), last_query.data(), key.data(), value.data(), y.data(), softmax.data()});
      return y;
    };
    EXPECT_LT(relative_error(step(), expected), 5e-6) << keys;  // Sums of 700 values in another order.
    expect_same_bits(step);
  }
}

}  // namespace
}  // namespace rwkvlab::kernels
