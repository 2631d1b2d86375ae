// What a block of YAML may contain: the type-erased result of a struct's `describe` function (see config/fields.h).
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <typeindex>
#include <vector>

#include "config/node.h"

namespace rwkvlab {

/// A block whose kind YAML chooses: `{kind: NAME, ...parameters of that kind}`. The parameters are already a checked
/// struct, the one that the kind was registered with.
struct Choice {
  std::string kind;  ///< empty: an optional block that was left out
  std::shared_ptr<const void> params;
  std::type_index type = typeid(void);
  Place place;  ///< of the kind's name

  Choice();
  Choice(const Choice&);
  Choice(Choice&&) noexcept;
  Choice& operator=(const Choice&);
  Choice& operator=(Choice&&) noexcept;
  ~Choice();

  explicit operator bool() const { return !kind.empty(); }

  /// The parameters, which must be of the registered type; BugError otherwise.
  template <class Params>
  const Params& as() const {
    check_invariant(params != nullptr && type == std::type_index(typeid(Params)), "a Choice was read as another type");
    return *static_cast<const Params*>(params.get());
  }
  template <class Params>
  bool is() const {
    return params != nullptr && type == std::type_index(typeid(Params));
  }
};

/// One allowed word of a `one_of`, with its meaning if it needs one.
struct Option {
  Option(const char* word) : value(word) {}  // NOLINT(google-explicit-constructor): one_of({"a", "b"}) reads well.
  Option(const char* word, const char* meaning) : value(word), doc(meaning) {}
  std::string value;
  std::string doc;
};

/// What a scalar (or each element of a list of scalars) must satisfy.
struct Constraint {
  std::optional<double> minimum;
  std::optional<double> maximum;
  bool excludes_minimum = false;
  bool excludes_maximum = false;
  std::vector<Option> options;

  bool empty() const { return !minimum && !maximum && options.empty(); }
  /// "4 to 256", "at least 1", "above 0", "one of silu, sigmoid"; "" when empty.
  std::string text() const;
  /// True when the scalar satisfies the constraint. NaN never does.
  bool accepts(const Node& value) const;
};

Constraint between(double minimum, double maximum);
Constraint at_least(double minimum);
Constraint at_most(double maximum);
/// Greater than, not equal.
Constraint above(double minimum);
/// Less than, not equal.
Constraint below(double maximum);
Constraint one_of(std::initializer_list<Option> options);
/// Both must hold: `above(0) && at_most(1)`.
Constraint operator&&(Constraint a, const Constraint& b);

/// How a scalar is stored in C++; YAML users see boolean, integer, number, string.
enum class ScalarType { boolean, int32, int64, uint64, number, string };

/// "boolean", "integer", "number" or "string".
std::string_view scalar_type_name(ScalarType type);

/// What a field holds.
enum class FieldShape {
  scalar,         ///< one value
  scalar_list,    ///< [value, ...]
  section,        ///< a map with the keys of `schema`
  section_list,   ///< [map, ...]
  section_table,  ///< {any name: map, ...}
  choice,         ///< {kind: NAME, ...} of `slot`
  choice_list,    ///< [{kind: NAME, ...}, ...]
  any             ///< anything, handed on as a Node
};

struct Schema;

/// One key of a block.
struct Field {
  std::string key;
  std::string doc;
  std::string unit;
  FieldShape shape = FieldShape::scalar;
  ScalarType scalar = ScalarType::string;
  Constraint constraint;
  bool is_required = false;
  bool is_optional = false;  ///< null is allowed and is the default
  bool is_not_empty = false;
  bool may_be_one = false;               ///< of a scalar list: one value stands for a list of one
  bool is_path = false;                  ///< file names or patterns, relative to the YAML file that they stand in
  bool must_exist = false;               ///< of a path: nothing there is an error
  Node default_value;                    ///< of scalars, scalar lists and `any`; null for required fields
  std::shared_ptr<const Schema> schema;  ///< of section, section_list, section_table
  std::string slot;                      ///< of choice, choice_list
  std::string default_kind;              ///< of choice; "" when required or optional

  /// Stores a checked scalar, list of scalars or `any` in the struct at `object`.
  std::function<void(void* object, const Node& value)> store;
  /// Makes room for one block (engages an optional, appends to a list, inserts into a table under `key`) and returns
  /// it: a struct of `schema`, or a Choice.
  std::function<void*(void* object, const std::string& key)> open;

  /// "integer", "list of strings", "map", "kind of time_mix", ...
  std::string type_text() const;
  /// "required", "none", or the default as YAML; "" for blocks.
  std::string default_text() const;
  /// "integer, 4 to 256, default 64".
  std::string summary() const;
};

/// The keys of one block, with its checks.
struct Schema {
  /// A condition over the whole struct: an empty text when it holds, else the message; `key` is the one to blame.
  struct Check {
    std::function<std::string(const void* object)> run;
    std::string key;
  };

  std::string doc;
  std::string paper;  ///< "arXiv:2305.13048", or empty
  std::vector<Field> fields;
  std::vector<Check> checks;
  std::function<std::shared_ptr<void>()> make;  ///< a struct with its C++ defaults
  std::type_index type = typeid(void);

  const Field* find(std::string_view key) const;
  std::vector<std::string> keys() const;
};

/// The value as the field stores it (an integer for a number field becomes a number, 1e6 for an integer field becomes
/// an integer), keeping its place; empty when it does not fit the type or the size of the C++ type.
std::optional<Node> convert_scalar(const Node& value, ScalarType type);

}  // namespace rwkvlab
