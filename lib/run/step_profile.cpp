#include "run/step_profile.h"

#include "run/profile_summary.h"

namespace rwkvlab {
namespace {

struct Column {
  const char *name, *unit;
  double (*value)(const ProfileRow&);
};

ProfileTable table(const std::vector<ProfileRow>& rows) {
  static constexpr Column columns[] = {
      {"calls", "1", [](const ProfileRow& row) { return static_cast<double>(row.calls); }},
      {"forward", "seconds", [](const ProfileRow& row) { return row.forward; }},
      {"backward", "seconds", [](const ProfileRow& row) { return row.backward; }},
      {"recompute", "seconds", [](const ProfileRow& row) { return row.recompute; }},
      {"other", "seconds", [](const ProfileRow& row) { return row.other; }},
      {"flops", "floating-point operations", [](const ProfileRow& row) { return row.flops; }},
      {"bfloat16_flops", "floating-point operations", [](const ProfileRow& row) { return row.bfloat16_flops; }},
      {"bytes", "bytes", [](const ProfileRow& row) { return row.bytes; }}};
  ProfileTable result;
  for (const ProfileRow& row : rows) result.names.push_back(row.is_part ? "(" + row.name + ")" : row.name);
  for (const Column& column : columns) {
    ProfileTable::Column& values = result.columns.emplace_back(ProfileTable::Column{column.name, column.unit, {}});
    for (const ProfileRow& row : rows) values.values.push_back(column.value(row));
  }
  return result;
}

}  // namespace

void StepProfile::finished(std::int64_t step) {
  const std::int64_t end = params_.from + params_.steps - 1;
  if (profiler_) {
    if (last_ >= end) return;
    last_ = step;
    if (step >= end) profiler_->stop();
  } else if (step + 1 >= params_.from && step < end) {
    profiler_.emplace();
    first_ = step + 1;
  }
}

void StepProfile::stop() {
  if (!profiler_) return;
  profiler_->stop();
  params_.steps = 0;
}

bool StepProfile::take() {
  if (is_taken_ || steps() == 0 || Profiler::current() == &*profiler_) return false;
  is_taken_ = true;
  return true;
}

std::int64_t StepProfile::steps() const { return profiler_ && last_ >= first_ ? last_ - first_ + 1 : 0; }

ProfileRecord StepProfile::record() const {
  const ProfileSummary summary = summarise(*profiler_);
  ProfileRecord record;
  record.first_step = first_;
  record.steps = summary.steps;
  record.tables = {{"operations", table(summary.operations)},
                   {"modules", table(summary.modules)},
                   {"outside", table(summary.outside)}};
  return record;
}

}  // namespace rwkvlab
