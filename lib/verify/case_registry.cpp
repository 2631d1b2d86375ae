#include "verify/case_registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/nearest.h"

namespace rwkvlab {
namespace {

bool runs_as(const std::string& name, const std::string& kind) {
  if (!name.starts_with(kind)) return false;
  return name.size() == kind.size() || std::string_view("_-.").find(name[kind.size()]) != std::string_view::npos;
}

}  // namespace

CaseKind case_kind(std::string name, std::string summary, Tolerances tolerances, std::function<void(CaseRun&)> run) {
  const bool differentiable = tolerances.gradient > 0;
  return {std::move(name),       std::move(summary),
          std::move(tolerances), "5 to 10 times the rounding of float32 in this computation",
          std::move(run),        differentiable};
}

CaseRegistry& CaseRegistry::instance() {
  static CaseRegistry registry;
  return registry;
}

void CaseRegistry::add(const std::string& system, std::vector<CaseKind> kinds) {
  std::vector<CaseKind>& all = systems_[system];
  for (CaseKind& kind : kinds) {
    const auto same_name = [&](const CaseKind& other) { return other.name == kind.name; };
    check_invariant(std::none_of(all.begin(), all.end(), same_name), "a kind of case is registered twice");
    all.push_back(std::move(kind));
  }
}

std::vector<std::string> CaseRegistry::systems() const {
  std::vector<std::string> names;
  for (const auto& [name, kinds] : systems_) names.push_back(name);
  return names;
}

const std::vector<CaseKind>& CaseRegistry::kinds(const std::string& system) const {
  static const std::vector<CaseKind> none;
  const auto found = systems_.find(system);
  return found == systems_.end() ? none : found->second;
}

const CaseKind& CaseRegistry::find(const std::string& system, const std::string& name) const {
  if (systems_.count(system) == 0) {
    const std::vector<std::string> known = systems();
    throw DataError(fmt::format("unknown system '{}'{}; known: {}", system.substr(0, 60), did_you_mean(system, known),
                                fmt::join(known, ", ")));
  }
  const CaseKind* best = nullptr;
  std::vector<std::string> known;
  for (const CaseKind& kind : kinds(system)) {
    known.push_back(kind.name);
    if (runs_as(name, kind.name) && (best == nullptr || kind.name.size() > best->name.size())) best = &kind;
  }
  if (best == nullptr) {
    throw DataError(fmt::format("unknown case '{}' of system '{}'{}; known: {}", name.substr(0, 60), system,
                                did_you_mean(name, known), fmt::join(known, ", ")));
  }
  return *best;
}

}  // namespace rwkvlab
