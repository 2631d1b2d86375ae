// Multiply-adds as the repository of Vision-RWKV counts them.
#pragma once

#include "nn/module.h"

namespace rwkvlab {

/// Multiply-adds of one image in the module and below (arXiv:2403.02308; get_flops of its repository): every projection
/// once per token, the patches' bias, two per value of a layer or group norm, and for every layer what its token mix
/// computes besides (VRWKV 29 T C; VRWKV6 T C (10 D_m + 2 D_d + 7 N + 17) + T (5 D_m + D_d) with the low-rank sizes D
/// and head size N; softmax attention 2 T² C). 0 when a layer has another token mix.
double published_flops_of(const Module& module, double tokens);

}  // namespace rwkvlab
