#include "run/path_values.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

fs::path folder_of(const Place& place) {
  if (place.origin != Origin::file || place.source == nullptr) return fs::current_path();
  return fs::absolute(place.source->name).parent_path();
}

void make_absolute(Node& value, const Field& field, Diagnostics& missing) {
  if (!value.is_string() || value.string().empty()) return;
  const Place place = value.place();
  const fs::path path = (folder_of(place) / value.string()).lexically_normal();
  value = Node(path.string());
  value.set_place(place);
  if (!field.must_exist) return;
  try {
    expand_glob(path.string(), "");
  } catch (const DataError& error) {
    missing.add(place, error.what());
  }
}

// The schema of what stands under a field, or null.
const Schema* schema_below(const Field& field, const Node& value) {
  if (field.slot.empty()) return field.schema.get();
  const KindRegistry& registry = KindRegistry::instance();
  if (!registry.has_slot(field.slot)) return nullptr;
  const Node* const kind = value.find("kind");
  if (kind == nullptr) return registry.find(field.slot, field.default_kind);
  return kind->is_string() ? registry.find(field.slot, kind->string()) : nullptr;
}

std::string joined(const std::string& path, const std::string& key) { return path.empty() ? key : path + "." + key; }

// Tree is Node or const Node. use(key, value, field) for every value that the schema declares a path.
template <class Tree, class Use>
void visit_paths(Tree& tree, const Schema& schema, const std::string& path, const Use& use) {
  if (!tree.is_map()) return;
  const auto below = [&](const Field& field, auto& value, const std::string& key) {
    if (const Schema* const inner = schema_below(field, value)) visit_paths(value, *inner, key, use);
  };
  for (auto& entry : tree.map()) {
    const Field* const field = schema.find(entry.key);
    if (field == nullptr) continue;
    const std::string key = joined(path, entry.key);
    const bool is_many = field->shape == FieldShape::section_list || field->shape == FieldShape::choice_list;
    if (field->is_path && entry.value.is_list()) {
      for (auto& item : entry.value.list()) use(key, item, *field);
    } else if (field->is_path) {
      use(key, entry.value, *field);
    } else if (is_many && entry.value.is_list()) {
      for (auto& item : entry.value.list()) below(*field, item, key);
    } else if (field->shape == FieldShape::section_table && entry.value.is_map()) {
      for (auto& item : entry.value.map()) below(*field, item.value, joined(key, item.key));
    } else {
      below(*field, entry.value, key);
    }
  }
}

}  // namespace

void make_paths_absolute(Node& tree, const Schema& schema, Diagnostics& missing) {
  visit_paths(tree, schema, "",
              [&](const std::string&, Node& value, const Field& field) { make_absolute(value, field, missing); });
}

void for_each_path(const Node& tree, const Schema& schema, const PathUse& use) { visit_paths(tree, schema, "", use); }

}  // namespace rwkvlab
