#include "config/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "config/diagnostics.h"
#include "config/fields.h"
#include "config/yaml_writer.h"

namespace rwkvlab {
namespace {

/// Bounds read better without ".0": "4 to 256", "above 0.5".
std::string bound_text(double value) {
  std::string text = number_text(value);
  if (text.size() > 2 && text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

std::optional<Node> convert_integer(const Node& value, ScalarType type) {
  Node whole = value;
  if (value.type() == Node::Type::number) {
    const double real = value.number();
    constexpr double exact = 9007199254740992.0;  // 2^53: every whole number up to here is a double of its own.
    if (!(std::abs(real) <= exact) || real != std::floor(real)) return std::nullopt;
    whole = Node(static_cast<std::int64_t>(real));
    whole.set_place(value.place());
  }
  if (whole.type() != Node::Type::integer) return std::nullopt;
  if (type == ScalarType::uint64) return whole.is_negative_integer() ? std::nullopt : std::optional(whole);
  if (whole.is_unsigned_integer()) return std::nullopt;
  using Int = std::numeric_limits<int>;
  if (type == ScalarType::int32 && (whole.integer() < Int::min() || whole.integer() > Int::max())) return std::nullopt;
  return whole;
}

}  // namespace

Choice::Choice() = default;
Choice::Choice(const Choice&) = default;
Choice::Choice(Choice&&) noexcept = default;
Choice& Choice::operator=(const Choice&) = default;
Choice& Choice::operator=(Choice&&) noexcept = default;
Choice::~Choice() = default;

Constraint between(double minimum, double maximum) { return at_least(minimum) && at_most(maximum); }
Constraint at_least(double minimum) {
  Constraint result;
  result.minimum = minimum;
  return result;
}
Constraint at_most(double maximum) {
  Constraint result;
  result.maximum = maximum;
  return result;
}
Constraint above(double minimum) {
  Constraint result = at_least(minimum);
  result.excludes_minimum = true;
  return result;
}
Constraint below(double maximum) {
  Constraint result = at_most(maximum);
  result.excludes_maximum = true;
  return result;
}
Constraint one_of(std::initializer_list<Option> options) {
  Constraint result;
  result.options = options;
  return result;
}

Constraint operator&&(Constraint a, const Constraint& b) {
  const bool is_single =
      !(a.minimum && b.minimum) && !(a.maximum && b.maximum) && (a.options.empty() || b.options.empty());
  check_invariant(is_single, "a constraint bounds the same side twice");
  if (b.minimum) {
    a.minimum = b.minimum;
    a.excludes_minimum = b.excludes_minimum;
  }
  if (b.maximum) {
    a.maximum = b.maximum;
    a.excludes_maximum = b.excludes_maximum;
  }
  if (a.options.empty()) a.options = b.options;
  return a;
}

std::string Constraint::text() const {
  if (!options.empty()) {
    std::vector<std::string> words;
    for (const Option& option : options) words.push_back(option.value);
    return "one of " + join_names(words, words.size());
  }
  const std::string low = minimum ? bound_text(*minimum) : "", high = maximum ? bound_text(*maximum) : "";
  if (minimum && maximum && !excludes_minimum && !excludes_maximum) return low + " to " + high;
  std::string result;
  if (minimum) result = (excludes_minimum ? "above " : "at least ") + low;
  if (minimum && maximum) result += " and ";
  if (maximum) result += (excludes_maximum ? "below " : "at most ") + high;
  return result;
}

bool Constraint::accepts(const Node& value) const {
  if (!options.empty())
    return value.is_string() && std::any_of(options.begin(), options.end(),
                                            [&](const Option& option) { return option.value == value.string(); });
  if (!minimum && !maximum) return true;
  const double number = value.number();
  const bool is_above = !minimum || (excludes_minimum ? number > *minimum : number >= *minimum);
  const bool is_below = !maximum || (excludes_maximum ? number < *maximum : number <= *maximum);
  return number == number && is_above && is_below;
}

std::string_view scalar_type_name(ScalarType type) {
  static constexpr std::string_view names[] = {"boolean", "integer", "integer", "integer", "number", "string"};
  return names[static_cast<int>(type)];
}

std::optional<Node> convert_scalar(const Node& value, ScalarType type) {
  switch (type) {
    case ScalarType::boolean:
      return value.type() == Node::Type::boolean ? std::optional(value) : std::nullopt;
    case ScalarType::string:
      return value.is_string() ? std::optional(value) : std::nullopt;
    case ScalarType::number: {
      if (value.type() != Node::Type::number && value.type() != Node::Type::integer) return std::nullopt;
      if (!std::isfinite(value.number())) return std::nullopt;
      Node real(value.number());
      real.set_place(value.place());
      return real;
    }
    default:
      return convert_integer(value, type);
  }
}

std::string Field::type_text() const {
  const std::string scalar_name(scalar_type_name(scalar));
  switch (shape) {
    case FieldShape::scalar:
      return scalar_name;
    case FieldShape::scalar_list:
      return (may_be_one ? scalar_name + " or " : "") + "list of " + scalar_name + "s";
    case FieldShape::section:
      return "map";
    case FieldShape::section_list:
      return "list of maps";
    case FieldShape::section_table:
      return "map of named maps";
    case FieldShape::choice:
      return "kind of " + slot;
    case FieldShape::choice_list:
      return "list of kinds of " + slot;
    case FieldShape::any:
      return "any value";
  }
  return "";
}

std::string Field::default_text() const {
  if (is_required) return "required";
  switch (shape) {
    case FieldShape::scalar:
    case FieldShape::scalar_list:
    case FieldShape::any:
      return default_value.is_null() ? "none" : inline_yaml(default_value);
    case FieldShape::choice:
      return is_optional ? "none" : default_kind;
    case FieldShape::section:
      return is_optional ? "none" : "";
    default:
      return "";
  }
}

std::string Field::summary() const {
  std::string result = type_text();
  if (!constraint.empty()) result += ", " + constraint.text();
  if (!unit.empty()) result += ", in " + unit;
  const std::string fallback = default_text();
  if (is_required)
    result += ", required";
  else if (!fallback.empty())
    result += fallback == "none" ? ", no default" : ", default " + fallback;
  return result;
}

const Field* Schema::find(std::string_view key) const {
  for (const Field& field : fields)
    if (field.key == key) return &field;
  return nullptr;
}

std::vector<std::string> Schema::keys() const {
  std::vector<std::string> result;
  for (const Field& field : fields) result.push_back(field.key);
  return result;
}

namespace fields_internal {
namespace {

void check_scalar_default(const Field& field, const Node& value) {
  if (value.is_null() && field.is_optional) return;
  const auto converted = convert_scalar(value, field.scalar);
  if (!converted || !field.constraint.accepts(*converted))
    throw BugError(fmt::format("the default of '{}' ({}) is not {} {}", field.key, value.description(),
                               scalar_type_name(field.scalar), field.constraint.text()));
}

}  // namespace

void check_declaration(const Schema& schema) {
  std::set<std::string> keys;
  for (const Field& field : schema.fields) {
    const bool is_scalar = field.shape == FieldShape::scalar || field.shape == FieldShape::scalar_list;
    if (field.key.empty() || field.key == "kind" || !keys.insert(field.key).second)
      throw BugError(fmt::format("'{}' is declared twice in a block, or is reserved", field.key));
    if (is_scalar && !field.constraint.empty()) {
      const bool wants_string = !field.constraint.options.empty();
      if (wants_string != (field.scalar == ScalarType::string) || field.scalar == ScalarType::boolean)
        throw BugError(fmt::format("the constraint of '{}' does not suit its type", field.key));
    }
    if (!is_scalar || field.is_required) continue;
    if (field.default_value.is_list())
      for (const Node& item : field.default_value.list()) check_scalar_default(field, item);
    else
      check_scalar_default(field, field.default_value);
  }
  for (const Schema::Check& check : schema.checks)
    if (!check.key.empty() && keys.count(check.key) == 0)
      throw BugError(fmt::format("a check blames '{}', which is no key of its block", check.key));
}

}  // namespace fields_internal

}  // namespace rwkvlab
