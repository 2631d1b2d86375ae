// Texts of a table: for people, for papers and for programs.
#pragma once

#include <string>
#include <vector>

#include "analysis/table.h"

namespace rwkvlab {

enum class TableFormat { text, markdown, latex, csv, json };

/// "text", "markdown", "latex", "csv" or "json". Throws ConfigError with the nearest name for another word.
TableFormat table_format(const std::string& word);

/// The table, ending in a newline. text, markdown and latex (booktabs) show `cell_text` and mark the best of each
/// column with *, ** and \textbf. csv and json have one record per cell with the unrounded numbers and the run files,
/// series and steps that they come from.
std::string format_table(const Table& table, TableFormat format);

/// A table as rows of texts.
struct TableGrid {
  struct Cell {
    std::string text;
    bool is_best = false;
  };
  std::vector<std::string> header;
  std::vector<std::vector<Cell>> rows;
  std::size_t label_columns = 0;  ///< The first so many columns are labels, the others numbers.
};
TableGrid table_grid(const Table& table);

/// The csv and json forms.
std::string table_csv(const Table& table);
std::string table_json(const Table& table);

}  // namespace rwkvlab
