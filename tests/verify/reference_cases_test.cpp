// Every reference case passes in float32, and in float64 to the precision in which it is stored; a changed one does
// not, and one that contradicts itself is explained.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "models/language_model.h"
#include "tests/temporary_folder.h"
#include "tests/verify/case_file.h"
#include "train/optimizer.h"
#include "verify/case_registry.h"
#include "verify/runners.h"
#include "verify/verify.h"

namespace rwkvlab {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct System {
  const char* name;
  std::size_t own_files;     ///< in the repository
  const char* trained = "";  ///< what the files of its trained models begin with
};
const System systems[] = {
    {"rwkv4", 16, "tiny-rwkv-4"}, {"rwkv5", 8, "tiny-rwkv-5"}, {"rwkv6", 9}, {"rwkv7", 8}, {"baselines", 21},
    {"vision_rwkv", 15}};

void expect_all_pass(const std::vector<fs::path>& files) {
  for (const auto& file : files) {
    for (const DType precision : {DType::f32, DType::f64}) {
      const CaseReport report = verify_file(file, {precision});
      EXPECT_EQ(report.status, VerifyStatus::pass) << report_text(report);
      EXPECT_FALSE(report.tensors.empty()) << file;
    }
  }
}

CaseFile own_case(const std::string& system, const std::string& name) {
  return CaseFile::read(own_references() / system / (name + ".safetensors"));
}

CaseReport run(const CaseFile& file) {
  const TemporaryFolder folder;
  return verify_file(file.write(folder / "case.safetensors"), {});
}

class ReferenceCases : public testing::TestWithParam<System> {};

TEST_P(ReferenceCases, ThoseInTheRepositoryPass) {
  const auto files = cases_in(own_references() / GetParam().name);
  EXPECT_EQ(files.size(), GetParam().own_files);
  expect_all_pass(files);
}

TEST_P(ReferenceCases, TheLargerOnesPass) {
  std::vector<fs::path> files = cases_in(fs::path(RWKVLAB_REFERENCE_DIR) / GetParam().name);
  if (files.empty()) {
    GTEST_SKIP() << "no cases in " << RWKVLAB_REFERENCE_DIR << "/" << GetParam().name << " (set RWKVLAB_REFERENCE_DIR)";
  }
  std::erase_if(files, [](const fs::path& file) {  // Those were run above.
    return fs::exists(own_references() / GetParam().name / file.filename());
  });
  expect_all_pass(files);
}

TEST_P(ReferenceCases, TheTrainedModelPasses) {
  const std::string prefix = GetParam().trained;
  if (prefix.empty()) GTEST_SKIP() << "the system has no trained model";
  std::vector<fs::path> files = cases_in(fs::path(RWKVLAB_REFERENCE_DIR) / "tiny-trained");
  std::erase_if(files, [&](const fs::path& file) { return !file.filename().string().starts_with(prefix); });
  if (files.empty()) GTEST_SKIP() << "no " << prefix << " in " << RWKVLAB_REFERENCE_DIR << "/tiny-trained";
  expect_all_pass(files);
}

INSTANTIATE_TEST_SUITE_P(Systems, ReferenceCases, testing::ValuesIn(systems),
                         [](const auto& system) { return std::string(system.param.name); });

// The runner of optimiser steps takes scales and decays from the file; the modules' own rules must be the same.
struct Trained {
  const char* system;
  const char* file;
  bool warm_up_stage = false;
};
class OptimiserRules : public testing::TestWithParam<Trained> {};

TEST_P(OptimiserRules, AreThoseOfTheOfficialTrainer) {
  const auto& [system, file, warm_up_stage] = GetParam();
  const ReferenceCase reference(own_references() / system / (std::string(file) + ".safetensors"));
  LanguageModelParams params;
  params.layers = 2;
  params.width = 32;
  params.vocabulary_size = 17;
  params.time_mix = make_choice("time_mix", system);
  params.channel_mix = make_choice("channel_mix", system);
  const auto model = make_language_model(params);
  ParameterPolicy policy;
  policy.warm_up_stage = warm_up_stage;
  const bool decays = reference.config.number("weight_decay") > 0;
  const auto listed = [&](const char* key, const std::string& name) {
    const std::vector<std::string> names = reference.config.texts(key);
    return std::count(names.begin(), names.end(), name) > 0;
  };
  // Factor on the learning rate, and whether the parameter decays.
  const auto rule = [&](const std::string& name) -> std::pair<double, bool> {
    if (!reference.config.has("group_2x")) {
      const auto numbers = reference.config.section("groups_lr_scale_and_weight_decay").numbers(name);
      return {numbers[0], numbers[1] > 0};
    }
    return {listed("group_2x", name) ? 2 : 1, listed("group_decay", name)};
  };
  std::size_t special = 0;
  for (const TrainedParameter& trained : trained_parameters(*model, policy)) {
    const std::string& name = trained.parameter->name;
    const auto [scale, decay] = rule(name);
    EXPECT_EQ(trained.learning_rate_scale, scale) << name;
    if (decays) {
      EXPECT_EQ(trained.weight_decay, decay) << name;
    }
    special += scale != 1 ? 1 : 0;
  }
  EXPECT_GT(special, 0U) << "the test compared nothing";
}

INSTANTIATE_TEST_SUITE_P(Systems, OptimiserRules,
                         testing::Values(Trained{"rwkv4", "train_steps"}, Trained{"rwkv4", "train_steps_wd", true},
                                         Trained{"rwkv5", "train"}, Trained{"rwkv6", "train"},
                                         Trained{"rwkv7", "train"}),
                         [](const auto& trained) {
                           return std::string(trained.param.system) + "_" + trained.param.file;
                         });

TEST(ChangedCases, AChangedNumberIsAMismatch) {
  for (const auto& [system, name, tensors] :
       std::vector<std::tuple<const char*, const char*, std::vector<const char*>>>{
           {"rwkv5", "time_mix", {"out.y", "grad.time_decay", "grad_in.x"}},
           {"rwkv6", "time_mix", {"out.y", "grad.time_decay", "grad_in.x"}},
           {"baselines", "linear_attention_kernel", {"out.y", "out.state_z", "grad_in.state", "grad_in.state_z"}},
           {"baselines", "gla", {"out.y", "out.state", "grad_in.state", "grad.gk_proj.1.bias"}},
           {"baselines", "ssd", {"out.state", "grad_in.a", "grad_in.b"}},
           {"baselines", "delta_rule", {"grad_in.beta", "grad_in.k", "grad_in.state"}}}) {
    const CaseFile file = own_case(system, name);
    for (const char* const tensor : tensors) {
      CaseFile changed = file;
      changed.tensors[tensor] = file.tensors.at(tensor).clone();
      changed.tensors[tensor].data<float>()[3] += 0.01F;
      const CaseReport report = run(changed);
      EXPECT_EQ(report.status, VerifyStatus::mismatch) << name << " " << tensor << "\n" << report_text(report);
    }
  }
}

TEST(ChangedCases, AContradictionIsExplained) {
  struct Fault {
    const char *system, *name;
    std::function<void(CaseFile&, json& config)> make;
    const char* explanation;
  };
  const auto set = [](const char* key, const json& value) {
    return [=](CaseFile&, json& config) { config[key] = value; };
  };
  const auto without = [](const char* tensor) { return [=](CaseFile& file, json&) { file.tensors.erase(tensor); }; };
  const auto more = [](const char* key, const char* value) {
    return [=](CaseFile&, json& config) { config[key].push_back(value); };
  };
  const auto zeros = [](const char* tensor, const Shape& shape) {
    return [=](CaseFile& file, json&) { file.tensors[tensor] = Tensor::zeros(shape); };
  };
  const Fault faults[] = {
      {"rwkv5", "time_mix", set("head_size", 7), "head_size 7 does not divide the 32 channels"},
      {"rwkv6", "time_mix", set("head_size", 7), "head_size 7 does not divide the 32 channels"},
      {"rwkv5", "train", more("group_2x", "blocks.7.att.time_decay"), "blocks.7.att.time_decay"},
      {"rwkv6", "train", more("group_2x", "blocks.7.att.time_decay"), "blocks.7.att.time_decay"},
      {"rwkv6", "wkv6", zeros("in.u", {2, 7}), "'in.u' has shape [2, 7], expected [2, 8]"},
      {"rwkv7", "wkv7", set("w_mode", "exp_log"), "w_mode"},
      {"rwkv7", "wkv7", set("state_layout", "key_key"), "state_layout"},
      {"baselines", "linear_attention_kernel", without("in.state_z"), "both of 'in.state' and 'in.state_z'"},
      {"baselines", "linear_attention", set("head_k_dim", 7), "'param.k_proj.weight' has shape [18, 14]"},
      {"baselines", "retention_kernel", zeros("in.gamma", {3}), "'in.gamma' has shape [3], expected [4]"},
      {"baselines", "retention_kernel", zeros("in.q", {2, 13, 4}), "[batch, time, heads, channels of a head]"},
      {"baselines", "retention", set("gamma", {0.5, 0.5}), "'config.gamma' has 0.5 for head 0"},
      {"baselines", "retention", set("xpos", true), "xpos"},
      {"baselines", "retention", zeros("in.state", {2, 4}), "expected [batch, heads, keys, values]"},
      {"baselines", "gla", set("hidden_size", 19), "hidden_size"},
      {"baselines", "gla", zeros("in.state", {2, 3, 7, 8}), "state"},
      {"baselines", "gla_kernel", set("num_heads", 4), "num_heads"},
      {"baselines", "ssd", zeros("in.b", {2, 13, 3, 6}), "'in.b' has 3 groups"},
      {"baselines", "delta_rule", set("qk_norm", "l3"), "qk_norm"},
      {"baselines", "delta_rule", zeros("in.beta", {2, 13, 4}), "'in.beta' has shape [2, 13, 4]"},
  };
  for (const Fault& fault : faults) {
    CaseFile file = own_case(fault.system, fault.name);
    json config = json::parse(file.metadata["config"]);
    fault.make(file, config);
    if (fault.explanation == std::string("'in.b' has 3 groups")) config["num_groups"] = 3;
    file.metadata["config"] = config.dump();
    std::erase_if(file.tensors, [&](const auto& entry) {  // Gradients of what is no longer there.
      return entry.first.starts_with("grad_in.") &&
             (file.tensors.count("in." + entry.first.substr(8)) == 0 ||
              file.tensors.at("in." + entry.first.substr(8)).shape() != entry.second.shape());
    });
    const CaseReport report = run(file);
    EXPECT_EQ(report.status, VerifyStatus::unreadable) << fault.name << ": " << fault.explanation;
    EXPECT_NE(report.problem.find(fault.explanation), std::string::npos) << fault.name << ": " << report.problem;
  }
}

// What docs/verify.md says about a system: what holds for all of them, and its own section.
std::string page_of(const std::string& system) {
  const std::string page = read_text(fs::path(RWKVLAB_SOURCE_DIR) / "docs" / "verify.md");
  std::string part;
  for (std::size_t begin = 0, end = 0; begin < page.size(); begin = end) {
    end = std::min(page.find("\n### ", begin + 1), page.size());
    const std::string heading = page.substr(begin, page.find('\n', begin + 1) - begin);
    const bool of_one = heading.find("### `") != std::string::npos;
    if (!of_one || heading.find("`" + system + "`") != std::string::npos) part += page.substr(begin, end - begin);
  }
  return part;
}

bool names_parameter(const std::string& page, std::string name) {
  if (name.starts_with("blocks.")) name = name.substr(name.find('.', std::string_view("blocks.").size()) + 1);
  if (page.find("`" + name + "`") != std::string::npos) return true;
  const std::string in_block = name.substr(name.find('.') + 1);  // Without att., ffn. or attn.
  return page.find("`" + in_block + "`") != std::string::npos;
}

TEST(ThePageOfVerify, NamesEveryKindInputAndParameter) {
  for (const std::string& system : CaseRegistry::instance().systems()) {
    const std::string page = page_of(system);
    for (const CaseKind& kind : CaseRegistry::instance().kinds(system)) {
      EXPECT_NE(page.find("`" + kind.name + "`"), std::string::npos) << system << " " << kind.name;
    }
    const auto files = cases_in(own_references() / system);
    EXPECT_FALSE(files.empty()) << system;
    for (const auto& file : files) {
      for (const auto& [name, tensor] : CaseFile::read(file).tensors) {
        const bool named = name.starts_with("in.")      ? page.find("`" + name.substr(3) + "`") != std::string::npos
                           : name.starts_with("param.") ? names_parameter(page, name.substr(6))
                                                        : true;
        EXPECT_TRUE(named) << file << ": " << name;
      }
    }
  }
}

TEST(ThePageOfVerify, StatesTheTolerancesOfImageModels) {
  const auto of = [](const char* kind, const char* config) {
    const Tolerances found =
        CaseRegistry::instance().find("vision_rwkv", kind).tolerances_of(CaseConfig(config, "config"));
    return std::pair(found.output, found.gradient);
  };
  EXPECT_EQ(of("model", "{}"), std::pair(2e-6, 1e-5));
  EXPECT_EQ(of("model", R"({"post_norm": true})"), std::pair(2e-6, 2e-5));
  EXPECT_EQ(of("model", R"({"variant": "vrwkv6"})"), std::pair(2e-6, 4e-5));
  EXPECT_EQ(of("model", R"({"post_norm": true, "key_norm": true})"), std::pair(5e-6, 5e-5));
  EXPECT_EQ(of("features", R"({"key_norm": true})"), std::pair(5e-6, 3e-5));
  EXPECT_EQ(of("features", R"({"variant": "vrwkv6"})"), std::pair(3e-5, 2e-4));
  const auto largest_of_gradients = [](const char* name) {
    double largest = 0;
    for (const TensorResult& tensor : verify_file(own_references() / "vision_rwkv" / name).tensors) {
      if (tensor.is_gradient) largest = std::max(largest, tensor.tolerance);
    }
    return largest;
  };
  EXPECT_EQ(largest_of_gradients("spatial_mix.safetensors"), 5e-6);
  EXPECT_EQ(largest_of_gradients("spatial_mix_key_norm.safetensors"), 1e-5);
}

TEST(Reports, JsonHasOneObjectPerFileWithEveryTensor) {
  const auto file = own_references() / "rwkv4" / "time_mix.safetensors";
  const CaseReport report = verify_file(file);
  const std::string text = report_json(report);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0);
  const auto object = json::parse(text);
  EXPECT_EQ(object.at("file"), file.string());
  EXPECT_EQ(object.at("system"), "rwkv4");
  EXPECT_EQ(object.at("case"), "time_mix");
  EXPECT_EQ(object.at("status"), "pass");
  EXPECT_EQ(object.at("tensors").size(), 11u);  // y, nine parameters, x
  for (const auto& tensor : object.at("tensors")) {
    EXPECT_LE(tensor.at("error").get<double>(), tensor.at("tolerance").get<double>());
    EXPECT_TRUE(tensor.at("pass").get<bool>());
  }
}

TEST(Reports, TextNamesTheCaseAndEveryTensor) {
  const CaseReport report = verify_file(own_references() / "rwkv4" / "wkv.safetensors");
  const std::string text = report_text(report);
  for (const char* const part : {"wkv.safetensors: PASS", "rwkv4 wkv, float32, 5 tensors", "out.y", "grad.time_decay",
                                 "grad_in.k", "gradient", "2.0e-06"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " not in\n" << text;
  }
}

}  // namespace
}  // namespace rwkvlab
