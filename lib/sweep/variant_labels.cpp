#include "sweep/variant_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace rwkvlab {
namespace {

// Calls `text` for what stands between braces and `axis` for what is inside; false for an unmatched brace.
bool walk(const std::string& label, const std::function<void(const std::string&)>& text,
          const std::function<void(const std::string&)>& axis) {
  for (std::size_t at = 0; at < label.size();) {
    const std::size_t brace = std::min(label.find_first_of("{}", at), label.size());
    text(label.substr(at, brace - at));
    if (brace == label.size()) break;
    const std::size_t end = label.find('}', brace);
    if (label[brace] == '}' || end == std::string::npos) return false;
    axis(label.substr(brace + 1, end - brace - 1));
    at = end + 1;
  }
  return true;
}

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || byte >= 0x80 ||
         std::string_view("._=+-").find(c) != std::string_view::npos;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return text;
}

}  // namespace

std::string fill_in_label(const std::string& text, const std::vector<AxisValue>& axes) {
  std::string result;
  walk(
      text, [&](const std::string& part) { result += part; },
      [&](const std::string& name) {
        for (const AxisValue& axis : axes)
          if (axis.axis == name) result += axis.label;
      });
  return result;
}

void check_label(const Node& text, const std::vector<std::string>& axes, Diagnostics& problems) {
  const bool is_balanced = walk(
      text.string(), [](const std::string&) {},
      [&](const std::string& name) {
        if (std::find(axes.begin(), axes.end(), name) != axes.end()) return;
        problems.add(text.place(),
                     fmt::format("the label names {}, which is no axis{}", quote(name), did_you_mean(name, axes)),
                     axes.empty() ? "this sweep has no axes" : "axes: " + join_names(axes));
      });
  if (!is_balanced) problems.add(text.place(), "a brace of the label has no partner", "write {axis}");
}

std::string folder_name(const std::string& label, std::vector<std::string>& taken) {
  constexpr std::size_t longest = 100;
  std::string name;
  for (const char c : label) {
    const char shown = is_plain(c) ? c : '-';
    if (shown != '-' || (!name.empty() && name.back() != '-')) name += shown;
  }
  if (name.size() > longest) {
    std::size_t end = longest;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;  // Not inside a letter.
    name.resize(end);
  }
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  if (name.empty()) name = "variant";
  if (name.front() == '.') name.front() = '_';
  const auto is_taken = [&](const std::string& candidate) {
    return std::any_of(taken.begin(), taken.end(), [&](const std::string& t) { return lower(t) == lower(candidate); });
  };
  std::string unique = name;
  for (int i = 2; is_taken(unique); ++i) unique = fmt::format("{}-{}", name, i);
  taken.push_back(unique);
  return unique;
}

}  // namespace rwkvlab
