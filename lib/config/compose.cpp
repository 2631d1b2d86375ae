#include "config/compose.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/file.h"
#include "config/diagnostics.h"
#include "config/yaml_reader.h"

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;

/// Both name a kind, and not the same one.
bool changes_kind(const Node& earlier, const Node& later) {
  const Node* before = earlier.find("kind");
  const Node* after = later.find("kind");
  return before != nullptr && after != nullptr && !(*before == *after);
}

/// Follows `extends`. Each file is read and composed once, however often it is named.
class Composer {
 public:
  explicit Composer(Diagnostics& problems) : problems_(problems) {}

  /// False when a file is missing from the tree, which then is of no use.
  bool is_whole() const { return is_whole_; }

  /// `name` is how messages call the file, `asked_by` where it is named (unknown for the first). Null after a problem.
  const Node* file(const fs::path& name, const Place& asked_by) {
    std::error_code error;
    if (!fs::exists(name, error)) return fail(asked_by, missing_file_text(name));
    if (!fs::is_regular_file(name, error)) return fail(asked_by, "this is not a file: " + name.string());
    const std::string identity = fs::weakly_canonical(name, error).string();
    if (const std::string circle = circle_text(name, identity); !circle.empty()) {
      const bool is_circle =
          std::any_of(chain_.begin(), chain_.end(), [&](const Link& l) { return l.identity == identity; });
      return fail(
          asked_by,
          is_circle ? "'extends' runs in a circle" : fmt::format("'extends' goes more than {} files deep", kDeepest),
          circle);
    }
    auto known = done_.find(identity);
    if (known == done_.end()) {
      chain_.push_back({identity, name.string()});
      std::optional<Node> composed = read(name, asked_by);
      chain_.pop_back();
      known = done_.emplace(identity, std::move(composed)).first;
    }
    return known->second ? &*known->second : nullptr;
  }

 private:
  static constexpr std::size_t kDeepest = 32;

  struct Link {
    std::string identity;
    std::string name;
  };

  const Node* fail(const Place& place, std::string message, std::string hint = "") {
    problems_.add(place, std::move(message), std::move(hint));
    is_whole_ = false;
    return nullptr;
  }

  /// The files that lead from `name` back to itself, or all of them when there are too many; "" when all is well.
  std::string circle_text(const fs::path& name, const std::string& identity) const {
    const auto same = [&](const Link& link) { return link.identity == identity; };
    const auto begin = std::find_if(chain_.begin(), chain_.end(), same);
    if (begin == chain_.end() && chain_.size() < kDeepest) return "";
    std::string text;
    for (auto link = begin == chain_.end() ? chain_.begin() : begin; link != chain_.end(); ++link)
      text += link->name + " -> ";
    return text + name.string();
  }

  std::optional<Node> read(const fs::path& name, const Place& asked_by) {
    std::optional<Node> own = read_yaml(name, name.string(), asked_by, problems_);
    if (!own) {
      is_whole_ = false;
      return std::nullopt;
    }
    if (!own->is_map() && !own->is_null()) {
      fail(own->place(), "expected a map of keys, found " + own->description(), "write 'key: value' lines");
      return std::nullopt;
    }
    if (own->is_null()) {
      const Place place = own->place();
      own = Node(Node::Map{});
      own->set_place(place);
    }
    return with_bases(std::move(*own), name);
  }

  Node with_bases(Node own, const fs::path& name) {
    const MapEntry* entry = own.find_entry("extends");
    if (entry == nullptr) return own;
    const Node extends = entry->value;
    std::erase_if(own.map(), [](const MapEntry& each) { return each.key == "extends"; });
    Node result{Node::Map{}};
    result.set_place(own.place());
    const auto add = [&](const Node& named) {
      if (const Node* const base = base_file(named, name)) result = merge(std::move(result), *base);
    };
    if (extends.is_list())
      for (const Node& base : extends.list()) add(base);
    else
      add(extends);
    return merge(std::move(result), std::move(own));
  }

  const Node* base_file(const Node& base, const fs::path& from) {
    if (!base.is_string() || base.string().empty())
      return fail(base.place(), "'extends' must be a file name or a list of file names, found " + base.description());
    return file((from.parent_path() / base.string()).lexically_normal(), base.place());
  }

  Diagnostics& problems_;
  bool is_whole_ = true;
  std::vector<Link> chain_;
  std::map<std::string, std::optional<Node>> done_;
};

/// A value on its way to a path of the tree.
class Setting {
 public:
  /// "path.to.key=value".
  Setting(const std::string& text, Diagnostics& problems) : problems_(problems) {
    const auto source = std::make_shared<const SourceText>(SourceText{"--set " + text, text});
    place_ = {source, Origin::command_line, 1, 1, 1};
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) fail("a setting has the form path.to.key=value");
    path_ = text.substr(0, equals);
    const std::size_t before = problems_.size();
    std::optional<Node> value = parse_yaml(text.substr(equals + 1), source->name, Origin::command_line, problems_);
    if (!value || problems_.size() != before) problems_.throw_if_any();
    value_ = std::move(*value);
    split();
  }

  Setting(std::string path, Node value, Place place, Diagnostics& problems)
      : problems_(problems), place_(std::move(place)), path_(std::move(path)), value_(std::move(value)) {
    split();
  }

  void apply(Node& tree) {
    Node* node = &tree;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const bool is_last = i + 1 == parts_.size();
      node = node->is_list() ? &element(*node, i) : &member(*node, i, is_last);
    }
    *node = merge(std::move(*node), std::move(value_));
  }

 private:
  void split() {
    for (std::size_t begin = 0; begin <= path_.size();) {
      const std::size_t dot = std::min(path_.find('.', begin), path_.size());
      parts_.push_back(path_.substr(begin, dot - begin));
      if (parts_.back().empty())
        fail("the path has an empty part", "write keys with one dot between them: model.width=64");
      if (parts_.back().size() > kLongestKey) fail("a key of the path is too long");
      begin = dot + 1;
    }
    constexpr std::size_t deepest = 32;
    if (parts_.size() > deepest) fail(fmt::format("the path is more than {} keys deep", deepest));
  }

  const Place& place() const { return place_; }
  /// Of one key of the path, where the path is written as it is.
  Place place_of(std::size_t part) const {
    Place place = place_;
    if (place.origin != Origin::file || static_cast<std::size_t>(place.length) != path_.size()) return place;
    for (std::size_t i = 0; i < part; ++i) place.column += static_cast<int>(parts_[i].size()) + 1;
    place.length = static_cast<int>(parts_[part].size());
    return place;
  }
  [[noreturn]] void fail(std::string message, std::string hint = "") const {
    problems_.add(place(), std::move(message), std::move(hint));
    problems_.throw_if_any();
    throw BugError("unreachable");
  }
  std::string path_before(std::size_t part) const {
    std::string result;
    for (std::size_t i = 0; i < part; ++i) result += (i == 0 ? "" : ".") + parts_[i];
    return result;
  }

  Node& element(Node& list, std::size_t part) const {
    const std::string& text = parts_[part];
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    const std::size_t size = list.list().size();
    if (error != std::errc() || end != text.data() + text.size() || index >= size)
      fail(fmt::format("'{}' is a list of {}, and {} is no index of it", path_before(part), size, quote(text)),
           size == 0 ? "set the whole list" : fmt::format("indices are 0 to {}", size - 1));
    return list.list()[index];
  }

  Node& member(Node& node, std::size_t part, bool is_last) const {
    if (node.is_null()) {
      node = Node(Node::Map{});
      node.set_place(place());
    }
    if (!node.is_map())
      fail(fmt::format("'{}' is {}, so it has no key {}", path_before(part), node.description(), quote(parts_[part])));
    const std::string& key = parts_[part];
    if (is_last && key == "kind" && node.find(key) != nullptr && !(*node.find(key) == value_))
      std::erase_if(node.map(), [](const MapEntry& entry) { return entry.key != "kind"; });
    for (MapEntry& entry : node.map()) {
      if (entry.key != key) continue;
      if (is_last) entry.place = place_of(part);
      return entry.value;
    }
    return node.insert(key, Node(), place_of(part));
  }

  Diagnostics& problems_;
  Place place_;
  std::string path_;
  std::vector<std::string> parts_;
  Node value_;
};

}  // namespace

Node merge(Node earlier, Node later) {
  if (!earlier.is_map() || !later.is_map() || changes_kind(earlier, later)) return later;
  std::unordered_map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < earlier.map().size(); ++i) index.emplace(earlier.map()[i].key, i);
  for (MapEntry& entry : later.map()) {
    const auto found = index.find(entry.key);
    if (found == index.end()) {
      earlier.map().push_back(std::move(entry));
      continue;
    }
    MapEntry& target = earlier.map()[found->second];
    target.place = std::move(entry.place);
    target.value = merge(std::move(target.value), std::move(entry.value));
  }
  earlier.set_place(later.place());
  return earlier;
}

void apply_setting(Node& tree, const std::string& setting) {
  Diagnostics problems;
  Setting(setting, problems).apply(tree);
}

void apply_path(Node& tree, const std::string& path, Node value, const Place& place, Diagnostics& problems) {
  Diagnostics own;
  try {
    Setting(path, std::move(value), place, own).apply(tree);
  } catch (const ConfigError&) {
    for (const Problem& problem : own.problems()) problems.add(problem.place, problem.message, problem.hint);
  }
}

Node compose(const std::filesystem::path& file, const std::vector<std::string>& settings, Diagnostics& problems) {
  Composer composer(problems);
  const Node* const whole = composer.file(file, Place{});
  // Without a base file, keys would seem missing and kinds wrong, so nothing more is said then.
  if (whole == nullptr || !composer.is_whole()) problems.throw_if_any();
  Node tree = *whole;
  const std::size_t before = problems.size();
  for (const std::string& setting : settings) {
    try {
      Setting(setting, problems).apply(tree);
    } catch (const ConfigError&) {
      // It is among the problems; the other settings may have their own.
    }
  }
  if (problems.size() != before) problems.throw_if_any();
  return tree;
}

Node compose(const std::filesystem::path& file, const std::vector<std::string>& settings) {
  Diagnostics problems;
  Node tree = compose(file, settings, problems);
  problems.throw_if_any();
  return tree;
}

}  // namespace rwkvlab
