#include "analysis/sweep_tables.h"

#include <utility>

#include "analysis/table_format.h"
#include "base/file.h"

namespace rwkvlab {

std::string write_sweep_tables(const std::filesystem::path& sweep) {
  TableOptions options;
  options.sources = {sweep};
  const Table table = make_table(options);
  for (const auto& [name, format] : {std::pair{"table.md", TableFormat::markdown},
                                     {"table.tex", TableFormat::latex},
                                     {"table.csv", TableFormat::csv},
                                     {"table.json", TableFormat::json}}) {
    write_atomically(sweep / name, format_table(table, format));
  }
  std::string text = format_table(table, TableFormat::text);
  write_atomically(sweep / "table.txt", text);
  return text;
}

}  // namespace rwkvlab
