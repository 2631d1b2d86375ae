// A struct declares its YAML once. From the declaration come validation, binding, defaults, the JSON Schema and the
// docs.
//
//     struct Params { int head_size = 64; std::string gate = "silu"; };
//     void describe(Fields<Params>& f) {
//       f.doc("Matrix-valued time mixing.");
//       f.add("head_size", &Params::head_size, "channels per head", between(4, 256));
//       f.add("gate", &Params::gate, "activation", one_of({"silu", "sigmoid"}));
//     }
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/schema.h"

namespace rwkvlab {

namespace fields_internal {

template <class T>
struct Scalar : std::false_type {};
template <>
struct Scalar<bool> : std::true_type {
  static constexpr ScalarType type = ScalarType::boolean;
  static bool read(const Node& node) { return node.boolean(); }
};
template <>
struct Scalar<int> : std::true_type {
  static constexpr ScalarType type = ScalarType::int32;
  static int read(const Node& node) { return static_cast<int>(node.integer()); }
};
template <>
struct Scalar<std::int64_t> : std::true_type {
  static constexpr ScalarType type = ScalarType::int64;
  static std::int64_t read(const Node& node) { return node.integer(); }
};
template <>
struct Scalar<std::uint64_t> : std::true_type {
  static constexpr ScalarType type = ScalarType::uint64;
  static std::uint64_t read(const Node& node) { return node.unsigned_integer(); }
};
template <>
struct Scalar<double> : std::true_type {
  static constexpr ScalarType type = ScalarType::number;
  static double read(const Node& node) { return node.number(); }
};
template <>
struct Scalar<std::string> : std::true_type {
  static constexpr ScalarType type = ScalarType::string;
  static std::string read(const Node& node) { return node.string(); }
};

/// How a member is read and written: a scalar, an optional scalar or a list of scalars (optional or not).
template <class T>
struct Value {
  static_assert(Scalar<T>::value,
                "a field is a bool, int, int64_t, uint64_t, double, string, or optional/vector of one");
  static constexpr ScalarType type = Scalar<T>::type;
  static constexpr bool is_list = false, is_optional = false;
  static T read(const Node& node) { return Scalar<T>::read(node); }
  static Node write(const T& value) { return Node(value); }
};
template <class T>
struct Value<std::vector<T>> {
  static constexpr ScalarType type = Scalar<T>::type;
  static constexpr bool is_list = true, is_optional = false;
  static std::vector<T> read(const Node& node) {
    std::vector<T> values;
    for (const Node& item : node.list()) values.push_back(Scalar<T>::read(item));
    return values;
  }
  static Node write(const std::vector<T>& values) {
    Node::List items;
    for (const auto& value : values) items.push_back(Node(static_cast<T>(value)));
    return Node(std::move(items));
  }
};
template <class T>
struct Value<std::optional<T>> {
  static constexpr ScalarType type = Value<T>::type;
  static constexpr bool is_list = Value<T>::is_list, is_optional = true;
  static std::optional<T> read(const Node& node) {
    return node.is_null() ? std::nullopt : std::optional<T>(Value<T>::read(node));
  }
  static Node write(const std::optional<T>& value) { return value ? Value<T>::write(*value) : Node(); }
};

}  // namespace fields_internal

/// What `Fields::add` and its siblings return, for the rarer properties of a field.
class FieldOptions {
 public:
  explicit FieldOptions(Field& field) : field_(field) {}
  /// The unit of the value, for docs: "tokens", "steps", "bits per byte".
  FieldOptions& unit(std::string text) {
    field_.unit = std::move(text);
    return *this;
  }
  /// An empty string or list is refused.
  FieldOptions& not_empty() {
    field_.is_not_empty = true;
    return *this;
  }
  /// Of a list: one value may stand for a list of one.
  FieldOptions& or_one() {
    field_.may_be_one = true;
    return *this;
  }
  /// File names or patterns. Relative ones start at the folder of the YAML file that they stand in.
  FieldOptions& path(bool must_exist = true) {
    field_.is_path = true;
    field_.must_exist = must_exist;
    return *this;
  }

 private:
  Field& field_;
};

/// Collects the declaration of `T`; `finish` turns it into a Schema. Defaults are those of `T{}`.
template <class T>
class Fields {
 public:
  Fields() = default;
  /// Defaults other than those of `T{}`, for a section whose parent initialises it.
  explicit Fields(const T& defaults) : defaults_(defaults) {}

  /// What the block is, in a sentence or two.
  void doc(std::string text) { schema_.doc = std::move(text); }
  /// Where it comes from: "arXiv:2305.13048".
  void paper(std::string text) { schema_.paper = std::move(text); }

  /// A scalar, a list of scalars, or an optional of either (null allowed), with the default of `T{}`.
  template <class M>
  FieldOptions add(std::string key, M T::*member, std::string doc, Constraint constraint = {}) {
    return value(std::move(key), member, std::move(doc), std::move(constraint), false);
  }
  /// The same without a default: leaving it out is an error.
  template <class M>
  FieldOptions required(std::string key, M T::*member, std::string doc, Constraint constraint = {}) {
    return value(std::move(key), member, std::move(doc), std::move(constraint), true);
  }
  /// A nested struct, or an optional one that null or absence leaves out.
  template <class M, class Describe>
  FieldOptions section(std::string key, M T::*member, Describe describe, std::string doc = "");
  /// A list of structs, empty by default.
  template <class S, class Describe>
  FieldOptions list(std::string key, std::vector<S> T::*member, Describe describe, std::string doc = "");
  /// A map from names that the user chooses to structs, empty by default.
  template <class S, class Describe>
  FieldOptions table(std::string key, std::map<std::string, S> T::*member, Describe describe, std::string doc = "");
  /// A block whose kind YAML chooses among those registered for `slot`. Without a default kind it is required.
  FieldOptions kind(std::string key, Choice T::*member, std::string slot, std::string doc,
                    std::string default_kind = "");
  /// The same, but it may be left out (or null): then the Choice is false.
  FieldOptions optional_kind(std::string key, Choice T::*member, std::string slot, std::string doc);
  /// A list of such blocks, empty by default.
  FieldOptions kinds(std::string key, std::vector<Choice> T::*member, std::string slot, std::string doc);
  /// Any YAML, handed on as it is; null by default.
  FieldOptions any(std::string key, Node T::*member, std::string doc);

  /// A condition over several fields: return an empty text when it holds, otherwise the message. It runs only when
  /// every field of the block is valid. `key` is the field to blame, that is, to underline.
  void check(std::function<std::string(const T&)> run, std::string key = "") {
    schema_.checks.push_back(
        {[run = std::move(run)](const void* object) { return run(*static_cast<const T*>(object)); }, std::move(key)});
  }

  /// The finished schema. BugError when a check blames a key that does not exist.
  Schema finish();

 private:
  Field& append(std::string key, std::string doc, FieldShape shape);
  template <class M>
  FieldOptions value(std::string key, M T::*member, std::string doc, Constraint constraint, bool is_required);

  Schema schema_;
  T defaults_{};
};

/// The schema that `describe(Fields<T>&)` declares.
template <class T, class Describe>
Schema make_schema(Describe&& describe) {
  Fields<T> fields;
  describe(fields);
  return fields.finish();
}
/// The same with other defaults than those of `T{}`.
template <class T, class Describe>
Schema make_schema(Describe&& describe, const T& defaults) {
  Fields<T> fields(defaults);
  describe(fields);
  return fields.finish();
}

namespace fields_internal {
/// BugError for a declaration that contradicts itself: repeated keys, defaults outside their own range, "kind" as a
/// key.
void check_declaration(const Schema& schema);

template <class M>
struct Nested {
  using Type = M;
  static constexpr bool is_optional = false;
  static Type defaults(const M& member) { return member; }
  static void* open(M& member) { return &member; }
};
template <class S>
struct Nested<std::optional<S>> {
  using Type = S;
  static constexpr bool is_optional = true;
  static Type defaults(const std::optional<S>& member) { return member.value_or(S{}); }
  static void* open(std::optional<S>& member) { return &member.emplace(); }
};
}  // namespace fields_internal

template <class T>
Field& Fields<T>::append(std::string key, std::string doc, FieldShape shape) {
  Field& field = schema_.fields.emplace_back();
  field.key = std::move(key);
  field.doc = std::move(doc);
  field.shape = shape;
  return field;
}

template <class T>
template <class M>
FieldOptions Fields<T>::value(std::string key, M T::*member, std::string doc, Constraint constraint, bool is_required) {
  using Traits = fields_internal::Value<M>;
  Field& field = append(std::move(key), std::move(doc), Traits::is_list ? FieldShape::scalar_list : FieldShape::scalar);
  field.scalar = Traits::type;
  field.constraint = std::move(constraint);
  field.is_required = is_required;
  field.is_optional = Traits::is_optional;
  if (!is_required) field.default_value = Traits::write(defaults_.*member);
  field.store = [member](void* object, const Node& node) { static_cast<T*>(object)->*member = Traits::read(node); };
  return FieldOptions(field);
}

template <class T>
template <class M, class Describe>
FieldOptions Fields<T>::section(std::string key, M T::*member, Describe describe, std::string doc) {
  using Nested = fields_internal::Nested<M>;
  Field& field = append(std::move(key), std::move(doc), FieldShape::section);
  field.is_optional = Nested::is_optional;
  field.schema =
      std::make_shared<const Schema>(make_schema<typename Nested::Type>(describe, Nested::defaults(defaults_.*member)));
  field.open = [member](void* object, const std::string&) { return Nested::open(static_cast<T*>(object)->*member); };
  return FieldOptions(field);
}

template <class T>
template <class S, class Describe>
FieldOptions Fields<T>::list(std::string key, std::vector<S> T::*member, Describe describe, std::string doc) {
  Field& field = append(std::move(key), std::move(doc), FieldShape::section_list);
  check_invariant((defaults_.*member).empty(), "a list of blocks must be empty by default");
  field.schema = std::make_shared<const Schema>(make_schema<S>(describe));
  field.open = [member](void* object, const std::string&) -> void* {
    return &(static_cast<T*>(object)->*member).emplace_back();
  };
  return FieldOptions(field);
}

template <class T>
template <class S, class Describe>
FieldOptions Fields<T>::table(std::string key, std::map<std::string, S> T::*member, Describe describe,
                              std::string doc) {
  Field& field = append(std::move(key), std::move(doc), FieldShape::section_table);
  check_invariant((defaults_.*member).empty(), "a table of blocks must be empty by default");
  field.schema = std::make_shared<const Schema>(make_schema<S>(describe));
  field.open = [member](void* object, const std::string& name) -> void* {
    return &(static_cast<T*>(object)->*member)[name];
  };
  return FieldOptions(field);
}

template <class T>
FieldOptions Fields<T>::kind(std::string key, Choice T::*member, std::string slot, std::string doc,
                             std::string default_kind) {
  Field& field = append(std::move(key), std::move(doc), FieldShape::choice);
  field.slot = std::move(slot);
  field.is_required = default_kind.empty();
  field.default_kind = std::move(default_kind);
  field.open = [member](void* object, const std::string&) -> void* { return &(static_cast<T*>(object)->*member); };
  return FieldOptions(field);
}

template <class T>
FieldOptions Fields<T>::optional_kind(std::string key, Choice T::*member, std::string slot, std::string doc) {
  FieldOptions options = kind(std::move(key), member, std::move(slot), std::move(doc));
  schema_.fields.back().is_required = false;
  schema_.fields.back().is_optional = true;
  return options;
}

template <class T>
FieldOptions Fields<T>::kinds(std::string key, std::vector<Choice> T::*member, std::string slot, std::string doc) {
  Field& field = append(std::move(key), std::move(doc), FieldShape::choice_list);
  check_invariant((defaults_.*member).empty(), "a list of kinds must be empty by default");
  field.slot = std::move(slot);
  field.open = [member](void* object, const std::string&) -> void* {
    return &(static_cast<T*>(object)->*member).emplace_back();
  };
  return FieldOptions(field);
}

template <class T>
FieldOptions Fields<T>::any(std::string key, Node T::*member, std::string doc) {
  Field& field = append(std::move(key), std::move(doc), FieldShape::any);
  field.is_optional = true;
  field.store = [member](void* object, const Node& node) { static_cast<T*>(object)->*member = node; };
  return FieldOptions(field);
}

template <class T>
Schema Fields<T>::finish() {
  schema_.type = typeid(T);
  schema_.make = []() -> std::shared_ptr<void> { return std::make_shared<T>(); };
  fields_internal::check_declaration(schema_);
  return std::move(schema_);
}

}  // namespace rwkvlab
