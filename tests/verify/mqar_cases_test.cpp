// The examples of multi-query associative recall: what breaks a rule of the task is a mismatch.
#include <gtest/gtest.h>

#include <functional>

#include "tests/temporary_folder.h"
#include "tests/verify/case_file.h"
#include "verify/verify.h"

namespace rwkvlab {
namespace {

class MqarCases : public testing::Test {
 protected:
  VerifyStatus status_after(const std::function<void(CaseFile&)>& change) {
    CaseFile file = CaseFile::read(own_references() / "mqar" / "sample.safetensors");
    for (auto& [name, tensor] : file.tensors) tensor = tensor.clone();
    change(file);
    return verify_file(file.write(folder_ / "case.safetensors"), {}).status;
  }
  VerifyStatus status_with(const std::string& name, std::int64_t place, std::int64_t value) {
    return status_after([&](CaseFile& file) { file.tensors.at("out." + name).data<std::int64_t>()[place] = value; });
  }

 private:
  TemporaryFolder folder_;
};

// Settings of the file: `small` has 64 words and 4 pairs in 32 tokens, `filled_64` random filler.
TEST_F(MqarCases, WhatBreaksARuleIsFound) {
  EXPECT_EQ(status_after([](CaseFile&) {}), VerifyStatus::pass);
  EXPECT_EQ(status_with("small.inputs", 0, 40), VerifyStatus::mismatch) << "a value in place of a key";
  EXPECT_EQ(status_with("small.inputs", 1, 3), VerifyStatus::mismatch) << "a key in place of a value";
  EXPECT_EQ(status_with("small.labels", 2, 40), VerifyStatus::mismatch) << "a label on the pairs";
  const CaseFile file = CaseFile::read(own_references() / "mqar" / "sample.safetensors");
  const std::int64_t* const labels = file.tensors.at("out.small.labels").data<std::int64_t>();
  std::int64_t query = 8;
  while (labels[query] < 0) ++query;
  EXPECT_EQ(status_with("small.labels", query, -100), VerifyStatus::mismatch) << "a key that is not asked for";
  EXPECT_EQ(status_with("small.labels", query, labels[query] == 40 ? 41 : 40), VerifyStatus::mismatch) << "wrong value";
  EXPECT_EQ(status_with("small.inputs", query, 0), VerifyStatus::mismatch) << "a label without its key";
  EXPECT_EQ(status_with("small.inputs", query + 1, 5), VerifyStatus::mismatch) << "filler that is not 0";
  EXPECT_EQ(status_with("filled_64.inputs", 63, 8192), VerifyStatus::mismatch) << "outside the vocabulary";
  EXPECT_EQ(status_after([](CaseFile& f) { f.tensors.at("out.small.power_law_p").data<float>()[0] += 1e-5F; }),
            VerifyStatus::mismatch);
}

TEST_F(MqarCases, WrongSizesAreErrors) {
  EXPECT_EQ(status_after([](CaseFile& f) { f.tensors.erase("out.small.inputs"); }), VerifyStatus::unreadable);
  EXPECT_EQ(status_after([](CaseFile& f) {
              f.tensors.at("out.small.labels") = f.tensors.at("out.small.labels").rows(0, 31).clone();
            }),
            VerifyStatus::unreadable);
}

}  // namespace
}  // namespace rwkvlab
