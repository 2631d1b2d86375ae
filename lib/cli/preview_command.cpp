// rwkvlab preview: the images of an experiment's data as one picture.
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "data/images/codecs.h"
#include "data/images/contact_sheet.h"

namespace rwkvlab::cli {
namespace {

struct PreviewArguments {
  ConfigArguments config;
  std::string output;
  std::int64_t count = 32, columns = 8, scale = 0, step = 0;
  bool held_out = false;
};

// "3 0 1 2 ...", row by row as the pictures lie; of mixed images the largest share counts.
std::string labels_text(const ImageBatch& batch, std::int64_t columns) {
  std::string text;
  if (batch.labels.shape().rank() != 1) return text;
  const std::span<const std::int64_t> labels = batch.labels.span<std::int64_t>();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    text += fmt::format("{}{}", labels[i], (i + 1) % static_cast<std::size_t>(columns) == 0 ? "\n" : " ");
  }
  if (!text.empty() && text.back() == ' ') text.back() = '\n';
  return text;
}

int preview(const PreviewArguments& arguments) {
  const LoadedExperiment loaded = arguments.config.load();
  if (!loaded.experiment.data) throw ConfigError("this file has no 'data', so there is nothing to look at");
  const auto data = build_kind<DataSet, DataSite>(data_slot, loaded.experiment.data,
                                                  DataSite{loaded.file.parent_path(), loaded.experiment.seed});
  const ImageDataSet& images = image_data(*data);
  if (arguments.held_out && arguments.step >= images.held_out_batches(arguments.count)) {
    throw ConfigError(fmt::format("there are {} held-out batches of {} images, so none has the number {}",
                                  images.held_out_batches(arguments.count), arguments.count, arguments.step));
  }
  const ImageBatch batch = arguments.held_out ? images.held_out_images(arguments.step, arguments.count)
                                              : images.training_images(arguments.step, arguments.count);
  // Small images are enlarged to about 96 pixels.
  const std::int64_t scale =
      arguments.scale > 0 ? arguments.scale : std::max<std::int64_t>(1, 96 / std::max(images.height(), images.width()));
  write_png(arguments.output, contact_sheet(batch, images.classes(), arguments.columns, scale));
  fmt::print("{}\n{}{}\n", data->describe(), labels_text(batch, arguments.columns), arguments.output);
  return success;
}

}  // namespace

void add_preview_command(const Command& program) {
  auto arguments = std::make_shared<PreviewArguments>();
  const Command command =
      program.command("preview", "the images that an experiment trains on, augmented, as one PNG picture");
  arguments->config.add_to(command);
  command.option("-o,--output", arguments->output, "picture to write").required().type_name("FILE.png");
  command.option("--count", arguments->count, "number of images").between(1, 4096).show_default();
  command.option("--columns", arguments->columns, "images side by side").between(1, 256).show_default();
  command.option("--scale", arguments->scale, "enlargement of a pixel; 0: so that images have about 96 pixels")
      .between(0, 64)
      .show_default();
  command.option("--step", arguments->step, "number of the batch").not_negative();
  command.flag("--held-out", arguments->held_out, "the held-out images, which are not augmented");
  command.action([arguments] { return preview(*arguments); });
}

}  // namespace rwkvlab::cli
