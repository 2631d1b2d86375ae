// rwkvlab verify: compares implementations with reference cases.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "verify/verify.h"

namespace rwkvlab::cli {
namespace {

struct VerifyArguments {
  std::vector<std::string> files;
  std::string precision = "float32";
  bool as_json = false;
};

int verify(const VerifyArguments& arguments) {
  VerifyOptions options;
  options.precision = arguments.precision == "float64" ? DType::f64 : DType::f32;
  std::vector<CaseReport> reports;
  for (const std::string& file : arguments.files) {
    reports.push_back(verify_file(file, options));
    const CaseReport& report = reports.back();
    if (arguments.as_json) {
      fmt::print("{}\n", report_json(report));
    } else {
      fmt::print("{}\n", report_text(report));
    }
    if (report.status == VerifyStatus::unreadable) fmt::print(stderr, "error: {}\n", report.problem);
    std::fflush(stdout);
  }
  if (!arguments.as_json && reports.size() > 1) fmt::print("{}\n", summary_text(reports));
  return static_cast<int>(overall_status(reports));
}

}  // namespace

void add_verify_command(const Command& program) {
  auto arguments = std::make_shared<VerifyArguments>();
  const Command command =
      program.command("verify", "run reference cases and compare every output and gradient; exit code 0 when all pass");
  command.option("FILE", arguments->files, "reference cases (safetensors)").required();
  command.flag("--json", arguments->as_json, "print one JSON object per file");
  command
      .option("--precision", arguments->precision,
              "arithmetic: float32 as models run, float64 to prove the mathematics")
      .one_of({"float32", "float64"})
      .show_default();
  command.action([arguments] { return verify(*arguments); });
}

}  // namespace rwkvlab::cli
