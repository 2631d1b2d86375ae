// rwkvlab preview: the images of an experiment as one picture.
#include <gmock/gmock.h>

#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::HasSubstr;

class Preview : public Program {};

TEST_F(Preview, WritesTheImagesThatTheModelSees) {
  folder_.make("images.yaml",
               "model: {kind: image_classifier, layers: 2, width: 8, patch_size: 3}\n"
               "data: {kind: glyph_pairs, images: 20, held_out_images: 10}\ntrain: {steps: 1}\n");
  const Finished training = program({"preview", "images.yaml", "-o", "sheet.png", "--count", "6", "--columns", "3"});
  ASSERT_EQ(training.code, 0) << training.error;
  EXPECT_THAT(training.out, AllOf(HasSubstr("20 training and 10 held-out images"), HasSubstr("sheet.png")));
  const std::string sheet = text_of(folder_ / "sheet.png");
  EXPECT_TRUE(sheet.starts_with("\x89PNG"));
  ASSERT_EQ(program({"preview", "images.yaml", "-o", "held.png", "--count", "6", "--held-out"}).code, 0);
  EXPECT_NE(text_of(folder_ / "held.png"), sheet);
  const Finished behind = program({"preview", "images.yaml", "-o", "x.png", "--held-out", "--step", "1"});
  EXPECT_EQ(behind.code, 2);
  EXPECT_THAT(behind.error, HasSubstr("there are 1 held-out batches of 32 images"));
  folder_.make("text.yaml", "model: {layers: 1, width: 8}\ndata: {kind: copying}\ntrain: {steps: 1, context: 64}\n");
  EXPECT_EQ(program({"preview", "text.yaml", "-o", "x.png"}).code, 2);
}

}  // namespace
}  // namespace rwkvlab
