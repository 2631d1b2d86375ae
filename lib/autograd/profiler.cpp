#include "autograd/profiler.h"

#include <array>

namespace rwkvlab {
namespace {

thread_local Profiler* newest = nullptr;

// What a forward pass is, seen from the span around it.
Phase forward_phase(const ProfiledSpan* around) {
  if (around == nullptr) return Phase::forward;
  switch (around->phase) {
    case Phase::backward:
    case Phase::recompute:
      return Phase::recompute;
    case Phase::evaluation:
      return Phase::evaluation;
    default:
      return Phase::forward;
  }
}

}  // namespace

std::string_view to_string(Phase phase) {
  constexpr std::array<std::string_view, 8> names = {"step", "forward", "backward",   "recompute",
                                                     "data", "update",  "evaluation", "record"};
  return names[static_cast<std::size_t>(phase)];
}

Profiler::Profiler() : previous_(newest) {
  products_.emplace();
  text_index("");
  newest = this;
}

Profiler::~Profiler() { stop(); }

Profiler* Profiler::current() { return newest; }

void Profiler::stop() {
  if (is_stopped_) return;
  is_stopped_ = true;
  take_products();
  products_.reset();
  newest = previous_;
}

std::int64_t Profiler::now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_).count();
}

int Profiler::text_index(std::string_view text) {
  if (const auto found = text_indices_.find(text); found != text_indices_.end()) return found->second;
  const int index = static_cast<int>(texts_.size());
  texts_.emplace_back(text);
  text_indices_.emplace(text, index);
  return index;
}

// The products since the last span began or ended belong to the innermost span of now.
void Profiler::take_products() {
  if (!products_) return;
  if (!open_.empty()) {
    ProfiledSpan& span = spans_[static_cast<std::size_t>(open_.back())];
    for (const kernels::MatmulCall& call : products_->calls()) {
      span.flops += call.flops();
      if (call.bfloat16) span.bfloat16_flops += call.flops();
    }
  }
  products_->clear();
}

int Profiler::open(ProfiledSpan::Kind kind, Phase phase, std::string_view name,
                   std::optional<std::string_view> module) {
  take_products();
  ProfiledSpan span;
  span.kind = kind;
  span.phase = phase;
  span.name = text_index(name);
  span.module = module ? text_index(*module) : top() != nullptr ? top()->module : 0;
  span.parent = open_.empty() ? -1 : open_.back();
  open_.push_back(static_cast<int>(spans_.size()));
  spans_.push_back(span);
  spans_.back().begin = now();
  return open_.back();
}

void Profiler::close(int index) {
  const std::int64_t end = now();
  take_products();
  ProfiledSpan& span = spans_[static_cast<std::size_t>(index)];
  span.end = end;
  open_.pop_back();
  if (span.parent >= 0) spans_[static_cast<std::size_t>(span.parent)].nested += end - span.begin;
}

void ProfileSpan::open(Profiler& profiler, ProfiledSpan::Kind kind, Phase phase, std::string_view name,
                       std::optional<std::string_view> module) {
  profiler_ = &profiler;
  span_ = profiler.open(kind, phase, name, module);
}

void ProfileSpan::open_forward(Profiler& profiler, std::string_view operation) {
  open(profiler, ProfiledSpan::Kind::operation, forward_phase(profiler.top()), operation, std::nullopt);
}

void ProfileSpan::open_backward(Profiler& profiler, std::string_view operation, std::string_view module) {
  open(profiler, ProfiledSpan::Kind::operation, Phase::backward, operation, module);
}

void ProfileSpan::open_inside(Profiler& profiler, Phase phase, std::string_view operation) {
  const ProfiledSpan* const around = profiler.top();
  const std::string same = around == nullptr ? "" : profiler.texts_[static_cast<std::size_t>(around->name)];
  open(profiler, ProfiledSpan::Kind::operation, phase, operation.empty() ? same : operation, std::nullopt);
}

void ProfileSpan::open_module(Profiler& profiler, std::string_view path) {
  open(profiler, ProfiledSpan::Kind::module, forward_phase(profiler.top()), path, path);
}

const std::string& ProfileSpan::module() const {
  static const std::string none;
  if (profiler_ == nullptr) return none;
  const ProfiledSpan& span = profiler_->spans_[static_cast<std::size_t>(span_)];
  return profiler_->texts_[static_cast<std::size_t>(span.module)];
}

void note_flops(double flops) {
  Profiler* const profiler = Profiler::current();
  if (profiler == nullptr || profiler->open_.empty()) return;
  profiler->spans_[static_cast<std::size_t>(profiler->open_.back())].flops += flops;
}

}  // namespace rwkvlab
