// Folders of pictures, which are decoded when they are needed.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "data/data_set.h"
#include "data/images/codecs.h"
#include "data/images/picture_source.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t most_bytes = std::size_t{1} << 30;

bool is_picture(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return (ending == ".png" || ending == ".jpg" || ending == ".jpeg") && !path.filename().string().starts_with('.');
}

void require_folder(const fs::path& folder) {
  if (fs::is_directory(folder)) return;
  throw DataError(fs::exists(folder) ? fmt::format("'{}' is a file, expected a folder of pictures", folder.string())
                                     : missing_file_text(folder));
}

// Also those in folders below. A linked folder is entered, as data sets are often linked to.
std::vector<fs::path> pictures_below(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
    if (entry.is_regular_file() && is_picture(entry.path())) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void read_mask(const fs::path& path, std::int64_t classes, std::int64_t ignored, Picture& picture) {
  const BytePicture mask = decode_png(read_text(path, most_bytes), path.string(), PngValues::indices);
  if (mask.height != picture.height || mask.width != picture.width) {
    throw DataError(fmt::format("'{}' has {} x {} pixels, but its picture has {} x {}", path.string(), mask.height,
                                mask.width, picture.height, picture.width));
  }
  picture.classes.reserve(mask.values.size());
  for (const std::uint8_t value : mask.values) {
    if (value >= classes && value != ignored) {
      throw DataError(fmt::format("'{}': pixel ({}, {}) is of class {}, expected 0 to {}, or {} for none",
                                  path.string(), picture.classes.size() / static_cast<std::size_t>(mask.width),
                                  picture.classes.size() % static_cast<std::size_t>(mask.width), value, classes - 1,
                                  ignored));
    }
    picture.classes.push_back(value == ignored ? static_cast<std::int32_t>(no_target) : value);
  }
}

}  // namespace

std::string PictureSource::name(std::int64_t index) const { return fmt::format("picture {}", index); }

Example PictureFiles::example(std::int64_t index) const {
  check_invariant(index >= 0 && index < size(), "a picture behind the end");
  const PictureFile& file = files_[static_cast<std::size_t>(index)];
  try {
    Example example{to_floats(decode_picture(read_text(file.path, most_bytes), file.path.string())), file.label};
    if (!file.mask.empty()) read_mask(file.mask, classes_, ignored_, example.picture);
    return example;
  } catch (const DataError& error) {
    throw DataError(fmt::format("picture {}: {}; remove it, or set skip_corrupt: true", index, error.what()));
  }
}

std::string PictureFiles::name(std::int64_t index) const {
  return fmt::format("picture {} ('{}')", index, files_[static_cast<std::size_t>(index)].path.string());
}

std::vector<PictureFile> readable_files(const std::vector<PictureFile>& files, std::int64_t classes,
                                        std::int64_t ignored, std::int64_t* channels, std::int64_t& skipped) {
  const PictureFiles all(files, classes, ignored);
  std::vector<PictureFile> readable;
  for (std::int64_t i = 0; i < all.size(); ++i) {
    try {
      const std::int64_t found = all.example(i).picture.channels;
      if (channels != nullptr && *channels == 0) *channels = found;
      if (channels == nullptr || found == *channels) {
        readable.push_back(files[static_cast<std::size_t>(i)]);
        continue;
      }
    } catch (const DataError&) {  // It counts below.
    }
    ++skipped;
  }
  return readable;
}

std::vector<std::string> class_folders(const fs::path& folder) {
  require_folder(folder);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !name.starts_with('.')) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    throw DataError(fmt::format("'{}' has no folders, expected one per class with its pictures", folder.string()));
  }
  return names;
}

std::vector<PictureFile> labelled_files(const fs::path& folder, const std::vector<std::string>& classes) {
  require_folder(folder);
  for (const std::string& name : class_folders(folder)) {
    if (!std::binary_search(classes.begin(), classes.end(), name)) {
      throw DataError(fmt::format("'{}' is no class of the training pictures{}", (folder / name).string(),
                                  did_you_mean(name, classes)));
    }
  }
  std::vector<PictureFile> files;
  for (std::size_t label = 0; label < classes.size(); ++label) {
    const fs::path of_class = folder / classes[label];
    if (!fs::is_directory(of_class)) continue;
    const std::vector<fs::path> paths = pictures_below(of_class);
    if (paths.empty()) {
      throw DataError(
          fmt::format("'{}' has no pictures (.png, .jpg, .jpeg): a class without examples", of_class.string()));
    }
    for (const fs::path& path : paths) files.push_back({path, static_cast<std::int64_t>(label), {}});
  }
  return files;
}

std::vector<PictureFile> masked_files(const fs::path& pictures, const fs::path& masks) {
  require_folder(pictures);
  require_folder(masks);
  std::vector<PictureFile> files;
  for (const fs::path& path : pictures_below(pictures)) {
    fs::path mask = masks / fs::relative(path, pictures);
    mask.replace_extension(".png");
    if (!fs::exists(mask)) {
      throw DataError(fmt::format("'{}' has no mask: expected '{}'", path.string(), mask.string()));
    }
    files.push_back({path, 0, mask});
  }
  if (files.empty()) throw DataError(fmt::format("'{}' has no pictures (.png, .jpg, .jpeg)", pictures.string()));
  return files;
}

}  // namespace rwkvlab
