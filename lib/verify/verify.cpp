#include "verify/verify.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace rwkvlab {
namespace {

// Rounding of the float32 in which expected values are stored, with a factor of about 10.
constexpr double float64_tolerance = 1e-6;

Tolerances tolerances_in(const CaseKind& kind, const CaseConfig& config, DType precision) {
  Tolerances result = kind.tolerances_of ? kind.tolerances_of(config) : kind.tolerances;
  // Published logits of a trained model carry the rounding of whoever computed them; no precision of ours mends that.
  if (precision != DType::f64 || result.absolute) return result;
  result.output = std::min(result.output, float64_tolerance);
  result.gradient = std::min(result.gradient, float64_tolerance);
  for (auto& [name, tolerance] : result.of_output) tolerance = std::min(tolerance, float64_tolerance);
  return result;
}

void run_case(const ReferenceCase& reference, const CaseKind& kind, CaseReport& report) {
  CaseRun run(reference, report.precision);
  std::optional<Tape> tape;
  if (kind.differentiable && reference.wants_gradients()) tape.emplace();
  kind.run(run);
  if (tape) run.backward(*tape);
  report.tensors = run.compare(tolerances_in(kind, reference.config, report.precision));
  const bool passed = std::all_of(report.tensors.begin(), report.tensors.end(), [](const auto& t) { return t.pass; });
  report.status = passed ? VerifyStatus::pass : VerifyStatus::mismatch;
}

}  // namespace

CaseReport verify_file(const std::filesystem::path& path, const VerifyOptions& options) {
  CaseReport report;
  report.path = path;
  report.precision = options.precision;
  try {
    const ReferenceCase reference(path);
    report.system = reference.system;
    report.name = reference.name;
    report.source = reference.source;
    const CaseKind& kind = CaseRegistry::instance().find(reference.system, reference.name);
    report.kind = kind.name;
    run_case(reference, kind, report);
  } catch (const Error& error) {
    report.status = VerifyStatus::unreadable;
    report.problem = error.what();
    report.tensors.clear();
  }
  return report;
}

VerifyStatus overall_status(std::span<const CaseReport> reports) {
  VerifyStatus worst = VerifyStatus::pass;
  for (const CaseReport& report : reports) worst = std::max(worst, report.status);
  return worst;
}

}  // namespace rwkvlab
