#include "analysis/sweep_panels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

namespace rwkvlab {
namespace {

constexpr std::size_t most_labels_inside = 4;

std::pair<double, double> extent(const std::vector<double>& values, std::pair<double, double> before) {
  for (const double value : values) {
    if (std::isfinite(value)) before = {std::min(before.first, value), std::max(before.second, value)};
  }
  return before;
}

// Panels side by side are there to be compared, and have little room for numbers.
void share_axes(Figure& figure, std::size_t first, std::size_t count) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::pair x{infinity, -infinity}, y{infinity, -infinity};
  for (std::size_t i = first; i < first + count; ++i) {
    for (const Curve& curve : figure.panels[i].curves) {
      x = extent(curve.x, x);
      y = extent(curve.top, extent(curve.y, y));
    }
  }
  const double room = 0.04 * (y.second - y.first);
  for (std::size_t i = first; i < first + count; ++i) {
    Panel& panel = figure.panels[i];
    if (!panel.y.range && room > 0) panel.y.range = std::pair{y.first - room, y.second + room};
    if (panel.x.tics.empty() && !panel.x.is_logarithmic && x.second > x.first)
      panel.x.step = nice_step(x.second - x.first, 4);
  }
}

}  // namespace

SweepPanels::SweepPanels(const SweepResults& results, const std::string& panels, const std::vector<std::string>& group,
                         const std::string& x, const std::string& record)
    : panel_axis_(panels) {
  std::vector<std::string> first;
  for (const std::string& axis : {panels, x}) {
    if (!axis.empty()) first.push_back(axis);
  }
  const std::size_t before_lines = first.size();
  first.insert(first.end(), group.begin(), group.end());
  const ShownAxes shown = choose_axes(results, first, group.empty());
  groups_ = group_runs(results, shown, record);
  reduction_ = reduction_text(results, shown);
  const auto split = [&](const std::vector<std::size_t>& order) {
    const auto begin = order.begin();
    const auto at = static_cast<std::ptrdiff_t>(panels.empty() ? 0 : 1);
    const auto lines = static_cast<std::ptrdiff_t>(before_lines);
    return std::array<std::vector<std::size_t>, 3>{std::vector(begin, begin + at),
                                                   std::vector(begin + lines, order.end()),
                                                   std::vector(begin + at, begin + lines)};
  };
  // Places in the order of the labels, which is not always that in which the groups come.
  std::array<std::map<std::vector<std::size_t>, std::size_t>, 3> places;
  for (const RunGroup& g : groups_) {
    const auto parts = split(g.order);
    for (std::size_t i = 0; i < 3; ++i) places[i].emplace(parts[i], 0);
  }
  for (auto& known : places) {
    std::size_t next = 0;
    for (auto& [order, place] : known) place = next++;
  }
  panels_.resize(places[0].size());
  lines_.resize(places[1].size());
  points_.resize(places[2].size());
  for (const RunGroup& g : groups_) {
    const auto parts = split(g.order);
    const std::vector<std::size_t>& place =
        places_.emplace_back(std::vector{places[0][parts[0]], places[1][parts[1]], places[2][parts[2]]});
    if (!panels.empty()) panels_[place[0]] = g.labels[0];
    if (!x.empty()) points_[place[2]] = g.labels[before_lines - 1];
    std::string line;
    for (std::size_t i = before_lines; i < g.labels.size(); ++i) {
      line += (line.empty() ? "" : ", ") + labelled(shown.axes[i], g.labels[i]);
    }
    lines_[place[1]] = line;
  }
}

const RunGroup* SweepPanels::group(std::size_t panel, std::size_t line, std::size_t point) const {
  const std::vector<std::size_t> wanted = {panel, line, point};
  const auto at = std::find(places_.begin(), places_.end(), wanted);
  return at == places_.end() ? nullptr : &groups_[static_cast<std::size_t>(at - places_.begin())];
}

std::string SweepPanels::panel_title(std::size_t panel) const { return labelled(panel_axis_, panels_[panel]); }

void lay_out_panels(Figure& figure, const SweepPanels& panels, std::size_t metrics) {
  const std::size_t across = panels.panels().size();
  const bool has_labels = panels.lines().size() > 1;
  for (std::size_t row = 0; across > 1 && row < metrics; ++row) share_axes(figure, row * across, across);
  const bool is_single = across == 1 && metrics == 1;
  figure.legend = !has_labels                                                ? Legend::none
                  : is_single && panels.lines().size() <= most_labels_inside ? Legend::inside
                                                                             : Legend::right;
  const double legend = figure.legend == Legend::right ? 4 : 0;
  // Several metrics: a row of panels for each. One: as square as it goes.
  figure.columns = static_cast<int>(metrics > 1 || across <= 3 ? across : across == 4 ? 2 : 3);
  const std::size_t rows =
      (across * metrics + static_cast<std::size_t>(figure.columns) - 1) / static_cast<std::size_t>(figure.columns);
  if (is_single) {
    figure.width_cm = 14 + legend;
    return;
  }
  const double panel_width = figure.columns == 1 ? 11 : figure.columns == 2 ? 7.2 : 5.6;
  figure.width_cm = 2.2 + panel_width * figure.columns + legend;
  figure.height_cm = 2.6 + (figure.columns == 1 ? 5.6 : 5.0) * static_cast<double>(rows);
}

std::string unfinished_text(const SweepResults& results) {
  std::map<ResultState, int> counts;
  for (const ComparedRun& run : results.runs) ++counts[run.state];
  std::string text;
  for (const auto& [state, count] : counts) {
    if (state == ResultState::done) continue;
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", count, count == 1 ? "run" : "runs", to_string(state));
  }
  return text.empty() ? "" : "Left out or cut short: " + text + ".";
}

}  // namespace rwkvlab
