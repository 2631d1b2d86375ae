// How /profile lies in the run file; the writer and the reader share it. docs/run_file.md is its description for users.
#pragma once

#include <optional>

#include "record/hdf5.h"
#include "record/run_file.h"

namespace rwkvlab::run_file_layout {

/// An upper bound of the bytes by which a file grows when a profile is written into it.
std::int64_t growth_bound(const ProfileRecord& profile);
/// Replaces /profile.
void write_profile(hdf5::Id file, const ProfileRecord& profile);
/// /profile, if there is one. Throws DataError when it is damaged or of another version.
std::optional<ProfileRecord> read_profile(hdf5::Id file);

}  // namespace rwkvlab::run_file_layout
