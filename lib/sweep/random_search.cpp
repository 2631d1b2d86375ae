#include "sweep/random_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "base/random.h"
#include "config/yaml_writer.h"

namespace rwkvlab {
namespace {

// Short enough to read in a label, and what the label says is what is run.
Node rounded(double value, double low, double high) {
  return Node(std::clamp(std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr), low, high));
}

}  // namespace

Node draw_value(const RandomRange& range, std::uint64_t seed, const std::string& path, std::uint64_t index) {
  const RandomStream stream(seed, "sweep/" + path);
  if (range.uniform) {
    const double low = (*range.uniform)[0], high = (*range.uniform)[1];
    return rounded(low + stream.uniform(index) * (high - low), low, high);
  }
  if (range.log_uniform) {
    const double low = (*range.log_uniform)[0], high = (*range.log_uniform)[1];
    return rounded(low * std::pow(high / low, stream.uniform(index)), low, high);
  }
  if (range.integer) {
    const auto low = static_cast<std::uint64_t>((*range.integer)[0]);
    const std::uint64_t width = static_cast<std::uint64_t>((*range.integer)[1]) - low + 1;
    return Node(static_cast<std::int64_t>(low + (width == 0 ? stream.bits(index) : stream.below(index, width))));
  }
  const Node::List& choices = range.choice.list();
  return choices[stream.below(index, choices.size())];
}

std::vector<std::vector<Node>> draw_all(const RandomParams& params, const std::vector<std::string>& paths) {
  std::vector<std::vector<Node>> draws;
  std::set<std::string> seen;
  const auto wanted = static_cast<std::size_t>(params.count);
  // With k possible draws left of n, the next new one takes n / k attempts on average.
  const std::uint64_t attempts = 1000 + 100 * static_cast<std::uint64_t>(wanted);
  for (std::uint64_t index = 0; index < attempts && draws.size() < wanted; ++index) {
    Node::List values;
    for (const std::string& path : paths) values.push_back(draw_value(params.over.at(path), params.seed, path, index));
    if (seen.insert(canonical_text(Node(values))).second) draws.push_back(std::move(values));
  }
  return draws;
}

}  // namespace rwkvlab
