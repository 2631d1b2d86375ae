// What the data of a run was made of, so that a resumed run notices when its files have changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/node.h"

namespace rwkvlab {

/// What one name in the `data` section of an experiment file stood for: a file, the files of a pattern, or those of a
/// folder and the folders in it.
struct DataFiles {
  std::string key;          ///< "data.files"
  std::string name;         ///< absolute path or pattern
  std::int64_t files = 0;   ///< how many
  std::int64_t bytes = 0;   ///< of all
  std::string fingerprint;  ///< 16 hexadecimal digits, of their names, sizes and contents
  bool operator==(const DataFiles&) const = default;
};

/// The files that `tree`, a resolved experiment, names in its `data` section and that must exist. Of more than 64 MiB
/// under one name, 1024 evenly spaced blocks of 64 KiB count. Throws DataError when one cannot be read.
std::vector<DataFiles> data_files(const Node& tree);

/// Writes the list as JSON, atomically; reads it. Reading throws DataError when the file is damaged.
void write_data_files(const std::filesystem::path& path, const std::vector<DataFiles>& files);
std::vector<DataFiles> read_data_files(const std::filesystem::path& path);

/// One sentence for each name whose files are others than before; empty when all are the same.
std::vector<std::string> changed_data(const std::vector<DataFiles>& before, const std::vector<DataFiles>& now);

}  // namespace rwkvlab
