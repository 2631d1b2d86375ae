// The hyper-parameters of a reference case: a JSON object with checked access.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace rwkvlab {

/// Every accessor throws DataError naming the key, what was found and what was expected; nothing read from here can be
/// larger than the caller allows.
class CaseConfig {
 public:
  CaseConfig() = default;
  /// `where` is what messages call the object: "config".
  CaseConfig(const std::string& json_text, std::string where);

  bool has(const std::string& key) const { return object_.contains(key); }
  /// Whether it is there with another value than null.
  bool states(const std::string& key) const { return has(key) && !object_.at(key).is_null(); }
  std::vector<std::string> keys() const;

  /// An integer in [low, high]; a number without a fraction counts as one.
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer_or(const std::string& key, std::int64_t fallback, std::int64_t low, std::int64_t high) const;
  /// A finite number.
  double number(const std::string& key) const;
  double number_or(const std::string& key, double fallback) const;
  /// true, false, 0 or 1.
  bool flag_or(const std::string& key, bool fallback) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  std::vector<std::string> texts(const std::string& key) const;
  /// A list of integers in [low, high]; a single integer counts as a list of one.
  std::vector<std::int64_t> integers(const std::string& key, std::int64_t low, std::int64_t high) const;
  std::vector<double> numbers(const std::string& key) const;
  CaseConfig section(const std::string& key) const;

  /// Throws DataError when the key is there and says something else than `actual`, the size that `tensor` has.
  void agree(const std::string& key, std::int64_t actual, std::string_view tensor) const;

 private:
  const nlohmann::json& value(const std::string& key) const;
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;
  std::int64_t as_integer(const std::string& key, const nlohmann::json& value, std::int64_t low,
                          std::int64_t high) const;

  nlohmann::json object_ = nlohmann::json::object();
  std::string where_ = "config";
};

}  // namespace rwkvlab
