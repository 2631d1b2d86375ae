// What `bench kernels` and `bench data` measure. No time is asserted.
#include "bench/kernel_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "bench/data_bench.h"
#include "bench/kernel_cases.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;

TEST(KernelCases, AllRunAndNoteTheirProducts) {
  std::set<std::string> names;
  for (const KernelCase& kernel : kernel_cases()) {
    SCOPED_TRACE(kernel.name);
    EXPECT_TRUE(names.insert(kernel.name).second) << "twice";
    KernelOperands operands;
    const std::function<void()> run = kernel.prepare(operands);
    const kernels::MatmulRecorder recorder;
    run();
    EXPECT_GT(operands.bytes(), 0);
    EXPECT_LE(operands.bfloat16_flops(), operands.flops());
    if (!recorder.calls().empty()) {
      EXPECT_EQ(recorder.flops(), operands.flops());
    }
  }
  for (const char* const name : {"wkv4 backward", "wkv5 heads of 32 forward", "wkv6 heads of 64 backward",
                                 "wkv7 heads of 128 backward", "adam", "product width to hidden"}) {
    EXPECT_EQ(names.count(name), 1U) << name;
  }
}

TEST(KernelOperands, CountWhatIsMoved) {
  KernelOperands operands;
  const float* const x = operands.read(10, 2, 3);
  EXPECT_GE(x[0], 2);
  EXPECT_NE(x[0], x[1]);
  operands.write(5);
  operands.update(3);
  EXPECT_EQ(operands.bytes(), 4.0 * (10 + 5 + 2 * 3));
  const std::int64_t* const tokens = operands.tokens(100, 7);
  EXPECT_EQ(operands.bytes(), 4.0 * 21 + 800);
  EXPECT_LT(*std::max_element(tokens, tokens + 100), 7);
}

TEST(BenchKernels, ChoosesByNameAndRestoresTheThreads) {
  const int before = kernels::threads();
  KernelBenchOptions options;
  options.names = {"wkv4", "layer_norm*ward"};
  options.threads = {1, 2};
  options.repetitions = 1;
  options.seconds = 1e-4;
  const std::vector<KernelBenchReport> reports = bench_kernels(options);
  EXPECT_EQ(kernels::threads(), before);
  ASSERT_THAT(reports, SizeIs(2));
  EXPECT_EQ(reports[0].limits.threads, 1);
  EXPECT_EQ(reports[1].limits.threads, 2);
  ASSERT_THAT(reports[1].kernels, SizeIs(4)) << "wkv4 and layer_norm, forward and backward";
  const nlohmann::json all = json(reports);
  EXPECT_EQ(all[0].at("kernels")[0].at("name"), "wkv4 forward");
  for (const char* const field : {"seconds", "flops", "bytes", "limit_seconds", "limit_share"}) {
    EXPECT_GT(all[1].at("kernels")[0].at(field), 0) << field;
  }
  EXPECT_THAT(text(reports), AllOf(HasSubstr("wkv4 backward"), HasSubstr("limits, 2 threads")));
  options.names = {"wkv9"};
  EXPECT_THAT(message_of<ConfigError>([&] { bench_kernels(options); }), HasSubstr("'wkv9'"));
}

TEST(BenchKernels, SaysWhatATokenCostsInLongerSequences) {
  KernelBenchReport report;
  for (const double tokens : {100.0, 200.0, 400.0}) {
    KernelTiming& timing = report.kernels.emplace_back();
    timing.series = "scan";
    timing.tokens = tokens;
    timing.seconds = tokens > 200 ? 2 * tokens : tokens;
  }
  report.kernels.push_back({"alone", 3});
  EXPECT_THAT(text({report}), HasSubstr("  scan: time per token, of the first size: 1.00, 1.00, 2.00\n"));
}

TEST(BenchData, EveryNamedTaskFillsBatches) {
  for (const std::string& name : data_workload_names()) {
    SCOPED_TRACE(name);
    const TrainWorkload workload = data_workload(name);
    const Batch batch = workload.data->training_batch(3, workload.batch, workload.context);
    EXPECT_EQ(batch.tokens.shape()[0], workload.batch);
    EXPECT_GE(batch.tokens.shape()[1], 200) << "near the small workload's 256";
    EXPECT_LE(batch.tokens.shape()[1], 272);
  }
  EXPECT_THAT(message_of<ConfigError>([] { data_workload("texts"); }), HasSubstr("listops"));
}

TEST(BenchData, TimesBatchesBesideSteps) {
  TrainWorkload workload = data_workload("copying");
  workload.model.layers = 1;
  workload.model.width = 8;
  const DataBenchRow row = bench_data(workload, {1, 1e-4});
  EXPECT_EQ(row.timing.tokens, 8 * 256);
  EXPECT_GT(row.timing.batch, 0);
  EXPECT_GT(row.timing.step, 0);
  const nlohmann::json all = json(std::vector<DataBenchRow>{row});
  EXPECT_DOUBLE_EQ(all[0].at("batch_tokens_per_second"), row.timing.tokens / row.timing.batch);
  EXPECT_THAT(text(std::vector<DataBenchRow>{row}), HasSubstr("copying"));
}

}  // namespace
}  // namespace rwkvlab
