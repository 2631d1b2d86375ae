// SHA-256 (FIPS 180-4): tells whether two files hold the same bytes.
#pragma once

#include <string>
#include <string_view>

namespace rwkvlab {

/// The digest of `bytes` as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

}  // namespace rwkvlab
