// bfloat16 products by the real executable: recorded, and on a processor that has none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/matmul.h"
#include "record/run_file_reader.h"
#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {
using testing::HasSubstr;
using testing::Not;

class Precision : public Program {
 protected:
  Finished train_wide(const std::string& out, const std::string& precision) const {
    return train(out, {"--set", "model.width=64", "--set", "train.steps=4", "--set", "train.precision=" + precision});
  }
  std::string recorded(const std::string& out) const {
    return std::get<std::string>(RunFileReader(folder_ / (out + "/run.h5")).environment().at("precision_used"));
  }
  std::vector<double> losses(const std::string& out) const {
    return RunFileReader(folder_ / (out + "/run.h5")).scalars("metrics/train/loss").values;
  }
};

TEST_F(Precision, WithoutTheInstructionsIsFloat32AndSaysSo) {
  setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);  // oneDNN's own switch.
  const Finished reduced = train_wide("reduced", "bfloat16_products"), single = train_wide("single", "float32");
  unsetenv("ONEDNN_MAX_CPU_ISA");
  ASSERT_EQ(reduced.code, 0) << reduced.error;
  ASSERT_EQ(single.code, 0) << single.error;
  EXPECT_THAT(reduced.out, HasSubstr("no AVX512-BF16: training in float32\n"));
  EXPECT_THAT(single.out, Not(HasSubstr("AVX512-BF16")));
  EXPECT_EQ(recorded("reduced"), "float32");
  EXPECT_EQ(losses("reduced"), losses("single"));
}

TEST_F(Precision, WithTheInstructionsIsRecorded) {
  if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  const Finished reduced = train_wide("reduced", "bfloat16_products");
  ASSERT_EQ(reduced.code, 0) << reduced.error;
  EXPECT_THAT(reduced.out, Not(HasSubstr("AVX512-BF16")));
  EXPECT_EQ(recorded("reduced"), "bfloat16_products");
  ASSERT_EQ(train_wide("single", "float32").code, 0);
  EXPECT_EQ(recorded("single"), "float32");
  EXPECT_NE(losses("reduced"), losses("single"));
}

TEST_F(Precision, OfAnotherNameIsRefused) {
  const Finished wrong = train_wide("wrong", "bfloat16");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.error, HasSubstr("bfloat16_products"));
}

}  // namespace
}  // namespace rwkvlab
