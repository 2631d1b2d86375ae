// What the config keys of Vision-RWKV's cases mean as the parameters of our mixers.
#pragma once

#include "config/node.h"
#include "verify/case_config.h"

namespace rwkvlab {

/// The kind of both mixers: "vision_rwkv", or "vision_rwkv6" of the variant vrwkv6.
const char* vision_mixer_kind(bool is_v6);
/// From shift_mode, shift_pixel, channel_gamma, head_size, key_norm, kernel_form, time_mix_extra_dim and
/// time_decay_extra_dim. DataError for what the mixers cannot be.
Node vision_time_mix_parameters(const CaseConfig& config, bool is_v6);
/// From the same keys and hidden_rate.
Node vision_channel_mix_parameters(const CaseConfig& config, bool is_v6);

}  // namespace rwkvlab
