#include "config/resolve.h"

#include <fmt/format.h>

#include <cmath>
#include <deque>
#include <set>

#include "config/registry.h"

namespace rwkvlab {
namespace {

/// "a string", "an integer".
std::string with_article(const std::string& noun) {
  return (std::string_view("aeiou").find(noun.front()) != std::string_view::npos ? "an " : "a ") + noun;
}

std::vector<std::string> without(std::vector<std::string> names, const std::string& name) {
  std::erase(names, name);
  return names;
}

/// Where else in the schema a key exists: "belongs under 'model.time_mix'", or "" when nowhere. Breadth first, so that
/// the shallowest place is named.
std::string place_of_key(const Schema& root, const std::string& key) {
  struct Step {
    const Schema* schema;
    std::string path;
    std::string kind;
  };
  std::deque<Step> queue{{&root, "", ""}};
  std::set<const Schema*> seen{&root};
  const auto visit = [&](const Schema* schema, std::string path, std::string kind) {
    if (seen.insert(schema).second) queue.push_back({schema, std::move(path), std::move(kind)});
  };
  while (!queue.empty()) {
    const Step step = std::move(queue.front());
    queue.pop_front();
    if (step.schema->find(key) != nullptr) {
      if (step.path.empty()) return "belongs at the top level";
      return fmt::format("belongs under '{}'{}", step.path, step.kind.empty() ? "" : " of kind '" + step.kind + "'");
    }
    for (const Field& field : step.schema->fields) {
      const std::string path = step.path.empty() ? field.key : step.path + "." + field.key;
      if (field.schema) visit(field.schema.get(), path, "");
      if (field.slot.empty() || !KindRegistry::instance().has_slot(field.slot)) continue;
      for (const std::string& kind : KindRegistry::instance().kinds(field.slot))
        visit(KindRegistry::instance().find(field.slot, kind), path, kind);
    }
  }
  return "";
}

class Resolver {
 public:
  Resolver(const Schema& root, Diagnostics& problems) : root_(root), problems_(problems) {}

  /// Resolves the map `node` (null: empty) into `object`. `title` names the block in messages, "" for the whole file;
  /// `place` is blamed for what is missing. A choice has its `kind` in the map, which is not one of the schema's keys.
  Node block(const Node& node, const Schema& schema, void* object, const std::string& title, const Place& place,
             bool is_choice) {
    const std::size_t problems_before = problems_.size();
    Node resolved{Node::Map{}};
    resolved.set_place(node.place());
    if (node.is_map())
      for (const MapEntry& entry : node.map())
        if (schema.find(entry.key) == nullptr && !(is_choice && entry.key == "kind")) unknown_key(entry, schema, title);
    for (const Field& field : schema.fields) {
      const MapEntry* entry = node.find_entry(field.key);
      Node value = entry == nullptr ? absent(field, object, title, place) : present(field, object, *entry);
      resolved.insert(field.key, std::move(value), entry == nullptr ? Place{} : entry->place);
    }
    if (problems_.size() == problems_before) run_checks(node, schema, object, title, place);
    return resolved;
  }

 private:
  static std::string in_block(const std::string& title) { return title.empty() ? "" : " in " + title; }

  void unknown_key(const MapEntry& entry, const Schema& schema, const std::string& title) {
    const std::vector<std::string> keys = schema.keys();
    const std::string nearest = nearest_name(entry.key, keys);
    const std::string elsewhere = place_of_key(root_, entry.key);
    std::string hint;
    if (!nearest.empty()) hint = fmt::format("did you mean '{}' ({})?  ", nearest, schema.find(nearest)->summary());
    if (!elsewhere.empty()) hint += fmt::format("'{}' {}.  ", entry.key, elsewhere);
    const std::vector<std::string> others = without(keys, nearest);
    if (!others.empty()) hint += (nearest.empty() ? "Keys here: " : "Other keys: ") + join_names(others);
    if (keys.empty()) hint += "This block has no keys";
    while (hint.ends_with(' ')) hint.pop_back();
    problems_.add(entry.place, fmt::format("unknown key {}{}", quote(entry.key), in_block(title)), hint);
  }

  void run_checks(const Node& node, const Schema& schema, const void* object, const std::string& title,
                  const Place& place) {
    for (const Schema::Check& check : schema.checks) {
      const std::string message = check.run(object);
      if (message.empty()) continue;
      const MapEntry* blamed = node.find_entry(check.key);
      if (blamed == nullptr) {
        problems_.add(place, message + in_block(title));
        continue;
      }
      // The value of a block begins at its first key or bracket, which shows less than the key.
      const bool is_block = blamed->value.is_map() || blamed->value.is_list();
      problems_.add(is_block ? blamed->place : blamed->value.place(), message + in_block(title));
    }
  }

  /// A field that the file does not mention: its default, or a problem.
  Node absent(const Field& field, void* object, const std::string& title, const Place& place) {
    if (field.is_required) {
      std::string hint = field.doc.empty() ? "" : fmt::format("'{}' is: {}", field.key, field.doc);
      if (field.shape == FieldShape::choice) hint = kinds_hint(field.slot);
      problems_.add(place, fmt::format("missing key '{}'{} ({})", field.key, in_block(title), field.type_text()), hint);
      return Node();
    }
    if (field.store) {
      field.store(object, field.default_value);
      return field.default_value;
    }
    switch (field.shape) {
      case FieldShape::section:
        if (field.is_optional) return Node();
        return block(Node(), *field.schema, field.open(object, ""), section_title(field.key), place, false);
      case FieldShape::choice:
        return field.is_optional ? Node() : choice(field, Node(), field.open(object, ""), field.key, place);
      case FieldShape::section_table:
        return Node(Node::Map{});
      default:
        return Node(Node::List{});
    }
  }

  Node present(const Field& field, void* object, const MapEntry& entry) {
    const Node& value = entry.value;
    if (field.shape == FieldShape::any || (value.is_null() && field.is_optional)) {
      if (field.store) field.store(object, value);
      return value;
    }
    switch (field.shape) {
      case FieldShape::scalar:
      case FieldShape::scalar_list:
        return scalars(field, object, value);
      case FieldShape::section:
        return section(field, value, object, "", entry.place);
      case FieldShape::choice:
        return choice(field, value, field.open(object, ""), field.key, entry.place);
      case FieldShape::section_table:
        return table(field, object, value);
      default:
        return blocks(field, object, value);
    }
  }

  static std::string section_title(const std::string& key) { return fmt::format("block '{}'", key); }

  Node section(const Field& field, const Node& value, void* object, const std::string& name, const Place& place) {
    const std::string label = name.empty() ? field.key : name;
    if (!value.is_map()) return wrong_type(label, value, "a map", "its keys are: " + join_names(field.schema->keys()));
    return block(value, *field.schema, field.open(object, name), section_title(label), place, false);
  }

  Node blocks(const Field& field, void* object, const Node& value) {
    if (!value.is_list())
      return wrong_type(field.key, value, with_article(field.type_text()), "put the blocks in brackets: [{...}]");
    Node resolved{Node::List{}};
    resolved.set_place(value.place());
    for (std::size_t i = 0; i < value.list().size(); ++i) {
      const Node& item = value.list()[i];
      const std::string label = fmt::format("{}[{}]", field.key, i);
      resolved.list().push_back(field.shape == FieldShape::choice_list
                                    ? choice(field, item, field.open(object, ""), label, item.place())
                                    : section(field, item, object, label, item.place()));
    }
    check_not_empty(field, value);
    return resolved;
  }

  Node table(const Field& field, void* object, const Node& value) {
    if (!value.is_map()) return wrong_type(field.key, value, with_article(field.type_text()), "");
    Node resolved{Node::Map{}};
    resolved.set_place(value.place());
    for (const MapEntry& entry : value.map())
      resolved.insert(entry.key, section(field, entry.value, object, entry.key, entry.place), entry.place);
    check_not_empty(field, value);
    return resolved;
  }

  static std::string kinds_hint(const std::string& slot) {
    return "kinds of " + slot + ": " + join_names(KindRegistry::instance().kinds(slot));
  }

  /// `{kind: NAME, ...}`; `label` is the key, with an index in a list.
  Node choice(const Field& field, const Node& value, void* target, const std::string& label, const Place& place) {
    const std::string form = "a map {kind: NAME, ...}";
    if (!value.is_map() && !(value.is_null() && !field.default_kind.empty())) {
      const bool is_known = value.is_string() && KindRegistry::instance().find(field.slot, value.string()) != nullptr;
      return wrong_type(label, value, form,
                        is_known ? fmt::format("write {{kind: {}}}", value.string()) : kinds_hint(field.slot));
    }
    Node name(field.default_kind);
    if (const Node* written = value.find("kind")) {
      name = *written;
    } else if (field.default_kind.empty()) {
      problems_.add(place, fmt::format("missing key 'kind' in '{}'", label), kinds_hint(field.slot));
      return Node();
    }
    if (!name.is_string()) return wrong_type("kind", name, "a string", kinds_hint(field.slot));
    const Schema* schema = KindRegistry::instance().find(field.slot, name.string());
    if (schema == nullptr) {
      const Place& blamed = name.place().source ? name.place() : place;
      problems_.add(blamed, unknown_kind_message(field.slot, name.string()),
                    unknown_kind_hint(field.slot, name.string()));
      return Node();
    }
    auto& chosen = *static_cast<Choice*>(target);
    const std::shared_ptr<void> params = schema->make();
    chosen.kind = name.string();
    chosen.type = schema->type;
    chosen.place = name.place().source ? name.place() : place;
    Node resolved = block(value, *schema, params.get(), section_title(chosen.kind), chosen.place, true);
    chosen.params = params;
    const MapEntry* kind_entry = value.find_entry("kind");
    resolved.map().insert(resolved.map().begin(),
                          MapEntry{"kind", kind_entry == nullptr ? Place{} : kind_entry->place, std::move(name)});
    return resolved;
  }

  Node wrong_type(const std::string& label, const Node& found, const std::string& expected, std::string hint) {
    problems_.add(found.place(), fmt::format("'{}' must be {}, found {}", label, expected, found.description()),
                  std::move(hint));
    return Node();
  }

  void check_not_empty(const Field& field, const Node& value) {
    const bool is_empty = (value.is_list() && value.list().empty()) || (value.is_map() && value.map().empty()) ||
                          (value.is_string() && value.string().empty());
    if (field.is_not_empty && is_empty)
      problems_.add(value.place(), fmt::format("'{}' must not be empty", field.key), field.doc);
  }

  Node scalars(const Field& field, void* object, const Node& value) {
    const std::size_t problems_before = problems_.size();
    Node resolved;
    if (field.shape == FieldShape::scalar) {
      resolved = scalar(field, value, field.key);
    } else if (field.may_be_one && !value.is_list() && !value.is_map() && !value.is_null()) {
      resolved = Node(Node::List{scalar(field, value, field.key)});
      resolved.set_place(value.place());
    } else if (!value.is_list()) {
      return wrong_type(field.key, value, with_article(field.type_text()),
                        value.is_map() || value.is_null() ? "" : fmt::format("write [{}]", inline_yaml(value)));
    } else {
      resolved = Node(Node::List{});
      resolved.set_place(value.place());
      for (std::size_t i = 0; i < value.list().size(); ++i)
        resolved.list().push_back(scalar(field, value.list()[i], fmt::format("{}[{}]", field.key, i)));
    }
    check_not_empty(field, value);
    if (problems_.size() == problems_before) field.store(object, resolved);
    return resolved;
  }

  Node scalar(const Field& field, const Node& value, const std::string& label) {
    std::optional<Node> converted = convert_scalar(value, field.scalar);
    if (!converted) return wrong_type(label, value, expected_type(field, value), type_hint(field, value));
    if (!field.constraint.accepts(*converted)) {
      std::string hint = field.doc.empty() ? "" : fmt::format("'{}' is: {}", field.key, field.doc);
      if (!field.constraint.options.empty()) {
        std::vector<std::string> words;
        for (const Option& option : field.constraint.options) words.push_back(option.value);
        const std::string nearest = nearest_name(value.string(), words);
        if (!nearest.empty()) hint = fmt::format("did you mean '{}'?", nearest);
      }
      problems_.add(value.place(),
                    fmt::format("'{}' must be {}, found {}", label, field.constraint.text(),
                                value.is_string() ? quote(value.string()) : inline_yaml(value)),
                    hint);
      return Node();
    }
    return *converted;
  }

  /// "an integer", or what an integer must fit when it is one already.
  static std::string expected_type(const Field& field, const Node& value) {
    const bool is_integer = value.type() == Node::Type::integer;
    if (is_integer && field.scalar == ScalarType::uint64) return "an integer of 0 or more";
    if (is_integer && field.scalar == ScalarType::int32) return "an integer within 32 bits";
    if (is_integer && field.scalar == ScalarType::int64) return "an integer within 64 bits";
    if (value.type() == Node::Type::number && field.scalar == ScalarType::number) return "a finite number";
    return with_article(std::string(scalar_type_name(field.scalar)));
  }

  static std::string type_hint(const Field& field, const Node& value) {
    const bool is_scalar = !value.is_list() && !value.is_map() && !value.is_null();
    if (field.scalar == ScalarType::string && is_scalar)
      return fmt::format("put it in quotes: \"{}\"", inline_yaml(value));
    if (field.scalar == ScalarType::boolean && is_scalar) return "write true or false";
    return field.doc.empty() ? "" : fmt::format("'{}' is: {}", field.key, field.doc);
  }

  const Schema& root_;
  Diagnostics& problems_;
};

}  // namespace

ResolvedBlock resolve_block(const Node& tree, const Schema& schema, const std::string& block, Diagnostics& problems) {
  if (!tree.is_map() && !tree.is_null()) {
    problems.add(tree.place(), "expected a map of keys, found " + tree.description(),
                 "write 'key: value' lines.  Keys: " + join_names(schema.keys()));
    return {};
  }
  const std::size_t problems_before = problems.size();
  ResolvedBlock result;
  result.object = schema.make();
  result.tree = Resolver(schema, problems).block(tree, schema, result.object.get(), block, tree.place(), false);
  if (problems.size() != problems_before) result.object.reset();
  return result;
}

ResolvedBlock resolve_block(const Node& tree, const Schema& schema, const std::string& block) {
  Diagnostics problems;
  ResolvedBlock result = resolve_block(tree, schema, block, problems);
  problems.throw_if_any();
  return result;
}

Node resolve(const Node& tree, const Schema& schema) { return resolve_block(tree, schema).tree; }

std::string unknown_kind_message(const std::string& slot, const std::string& kind) {
  return fmt::format("unknown kind {} of {}", quote(kind), slot);
}

std::string unknown_kind_hint(const std::string& slot, const std::string& kind) {
  const std::vector<std::string> kinds = KindRegistry::instance().kinds(slot);
  const std::string nearest = nearest_name(kind, kinds);
  return (nearest.empty() ? "" : fmt::format("did you mean '{}'?  ", nearest)) + "Kinds: " + join_names(kinds);
}

}  // namespace rwkvlab
