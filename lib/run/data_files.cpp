#include "run/data_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "run/experiment.h"
#include "run/path_values.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

constexpr std::int64_t block_bytes = 64 << 10, most_blocks = 1024;

// The files in a folder and in those below it, sorted; a file stands for itself.
std::vector<fs::path> files_at(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->is_regular_file()) files.push_back(entry->path());
  }
  if (error) throw DataError(fmt::format("cannot read the folder '{}': {}", path.string(), error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

std::int64_t size_of(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) throw DataError(fmt::format("cannot read '{}': {}", path.string(), error.message()));
  return static_cast<std::int64_t>(size);
}

// Hashes what is in the files: all of it, or blocks at equal distances in all of them one after the other.
class Content {
 public:
  explicit Content(std::int64_t bytes) : step_(bytes > block_bytes * most_blocks ? bytes / most_blocks : 0) {}
  void add(const fs::path& path, std::int64_t size) {
    if (step_ == 0) return hash(MappedFile(path), 0, size);
    const std::int64_t first = (step_ - begin_ % step_) % step_;
    begin_ += size;
    if (first >= size) return;
    const MappedFile file(path);
    for (std::int64_t at = first; at < size; at += step_) hash(file, at, std::min(block_bytes, size - at));
  }
  const std::string& hashes() const { return hashes_; }

 private:
  void hash(const MappedFile& file, std::int64_t from, std::int64_t count) {
    const auto begin = static_cast<std::size_t>(from), bytes = static_cast<std::size_t>(count);
    hashes_ += fmt::format("{:x} ", stable_hash(file.text().substr(begin, bytes)));
    file.release_pages(begin, bytes);
  }

  std::int64_t step_;       // Between the beginnings of blocks; 0: everything.
  std::int64_t begin_ = 0;  // Of the file, in all of them.
  std::string hashes_;
};

DataFiles describe_files(const std::string& key, const std::string& name) {
  DataFiles result{key, name, 0, 0, ""};
  std::vector<fs::path> paths;
  for (const fs::path& path : expand_glob(name, "")) {
    const std::vector<fs::path> files = files_at(path);
    paths.insert(paths.end(), files.begin(), files.end());
  }
  std::string names;
  std::vector<std::int64_t> sizes;
  for (const fs::path& path : paths) {
    sizes.push_back(size_of(path));
    result.bytes += sizes.back();
    names += fmt::format("{} {}\n", path.string(), sizes.back());
  }
  Content content(result.bytes);
  for (std::size_t i = 0; i < paths.size(); ++i) content.add(paths[i], sizes[i]);
  result.files = static_cast<std::int64_t>(paths.size());
  result.fingerprint = fmt::format("{:016x}", stable_hash(names + content.hashes()));
  return result;
}

std::string amount(const DataFiles& files) {
  return fmt::format("{} file{} of {} bytes", files.files, files.files == 1 ? "" : "s", files.bytes);
}

}  // namespace

std::vector<DataFiles> data_files(const Node& tree) {
  std::vector<DataFiles> result;
  for_each_path(tree, experiment_schema(), [&](const std::string& key, const Node& value, const Field& field) {
    const bool counts = key.starts_with("data.") && field.must_exist && value.is_string() && !value.string().empty();
    if (counts) result.push_back(describe_files(key, value.string()));
  });
  return result;
}

void write_data_files(const fs::path& path, const std::vector<DataFiles>& files) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const DataFiles& entry : files) {
    json.push_back({{"key", entry.key},
                    {"name", entry.name},
                    {"files", entry.files},
                    {"bytes", entry.bytes},
                    {"fingerprint", entry.fingerprint}});
  }
  write_atomically(path, json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

std::vector<DataFiles> read_data_files(const fs::path& path) {
  try {
    std::vector<DataFiles> result;
    for (const auto& json : nlohmann::json::parse(read_text(path))) {
      result.push_back({json.at("key"), json.at("name"), json.at("files"), json.at("bytes"), json.at("fingerprint")});
    }
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("'{}' is damaged ({}); remove it to resume without checking the data", path.string(),
                                error.what()));
  }
}

std::vector<std::string> changed_data(const std::vector<DataFiles>& before, const std::vector<DataFiles>& now) {
  std::vector<std::string> changes;
  for (const DataFiles& old : before) {
    const auto same = [&](const DataFiles& entry) { return entry.key == old.key && entry.name == old.name; };
    const auto found = std::find_if(now.begin(), now.end(), same);
    if (found == now.end() || *found == old) continue;
    const bool as_large = found->files == old.files && found->bytes == old.bytes;
    const std::string is = as_large ? "is as large, with other names or contents" : "is now " + amount(*found);
    changes.push_back(fmt::format("{}: '{}' was {} and {}", old.key, old.name, amount(old), is));
  }
  return changes;
}

}  // namespace rwkvlab
