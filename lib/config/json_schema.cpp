#include "config/json_schema.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/registry.h"

namespace rwkvlab {
namespace {

using nlohmann::json;

json node_json(const Node& node) {
  switch (node.type()) {
    case Node::Type::null:
      return nullptr;
    case Node::Type::boolean:
      return node.boolean();
    case Node::Type::integer:
      if (node.is_unsigned_integer()) return node.unsigned_integer();
      return node.integer();
    case Node::Type::number:
      return node.number();
    case Node::Type::string:
      return node.string();
    case Node::Type::list: {
      json items = json::array();
      for (const Node& item : node.list()) items.push_back(node_json(item));
      return items;
    }
    case Node::Type::map: {
      json members = json::object();
      for (const MapEntry& entry : node.map()) members[entry.key] = node_json(entry.value);
      return members;
    }
  }
  return nullptr;
}

json bound_json(double value) {
  constexpr double exact = 9007199254740992.0;
  if (value == static_cast<double>(static_cast<std::int64_t>(std::clamp(value, -exact, exact))))
    return static_cast<std::int64_t>(value);
  return value;
}

std::string field_description(const Field& field) {
  std::string text = field.doc;
  if (text.empty() && field.schema) text = field.schema->doc;
  if (!field.unit.empty()) text += fmt::format(" ({})", field.unit);
  for (const Option& option : field.constraint.options)
    if (!option.doc.empty()) text += fmt::format("\n{}: {}", option.value, option.doc);
  if (field.is_required) text += text.empty() ? "Required." : "\nRequired.";
  return text;
}

json scalar_json(const Field& field) {
  json result{{"type", scalar_type_name(field.scalar)}};
  if (field.scalar == ScalarType::uint64) result["minimum"] = 0;
  const Constraint& constraint = field.constraint;
  if (constraint.minimum)
    result[constraint.excludes_minimum ? "exclusiveMinimum" : "minimum"] = bound_json(*constraint.minimum);
  if (constraint.maximum)
    result[constraint.excludes_maximum ? "exclusiveMaximum" : "maximum"] = bound_json(*constraint.maximum);
  for (const Option& option : constraint.options) result["enum"].push_back(option.value);
  return result;
}

class Generator {
 public:
  json block(const Schema& schema) {
    json result{{"type", "object"}, {"additionalProperties", false}, {"properties", json::object()}};
    std::string description = schema.doc;
    if (!schema.paper.empty()) description += fmt::format("{}[{}]", description.empty() ? "" : " ", schema.paper);
    if (!description.empty()) result["description"] = description;
    for (const Field& field : schema.fields) result["properties"][field.key] = property(field);
    return result;
  }

  json definitions = json::object();

 private:
  json property(const Field& field) {
    json result = shape(field);
    // In draft-07 whatever stands beside "$ref" is ignored, hence the wrapping.
    if (field.is_optional && field.shape != FieldShape::any) {
      if (result.contains("type") && !result.contains("enum"))
        result["type"] = {result["type"], "null"};
      else
        result = {{"anyOf", {result, {{"type", "null"}}}}};
    } else if (result.contains("$ref")) {
      result = {{"allOf", {result}}};
    }
    const std::string description = field_description(field);
    if (!description.empty()) result["description"] = description;
    const bool is_value = field.shape == FieldShape::scalar || field.shape == FieldShape::scalar_list;
    if (is_value && !field.is_required) result["default"] = node_json(field.default_value);
    if (!field.default_kind.empty()) result["default"] = {{"kind", field.default_kind}};
    return result;
  }

  json shape(const Field& field) {
    switch (field.shape) {
      case FieldShape::scalar: {
        json result = scalar_json(field);
        if (field.is_not_empty) result["minLength"] = 1;
        return result;
      }
      case FieldShape::scalar_list:
        if (field.may_be_one) return {{"anyOf", {list(field, scalar_json(field)), scalar_json(field)}}};
        return list(field, scalar_json(field));
      case FieldShape::section:
        return block(*field.schema);
      case FieldShape::section_list:
        return list(field, block(*field.schema));
      case FieldShape::section_table: {
        json result{{"type", "object"}, {"additionalProperties", block(*field.schema)}};
        if (field.is_not_empty) result["minProperties"] = 1;
        return result;
      }
      case FieldShape::choice:
        return choice(field.slot);
      case FieldShape::choice_list:
        return list(field, choice(field.slot));
      case FieldShape::any:
        return json::object();
    }
    return json::object();
  }

  static json list(const Field& field, json items) {
    json result{{"type", "array"}, {"items", std::move(items)}};
    if (field.is_not_empty) result["minItems"] = 1;
    return result;
  }

  /// One definition per slot, which hands on to one definition per kind. A block without `kind` (it may come from
  /// another file, or be the default) may have the keys of any one kind.
  json choice(const std::string& slot) {
    const json reference{{"$ref", "#/definitions/" + slot}};
    if (definitions.contains(slot)) return reference;
    definitions[slot] = json::object();  // Slots may contain each other.
    const KindRegistry& registry = KindRegistry::instance();
    json names = json::array(), cases = json::array(), any = json::array();
    for (const std::string& kind : registry.kinds(slot)) {
      const Schema& schema = *registry.find(slot, kind);
      json definition = block(schema);
      definition["properties"]["kind"] = {{"const", kind}};
      if (!schema.doc.empty()) definition["properties"]["kind"]["description"] = schema.doc;
      const std::string name = slot + "." + kind;
      definitions[name] = std::move(definition);
      const json target{{"$ref", "#/definitions/" + name}};
      names.push_back(kind);
      any.push_back(target);
      cases.push_back(
          {{"if", {{"required", {"kind"}}, {"properties", {{"kind", {{"const", kind}}}}}}}, {"then", target}});
    }
    cases.push_back({{"if", {{"not", {{"required", {"kind"}}}}}}, {"then", {{"anyOf", any}}}});
    json definition{{"type", "object"}, {"properties", {{"kind", {{"enum", names}}}}}, {"allOf", cases}};
    if (!registry.slot_doc(slot).empty()) definition["description"] = registry.slot_doc(slot);
    definitions[slot] = std::move(definition);
    return reference;
  }
};

}  // namespace

json json_schema(const Schema& schema, const std::string& title) {
  Generator generator;
  json result = generator.block(schema);
  result["$schema"] = "http://json-schema.org/draft-07/schema#";
  result["title"] = title;
  result["properties"]["extends"] = {
      {"description", "Files to start from, relative to this one; later ones win, and this file wins over all."},
      {"anyOf", {{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}}}}};
  if (!generator.definitions.empty()) result["definitions"] = std::move(generator.definitions);
  return result;
}

}  // namespace rwkvlab
