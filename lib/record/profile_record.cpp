#include "record/profile_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "record/record_set.h"

namespace rwkvlab::run_file_layout {

using hdf5::Handle;
using hdf5::Id;
using hdf5::RecordSet;
using hdf5::Type;

namespace {

constexpr const char* kGroup = "profile";
constexpr const char* kNames = "name";
constexpr std::int64_t kProfileVersion = 1;

void write_table(Id profile, const std::string& name, const ProfileTable& table) {
  const Handle group = hdf5::open_group(profile, name, true);
  const auto rows = static_cast<std::int64_t>(table.names.size());
  hdf5::write_texts(group.id(), kNames, table.names);
  for (const ProfileTable::Column& column : table.columns) {
    check_invariant(static_cast<std::int64_t>(column.values.size()) == rows, "a profile has a number for every row");
    RecordSet set = RecordSet::create(group.id(), column.name, Type::float64, {}, std::max<std::int64_t>(rows, 1));
    hdf5::write_attribute(set.id(), "unit", column.unit);
    set.append(Type::float64, column.values.data(), rows);
  }
}

ProfileTable read_table(Id profile, const std::string& name) {
  const Handle group = hdf5::open_group(profile, name, false);
  ProfileTable table;
  table.names = hdf5::read_texts(group.id(), kNames);
  for (const std::string& child : hdf5::children(group.id())) {
    if (child == kNames) continue;
    const RecordSet set = RecordSet::open(group.id(), child);
    set.check_size();
    if (!set.shape().empty() || set.records() != static_cast<std::int64_t>(table.names.size())) {
      throw DataError(fmt::format("{}: has {} numbers for {} rows.", hdf5::place(group.id(), child), set.records(),
                                  table.names.size()));
    }
    ProfileTable::Column column{child, hdf5::text_attribute(set.id(), "unit"), std::vector<double>(table.names.size())};
    set.read(Type::float64, column.values.data(), 0, set.records());
    table.columns.push_back(std::move(column));
  }
  return table;
}

}  // namespace

std::int64_t growth_bound(const ProfileRecord& profile) {
  std::int64_t bytes = 0;
  for (const auto& [name, table] : profile.tables) {
    std::size_t longest = 1;  // Names are padded to the longest.
    for (const std::string& row : table.names) longest = std::max(longest, row.size());
    bytes += 64 * 1024 + std::ssize(table.names) * static_cast<std::int64_t>(longest + 16 * table.columns.size());
  }
  return bytes;
}

void write_profile(Id file, const ProfileRecord& profile) {
  hdf5::remove(file, kGroup);
  const Handle group = hdf5::open_group(file, kGroup, true);
  hdf5::write_attribute(group.id(), "version", kProfileVersion);
  hdf5::write_attribute(group.id(), "first_step", profile.first_step);
  hdf5::write_attribute(group.id(), "steps", profile.steps);
  for (const auto& [name, table] : profile.tables) write_table(group.id(), name, table);
}

std::optional<ProfileRecord> read_profile(Id file) {
  if (!hdf5::exists(file, kGroup)) return std::nullopt;
  const Handle group = hdf5::open_group(file, kGroup, false);
  const std::int64_t version = hdf5::integer_attribute(group.id(), "version");
  if (version != kProfileVersion) {
    throw DataError(fmt::format("{}: the profile has version {}; this program reads version {}.",
                                hdf5::place(group.id()), version, kProfileVersion));
  }
  ProfileRecord profile;
  profile.first_step = hdf5::integer_attribute(group.id(), "first_step");
  profile.steps = hdf5::integer_attribute(group.id(), "steps");
  for (const std::string& name : hdf5::children(group.id())) profile.tables[name] = read_table(group.id(), name);
  return profile;
}

}  // namespace rwkvlab::run_file_layout
