// The image data that come from files: `idx_images`, `cifar10`, `cifar100`, `image_folder`, `segmentation_folder`.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/images/image_params.h"
#include "data/tasks/task_data_set.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

struct IdxParams : FileImageParams {
  std::string folder;
  std::vector<std::string> train{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"};
  std::vector<std::string> held_out{"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
  std::int64_t classes = 10;
};

void describe_idx(Fields<IdxParams>& f) {
  f.doc(
      "Grey images in IDX files, packed with gzip (.gz) or not: MNIST, Fashion-MNIST and others of that form. The "
      "defaults are their file names.");
  f.required("folder", &IdxParams::folder, "folder of the files").path();
  f.add("train", &IdxParams::train, "names of the files of training images and labels");
  f.add("held_out", &IdxParams::held_out, "those of the held-out images and labels; an empty list: none");
  f.add("classes", &IdxParams::classes, "number of classes: labels are 0 to classes - 1", between(1, 256));
  describe_file_images(f);
  f.check(
      [](const IdxParams& p) { return p.train.size() == 2 ? "" : std::string("expected two files: images, labels"); },
      "train");
  f.check(
      [](const IdxParams& p) {
        return p.held_out.empty() || p.held_out.size() == 2 ? "" : std::string("expected two files: images, labels");
      },
      "held_out");
}

std::unique_ptr<DataSet> make_idx(const IdxParams& p, const DataSite& site) {
  const fs::path folder = site.folder / p.folder;
  const auto read = [&](const std::vector<std::string>& files) {
    return read_idx_pictures(folder / files[0], folder / files[1], p.classes, p.skip_corrupt);
  };
  std::optional<LoadedPictures> held_out;
  if (!p.held_out.empty()) held_out = read(p.held_out);
  ImageSetParts parts;
  parts.kind = "idx_images";
  parts.details = p.folder;
  parts.form.classes = p.classes;
  return make_file_set(p, site.seed, read(p.train), held_out, std::move(parts));
}

struct CifarParams : FileImageParams {
  std::string folder;
};

struct Cifar100Params : FileImageParams {
  std::string folder;
  std::string labels = "fine";
};

template <class P>
void describe_cifar(Fields<P>& f) {
  f.required("folder", &P::folder, "folder of the binary version's .bin files").path();
  describe_file_images(f);
}

void describe_cifar10(Fields<CifarParams>& f) {
  f.doc("CIFAR-10, binary version: 50,000 and 10,000 colour images of 32 x 32 pixels.");
  describe_cifar(f);
}

void describe_cifar100(Fields<Cifar100Params>& f) {
  f.doc("CIFAR-100, binary version: 50,000 and 10,000 colour images of 32 x 32 pixels.");
  f.add("labels", &Cifar100Params::labels, "which of its two labels an image has",
        one_of({{"fine", "100 classes"}, {"coarse", "20 groups of them"}}));
  describe_cifar(f);
}

// How the records of a CIFAR file are made.
struct CifarForm {
  const char* kind;
  std::vector<std::string> training, held_out;
  std::int64_t label_bytes, label_byte, classes;
};

std::unique_ptr<DataSet> make_cifar(const FileImageParams& p, const std::string& folder, const DataSite& site,
                                    const CifarForm& form) {
  const auto read = [&](const std::vector<std::string>& names) {
    std::vector<fs::path> files;
    for (const std::string& name : names) files.push_back(site.folder / folder / name);
    return read_cifar(files, form.label_bytes, form.label_byte, form.classes, p.skip_corrupt);
  };
  ImageSetParts parts;
  parts.kind = form.kind;
  parts.details = folder;
  parts.form.classes = form.classes;
  return make_file_set(p, site.seed, read(form.training), read(form.held_out), std::move(parts));
}

std::unique_ptr<DataSet> make_cifar10(const CifarParams& p, const DataSite& site) {
  return make_cifar(
      p, p.folder, site,
      {"cifar10",
       {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
       {"test_batch.bin"},
       1,
       0,
       10});
}

std::unique_ptr<DataSet> make_cifar100(const Cifar100Params& p, const DataSite& site) {
  const bool is_fine = p.labels == "fine";
  return make_cifar(p, p.folder, site,
                    {"cifar100", {"train.bin"}, {"test.bin"}, 2, is_fine ? 1 : 0, is_fine ? 100 : 20});
}

struct FolderParams : FileImageParams {
  std::string folder;
  std::optional<std::string> held_out_folder;
  std::optional<double> held_out_fraction;
};

struct SegmentationParams : FileImageParams {
  std::string folder, masks;
  std::optional<std::string> held_out_folder, held_out_masks;
  std::optional<double> held_out_fraction;
  std::int64_t classes = 0;
  std::int64_t ignored = 255;
};

template <class P>
void describe_held_out(Fields<P>& f) {
  f.add("held_out_folder", &P::held_out_folder, "the same for the held-out images").path();
  f.add("held_out_fraction", &P::held_out_fraction,
        "share of the images that is held out, the same ones for every seed; 0.1 unless there is a held_out_folder",
        between(0, 0.9));
  f.check(
      [](const P& p) {
        return p.held_out_folder && p.held_out_fraction
                   ? std::string("give either held_out_fraction or held_out_folder, not both")
                   : std::string();
      },
      "held_out_fraction");
}

void describe_folder(Fields<FolderParams>& f) {
  f.doc(
      "Images (PNG, JPEG) in one folder per class, as <class>/.../<name>.png; the classes are numbered in the order of "
      "their names. They are decoded when they are needed.");
  f.required("folder", &FolderParams::folder, "folder of the folders of the classes").path();
  describe_held_out(f);
  describe_file_images(f);
}

void describe_segmentation(Fields<SegmentationParams>& f) {
  f.doc(
      "Images (PNG, JPEG) with a mask each, a PNG of the same name in another folder whose values (palette indices, or "
      "grey levels) are the classes of the pixels.");
  f.required("folder", &SegmentationParams::folder, "folder of the images").path();
  f.required("masks", &SegmentationParams::masks, "folder of the masks").path();
  f.add("held_out_masks", &SegmentationParams::held_out_masks, "masks of the held_out_folder").path();
  f.required("classes", &SegmentationParams::classes, "number of classes: masks have 0 to classes - 1",
             between(1, 256));
  f.add("ignored", &SegmentationParams::ignored, "value of pixels that have no class", between(0, 255));
  describe_held_out(f);
  describe_file_images(f);
  f.check(
      [](const SegmentationParams& p) {
        return p.held_out_folder.has_value() == p.held_out_masks.has_value()
                   ? ""
                   : std::string("give held_out_folder and held_out_masks together");
      },
      "held_out_masks");
}

// A share of the files, the same for every seed and order of training.
std::vector<PictureFile> held_out_share(std::vector<PictureFile>& files, double share) {
  const auto count = static_cast<std::int64_t>(files.size());
  const auto held_out = static_cast<std::int64_t>(static_cast<double>(count) * share);
  const RandomStream random(0, "data.held_out_images");
  std::vector<PictureFile> apart, rest;
  for (std::int64_t i = 0; i < count; ++i) {
    (permuted(random, 0, i, count) < held_out ? apart : rest).push_back(files[static_cast<std::size_t>(i)]);
  }
  files = std::move(rest);
  return apart;
}

// What the two kinds of folders do once their files are listed.
template <class P, class List>
std::unique_ptr<DataSet> make_from_files(const P& p, const DataSite& site, std::vector<PictureFile> files,
                                         List held_out_files, std::int64_t ignored, ImageSetParts parts) {
  std::vector<PictureFile> apart =
      p.held_out_folder ? held_out_files() : held_out_share(files, p.held_out_fraction.value_or(0.1));
  const std::int64_t classes = parts.form.classes;
  std::int64_t channels = 0;  // Of the first training picture; all others must have as many, or are converted.
  const auto load = [&](std::vector<PictureFile>& list) {
    LoadedPictures loaded;
    std::int64_t* const wanted = p.colour == "as_stored" ? &channels : nullptr;
    if (p.skip_corrupt) list = readable_files(list, classes, ignored, wanted, loaded.skipped);
    loaded.source = std::make_shared<const PictureFiles>(std::move(list), classes, ignored);
    return loaded;
  };
  const LoadedPictures training = load(files);
  if (training.source->size() == 0) {
    throw DataError(fmt::format("'{}' has no readable images to train on ({} damaged ones)",
                                (site.folder / p.folder).string(), training.skipped));
  }
  parts.details = p.folder;
  return make_file_set(p, site.seed, training, load(apart), std::move(parts));
}

std::unique_ptr<DataSet> make_folder(const FolderParams& p, const DataSite& site) {
  const fs::path folder = site.folder / p.folder;
  const std::vector<std::string> classes = class_folders(folder);
  ImageSetParts parts;
  parts.kind = "image_folder";
  parts.form.classes = static_cast<std::int64_t>(classes.size());
  return make_from_files(
      p, site, labelled_files(folder, classes),
      [&] { return labelled_files(site.folder / *p.held_out_folder, classes); }, 0, std::move(parts));
}

std::unique_ptr<DataSet> make_segmentation(const SegmentationParams& p, const DataSite& site) {
  ImageSetParts parts;
  parts.kind = "segmentation_folder";
  parts.form.classes = p.classes;
  parts.form.is_dense = true;
  return make_from_files(
      p, site, masked_files(site.folder / p.folder, site.folder / p.masks),
      [&] { return masked_files(site.folder / *p.held_out_folder, site.folder / *p.held_out_masks); }, p.ignored,
      std::move(parts));
}

const RegisterKind<DataSet, IdxParams, DataSite> idx(data_slot, "idx_images", describe_idx, make_idx);
const RegisterKind<DataSet, CifarParams, DataSite> cifar10(data_slot, "cifar10", describe_cifar10, make_cifar10);
const RegisterKind<DataSet, Cifar100Params, DataSite> cifar100(data_slot, "cifar100", describe_cifar100, make_cifar100);
const RegisterKind<DataSet, FolderParams, DataSite> folder(data_slot, "image_folder", describe_folder, make_folder);
const RegisterKind<DataSet, SegmentationParams, DataSite> segmentation(data_slot, "segmentation_folder",
                                                                       describe_segmentation, make_segmentation);

}  // namespace
}  // namespace rwkvlab
