#include "sweep/sweep_record.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "config/diagnostics.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "config/yaml_writer.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

constexpr const char* record_name = "sweep.yaml";
// We wrote the file, and a sweep may have many thousands of runs.
constexpr YamlLimits limits{std::size_t{1} << 30, 100'000'000, 64};

// The file as C++ sees it. Runs are gathered by variant, which keeps the file short.
struct SeedEntry {
  std::uint64_t seed = 1;
  std::string folder;
};
struct AxisEntry {
  std::string axis;
  Node value;
  std::string label;
};
struct VariantEntry {
  std::string label;
  std::vector<AxisEntry> axes;
  Node settings;
  std::vector<SeedEntry> runs;
};
struct Document {
  int version = 0;
  std::string name;
  Node experiment, sweep;
  std::vector<std::string> axes;
  std::optional<BestOfParams> best_of;
  TableParams table;
  std::vector<VariantEntry> variants;
};

void describe_variant(Fields<VariantEntry>& f) {
  f.required("label", &VariantEntry::label, "");
  f.list("axes", &VariantEntry::axes, [](Fields<AxisEntry>& axis) {
    axis.required("axis", &AxisEntry::axis, "");
    axis.any("value", &AxisEntry::value, "");
    axis.required("label", &AxisEntry::label, "");
  });
  f.any("settings", &VariantEntry::settings, "");
  f.list("runs", &VariantEntry::runs, [](Fields<SeedEntry>& run) {
    run.required("seed", &SeedEntry::seed, "");
    run.required("folder", &SeedEntry::folder, "").not_empty();
  });
}

const Schema& document_schema() {
  static const Schema schema = make_schema<Document>([](Fields<Document>& f) {
    f.required("version", &Document::version, "");
    f.required("name", &Document::name, "");
    f.any("experiment", &Document::experiment, "");
    f.any("sweep", &Document::sweep, "");
    f.add("axes", &Document::axes, "");
    f.section("best_of", &Document::best_of, [](Fields<BestOfParams>& below) { describe(below); });
    f.section("table", &Document::table, [](Fields<TableParams>& below) { describe(below); });
    f.list("variants", &Document::variants, describe_variant);
  });
  return schema;
}

Node strings(const std::vector<std::string>& words) {
  Node::List items;
  for (const std::string& word : words) items.emplace_back(word);
  return Node(std::move(items));
}

Node best_of_node(const BestOf& rule) {
  Node node{Node::Map{}};
  node.insert("over", strings(rule.over));
  node.insert("metric", Node(rule.metric));
  node.insert("mode", Node(rule.maximize ? "max" : "min"));
  node.insert("per_seed", Node(rule.per_seed));
  return node;
}

Node table_node(const TableParams& table) {
  Node node{Node::Map{}};
  node.insert("rows", strings(table.rows));
  node.insert("columns", strings(table.columns));
  node.insert("metrics", strings(table.metrics));
  node.insert("show", strings(table.show));
  node.insert("value", Node(table.value));
  node.insert("digits", Node(table.digits));
  node.insert("title", Node(table.title));
  return node;
}

Node variant_node(const SweepRun& run) {
  Node axes{Node::List{}};
  for (const AxisValue& axis : run.axes) {
    Node entry{Node::Map{}};
    entry.insert("axis", Node(axis.axis));
    entry.insert("value", axis.value);
    entry.insert("label", Node(axis.label));
    axes.list().push_back(std::move(entry));
  }
  Node node{Node::Map{}};
  node.insert("label", Node(run.variant));
  node.insert("axes", std::move(axes));
  node.insert("settings", run.settings);
  node.insert("runs", Node(Node::List{}));
  return node;
}

Node variant_nodes(const std::vector<SweepRun>& runs) {
  Node variants{Node::List{}};
  for (const SweepRun& run : runs) {
    Node::List& list = variants.list();
    if (list.empty() || list.back().find("label")->string() != run.variant) list.push_back(variant_node(run));
    Node entry{Node::Map{}};
    entry.insert("seed", Node(run.seed));
    entry.insert("folder", Node(run.folder.generic_string()));
    list.back().find("runs")->list().push_back(std::move(entry));
  }
  return variants;
}

// Before anything else is read: another version may have other keys.
void check_version(const Node& tree, const std::string& name) {
  const Node* const version = tree.find("version");
  if (version == nullptr || version->type() != Node::Type::integer) {
    throw DataError(fmt::format("'{}' is no record of a sweep: it has no version", name));
  }
  if (*version == Node(sweep_record_version)) return;
  throw ConfigError(
      fmt::format("'{}' was written in version {} of the layout of sweep folders, and this program knows version {}; "
                  "use the rwkvlab that made it, or run the sweep again in another folder",
                  name, inline_yaml(*version), sweep_record_version));
}

Node map_or_empty(const Node& node) { return node.is_null() ? Node(Node::Map{}) : node; }

SweepRecord record_of(Document document) {
  SweepRecord record;
  record.name = std::move(document.name);
  record.experiment = map_or_empty(document.experiment);
  record.sweep = map_or_empty(document.sweep);
  record.axes = std::move(document.axes);
  if (document.best_of) record.best_of = best_of(*document.best_of);
  record.table = std::move(document.table);
  for (const VariantEntry& variant : document.variants) {
    SweepRun run;
    run.variant = variant.label;
    run.settings = map_or_empty(variant.settings);
    for (const AxisEntry& axis : variant.axes) run.axes.push_back({axis.axis, axis.value, axis.label});
    for (const SeedEntry& seed : variant.runs) {
      run.seed = seed.seed;
      run.folder = seed.folder;
      record.runs.push_back(run);
    }
  }
  return record;
}

}  // namespace

std::string SweepRecord::text() const {
  Node tree{Node::Map{}};
  tree.insert("version", Node(sweep_record_version));
  tree.insert("name", Node(name));
  tree.insert("experiment", map_or_empty(experiment));
  tree.insert("sweep", map_or_empty(sweep));
  tree.insert("axes", strings(axes));
  tree.insert("best_of", best_of ? best_of_node(*best_of) : Node());
  tree.insert("table", table_node(table));
  tree.insert("variants", variant_nodes(runs));
  return "# A sweep of rwkvlab. Whatever is missing runs with: rwkvlab run FOLDER --resume\n" + to_yaml(tree);
}

bool is_sweep_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / record_name, ignored);
}

fs::path sweep_folder_of(const fs::path& name) {
  if (is_sweep_folder(name)) return name;
  const fs::path folder = fs::absolute(name).parent_path();
  if (name.filename() != record_name || !is_sweep_folder(folder)) return {};
  // An experiment file may have that name too, but it has no version.
  const std::string text = "\n" + read_text(name);
  return text.find("\nversion:") == std::string::npos ? fs::path() : folder;
}

SweepRecord read_sweep_record(const fs::path& folder) {
  const std::string name = (folder / record_name).string();
  if (!is_sweep_folder(folder)) {
    throw DataError(fmt::format("'{}' is no sweep folder: it holds no {}", folder.string(), record_name));
  }
  Node tree;
  try {
    tree = parse_yaml(read_text(name, limits.bytes), name, Origin::file, limits);
    check_version(tree, name);
  } catch (const ConfigError& error) {
    if (tree.is_map()) throw;
    throw DataError(fmt::format("the record of the sweep is damaged: {}", error.what()));
  }
  try {
    return record_of(bind<Document>(tree, document_schema()));
  } catch (const ConfigError& error) {
    throw DataError(fmt::format("the record of the sweep is damaged: {}", error.what()));
  }
}

void write_sweep_record(const fs::path& folder, const SweepRecord& record) {
  write_atomically(folder / record_name, record.text());
}

}  // namespace rwkvlab
