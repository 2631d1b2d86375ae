// Where the pictures of a data set come from: files, memory or a generator.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/images/picture.h"

namespace rwkvlab {

/// Pictures by number. Const and without hidden state; calls from several threads are safe.
class PictureSource {
 public:
  virtual ~PictureSource() = default;
  virtual std::int64_t size() const = 0;
  /// Picture `index` of [0, size()), of any size. Throws DataError naming the file and the index when it is damaged.
  virtual Example example(std::int64_t index) const = 0;
  /// "picture 7", with its file where it has one of its own.
  virtual std::string name(std::int64_t index) const;
};

using SourcePointer = std::shared_ptr<const PictureSource>;

/// Pictures of one size in memory.
class StoredPictures final : public PictureSource {
 public:
  StoredPictures(std::int64_t channels, std::int64_t height, std::int64_t width)
      : channels_(channels), height_(height), width_(width) {}
  /// `values` has channels * height * width bytes.
  void append(std::span<const std::uint8_t> values, std::int64_t label);

  std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  Example example(std::int64_t index) const override;
  std::int64_t channels() const { return channels_; }
  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }

 private:
  std::int64_t channels_, height_, width_;
  std::vector<std::uint8_t> values_;
  std::vector<std::int64_t> labels_;
};

/// What was read, and how much of it was left out because it is damaged.
struct LoadedPictures {
  SourcePointer source;
  std::int64_t channels = 0, height = 0, width = 0;  ///< 0: pictures differ
  std::int64_t skipped = 0;
};

/// Pictures and labels of IDX files, packed or not. A label outside [0, classes) (0: any), and pictures or labels that
/// are cut off, are errors that name file and index; with `skip_corrupt` those are left out.
LoadedPictures read_idx_pictures(const std::filesystem::path& pictures, const std::filesystem::path& labels,
                                 std::int64_t classes, bool skip_corrupt);

/// Pictures of CIFAR files; byte `label_byte` of the `label_bytes` of a record is the label, below `classes`.
LoadedPictures read_cifar(const std::vector<std::filesystem::path>& files, std::int64_t label_bytes,
                          std::int64_t label_byte, std::int64_t classes, bool skip_corrupt);

/// One picture file with its label, or with the file of the classes of its pixels.
struct PictureFile {
  std::filesystem::path path;
  std::int64_t label = 0;
  std::filesystem::path mask;  ///< empty: none
};

/// Pictures that are decoded when they are asked for.
class PictureFiles final : public PictureSource {
 public:
  /// `classes` of masks: larger numbers are errors, but for `ignored`, which becomes no_target.
  PictureFiles(std::vector<PictureFile> files, std::int64_t classes, std::int64_t ignored)
      : files_(std::move(files)), classes_(classes), ignored_(ignored) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  Example example(std::int64_t index) const override;
  std::string name(std::int64_t index) const override;

 private:
  std::vector<PictureFile> files_;
  std::int64_t classes_, ignored_;
};

/// The same without the files that cannot be decoded; each is decoded once to know. With `channels`, also without those
/// that have another number of channels; 0 becomes the number of the first one. `skipped` counts them.
std::vector<PictureFile> readable_files(const std::vector<PictureFile>& files, std::int64_t classes,
                                        std::int64_t ignored, std::int64_t* channels, std::int64_t& skipped);

/// The names of the sub-folders of `folder`, sorted bytewise: the classes. Throws DataError when there are none.
std::vector<std::string> class_folders(const std::filesystem::path& folder);
/// The picture files (.png, .jpg, .jpeg in any case) below `folder`/<class>, class by class, sorted by name; held-out
/// pictures need not have every class. Throws DataError for a folder of a class without pictures, and for folders that
/// are no class of `classes`.
std::vector<PictureFile> labelled_files(const std::filesystem::path& folder, const std::vector<std::string>& classes);
/// The picture files of a folder, each with the mask <name without ending>.png of another. Throws DataError for a
/// picture without a mask.
std::vector<PictureFile> masked_files(const std::filesystem::path& pictures, const std::filesystem::path& masks);

}  // namespace rwkvlab
