// rwkvlab blocks: what an experiment file can name.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "config/diagnostics.h"
#include "config/registry.h"

namespace rwkvlab::cli {
namespace {

void print_fields(const Schema& schema, const std::string& indent) {
  std::size_t width = 0;
  for (const Field& field : schema.fields) width = std::max(width, field.key.size());
  for (const Field& field : schema.fields) {
    fmt::print("{}{:<{}}  {}\n", indent, field.key, width, field.summary());
    if (!field.doc.empty()) fmt::print("{}{:<{}}  {}\n", indent, "", width, field.doc);
    for (const Option& option : field.constraint.options) {
      if (!option.doc.empty()) fmt::print("{}{:<{}}    {}: {}\n", indent, "", width, option.value, option.doc);
    }
    if (field.schema) print_fields(*field.schema, indent + std::string(width + 2, ' '));
  }
}

void print_kind(const std::string& slot, const std::string& kind) {
  const Schema& schema = require_kind(slot, kind);
  fmt::print("{} {}\n", slot, kind);
  if (!schema.doc.empty()) fmt::print("  {}\n", schema.doc);
  if (!schema.paper.empty()) fmt::print("  Paper: {}\n", schema.paper);
  if (schema.fields.empty()) {
    fmt::print("  It has no parameters.\n");
  } else {
    fmt::print("  Parameters:\n");
    print_fields(schema, "    ");
  }
}

void list_slot(const std::string& slot) {
  const KindRegistry& registry = KindRegistry::instance();
  fmt::print("{}{}\n", slot, registry.slot_doc(slot).empty() ? "" : ": " + registry.slot_doc(slot));
  std::size_t width = 0;
  for (const std::string& kind : registry.kinds(slot)) width = std::max(width, kind.size());
  for (const std::string& kind : registry.kinds(slot)) {
    const Schema& schema = *registry.find(slot, kind);
    const std::string paper = schema.paper.empty() ? "" : fmt::format(" [{}]", schema.paper);
    fmt::print("  {:<{}}  {}{}\n", kind, width, schema.doc, paper);
  }
  fmt::print("\n");
}

constexpr const char* more_hint = "`rwkvlab blocks NAME` lists the parameters of one of them.\n";

int list_all() {
  for (const std::string& slot : KindRegistry::instance().slots()) list_slot(slot);
  fmt::print(more_hint);
  return success;
}

int blocks(const std::string& name) {
  if (name.empty()) return list_all();
  const KindRegistry& registry = KindRegistry::instance();
  std::vector<std::string> names;
  bool found = registry.has_slot(name);
  if (found) {
    list_slot(name);
    fmt::print(more_hint);
  }
  for (const std::string& slot : registry.slots()) {
    names.push_back(slot);
    for (const std::string& kind : registry.kinds(slot)) {
      names.push_back(kind);
      if (kind != name && fmt::format("{}.{}", slot, kind) != name) continue;
      if (found) fmt::print("\n");
      print_kind(slot, kind);
      found = true;
    }
  }
  if (found) return success;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const std::string nearest = nearest_name(name, names);
  throw ConfigError(fmt::format("no block is called {}{}. There are: {}", quote(name),
                                nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest),
                                join_names(names, 100)));
}

}  // namespace

void add_blocks_command(const Command& program) {
  auto name = std::make_shared<std::string>();
  const Command command = program.command(
      "blocks", "list the blocks that YAML can name, or the parameters, defaults, ranges and paper of one");
  command.option("NAME", *name,
                 "name of a block, such as rwkv4 or time_mix.rwkv4, or of a place for blocks, such as time_mix");
  command.action([name] { return blocks(*name); });
}

}  // namespace rwkvlab::cli
