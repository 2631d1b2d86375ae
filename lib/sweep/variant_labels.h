// Names of variants.
#pragma once

#include <string>
#include <vector>

#include "config/diagnostics.h"
#include "sweep/sweep_record.h"

namespace rwkvlab {

/// Fills in "{axis}" of a template with the axis's label.
std::string fill_in_label(const std::string& text, const std::vector<AxisValue>& axes);

/// Adds to `problems` what is wrong with a template: an axis that does not exist, a brace without its partner.
void check_label(const Node& text, const std::vector<std::string>& axes, Diagnostics& problems);

/// The label as the name of a folder: other characters than letters, digits and ._=+- become '-'. No two names of
/// `taken` are equal, also not for file systems that ignore the case; the result is added to it.
std::string folder_name(const std::string& label, std::vector<std::string>& taken);

}  // namespace rwkvlab
