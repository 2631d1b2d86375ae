// What figures over runs share: which axes make panels, lines and colours, and how the figure is laid out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "analysis/figure.h"
#include "analysis/sweep_groups.h"

namespace rwkvlab {

/// Runs split into panels (values of one axis), lines (values of others) and points (values of the x axis, if any).
class SweepPanels {
 public:
  /// `panels` and `x` may be empty. Throws ConfigError as choose_axes and group_runs do, and when an axis has two
  /// tasks.
  SweepPanels(const SweepResults& results, const std::string& panels, const std::vector<std::string>& group,
              const std::string& x, const std::string& record);

  const std::vector<RunGroup>& groups() const { return groups_; }
  const std::vector<std::string>& panels() const { return panels_; }  ///< Labels; one empty one without an axis.
  const std::vector<std::string>& lines() const { return lines_; }    ///< Labels; "" when there is only one line.
  const std::vector<std::string>& points() const { return points_; }  ///< Labels along x; one empty one without an x.
  /// The group of a panel, a line and a point; null when the sweep has none.
  const RunGroup* group(std::size_t panel, std::size_t line, std::size_t point = 0) const;
  /// "model.width = 32", "Finch" or "".
  std::string panel_title(std::size_t panel) const;
  /// What the best-of rule did; "" without one.
  std::string reduction() const { return reduction_; }

 private:
  std::vector<RunGroup> groups_;
  std::string panel_axis_;
  std::vector<std::string> panels_, lines_, points_;
  std::vector<std::vector<std::size_t>> places_;  // Of each group: panel, line, point.
  std::string reduction_;
};

/// Size, columns, legend and colours of a figure with `metrics` rows of panels, once its panels are filled.
void lay_out_panels(Figure& figure, const SweepPanels& panels, std::size_t metrics);

/// "3 runs failed and 2 are not finished." and so on, of all runs; "" when all are done.
std::string unfinished_text(const SweepResults& results);

}  // namespace rwkvlab
