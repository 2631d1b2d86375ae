// Which kinds of case exist. A system registers its kinds in files of verify/systems; nothing else is edited.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "verify/case_run.h"

namespace rwkvlab {

/// One kind of case: how it is computed and how exact float32 must be.
struct CaseKind {
  std::string name;     ///< "time_mix"
  std::string summary;  ///< for documentation: what is computed from what
  Tolerances tolerances;
  std::string tolerance_reason;
  std::function<void(CaseRun&)> run;
  bool differentiable = true;  ///< whether gradients can be expected of it
  /// Tighter tolerances for what the config says; none: `tolerances` for all.
  std::function<Tolerances(const CaseConfig&)> tolerances_of = {};
};

/// A kind whose tolerances are a few times the rounding of float32. It is differentiable when gradients have one.
CaseKind case_kind(std::string name, std::string summary, Tolerances tolerances, std::function<void(CaseRun&)> run);

/// system -> its kinds. Filled before main, read only afterwards.
class CaseRegistry {
 public:
  static CaseRegistry& instance();
  /// Several files may add kinds to one system, each under a name of its own.
  void add(const std::string& system, std::vector<CaseKind> kinds);

  std::vector<std::string> systems() const;
  /// All kinds of a system, none for an unknown one.
  const std::vector<CaseKind>& kinds(const std::string& system) const;
  /// The kind of that name, or else the longest one that `name` begins with, followed by '_', '-' or '.': a
  /// case "model_wide" is run as "model". Throws DataError listing what is known, with the nearest name.
  const CaseKind& find(const std::string& system, const std::string& name) const;

 private:
  std::map<std::string, std::vector<CaseKind>> systems_;
};

/// `const RegisterCases cases("rwkv4", {...});` at namespace scope.
struct RegisterCases {
  RegisterCases(const std::string& system, std::vector<CaseKind> kinds) {
    CaseRegistry::instance().add(system, std::move(kinds));
  }
};

}  // namespace rwkvlab
