// The tables that a finished sweep leaves in its folder.
#pragma once

#include <filesystem>
#include <string>

namespace rwkvlab {

/// Writes table.txt, table.md, table.tex, table.csv and table.json into the sweep folder, laid out as the `table`
/// section of the sweep asks, and returns the text form. Throws what make_table throws, and FileError.
std::string write_sweep_tables(const std::filesystem::path& sweep);

}  // namespace rwkvlab
