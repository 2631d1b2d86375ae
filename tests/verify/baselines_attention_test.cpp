// The baselines that look back or carry a vector, beyond their cases: in chunks, and with configs that make no sense.
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"
#include "tests/verify/case_file.h"
#include "verify/verify.h"

namespace rwkvlab {
namespace {

CaseFile case_with(const std::string& name, const std::string& from, const std::string& to) {
  CaseFile file = CaseFile::read(own_references() / "baselines" / (name + ".safetensors"));
  std::string& config = file.metadata["config"];
  const std::size_t at = config.find(from);
  EXPECT_NE(at, std::string::npos) << config;
  config.replace(at, from.size(), to);
  return file;
}

// The numbers of the whole sequence, gradients included, come out of its chunks too.
TEST(BaselinesInChunks, GiveTheNumbersOfTheWholeSequence) {
  const TemporaryFolder folder;
  for (const char* const name : {"attention_none", "attention_rotary", "attention_alibi", "attention_learned",
                                 "aft_full", "aft_simple", "lstm", "gru", "transformer_block"}) {
    for (const char* const split : {"[1, 4, 1]", "12"}) {
      const CaseFile file = case_with(name, "{", "{\"split_at\": " + std::string(split) + ", ");
      const CaseReport report = verify_file(file.write(folder / "case.safetensors"), {DType::f32});
      EXPECT_EQ(report.status, VerifyStatus::pass) << name << ", " << split << "\n" << report_text(report);
      EXPECT_FALSE(report.tensors.empty());
    }
  }
}

TEST(BaselinesOfTransformers, ConfigsThatDoNotFitAreRefusedWithTheirKey) {
  const TemporaryFolder folder;
  const std::tuple<const char*, const char*, const char*, const char*> faults[] = {
      {"attention_none", "\"num_heads\": 4", "\"num_heads\": 5", "num_heads"},
      {"attention_none", "\"head_size\": 6", "\"head_size\": 8", "head_size"},
      {"attention_none", "\"position\": \"none\"", "\"position\": \"sinus\"", "sinus"},
      {"attention_rotary", "\"num_heads\": 4", "\"num_heads\": 4, \"scale\": 1.0", "scale"},
      {"attention_learned", "\"max_seq_len\": 16", "\"max_seq_len\": 12", "pos_emb.weight"},
      {"aft_full", "\"causal\": true", "\"causal\": false", "causal"},
      {"transformer_block", "gelu_tanh", "relu", "activation"},
      {"lstm", "\"num_layers\": 1", "\"num_layers\": 2", "num_layers"},
      {"gru", "\"hidden_size\": 10", "\"hidden_size\": 11", "hidden_size"},
  };
  for (const auto& [name, from, to, key] : faults) {
    const CaseReport report = verify_file(case_with(name, from, to).write(folder / "case.safetensors"), {DType::f32});
    EXPECT_EQ(report.status, VerifyStatus::unreadable) << name << " " << to;
    EXPECT_NE(report_text(report).find(key), std::string::npos) << report_text(report);
  }
}

}  // namespace
}  // namespace rwkvlab
