// What a fuzz target consists of: a function that takes any bytes (libFuzzer calls it in its own build, replay.cpp in
// the normal tests), and inputs to start from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// Must return for every input; a crash, a failed sanitizer check or an unexpected exception is a finding.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace rwkvlab::fuzz {

/// Valid inputs, which mutations start from.
std::vector<std::string> seeds();

}  // namespace rwkvlab::fuzz
