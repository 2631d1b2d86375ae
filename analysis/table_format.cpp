#include "analysis/table_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "analysis/display_width.h"
#include "base/error.h"
#include "base/nearest.h"
#include "config/diagnostics.h"
#include "run/describe.h"

namespace rwkvlab {
namespace {

// A line break would end the row, or the comment.
std::string in_one_line(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const bool is_break = c == '\n' || c == '\r' || c == '\t';
    if (!is_break) result += c;
    if (is_break && !result.ends_with(' ')) result += ' ';
  }
  return result;
}

std::string column_label(const Table& table, std::size_t column) {
  std::string text;
  for (std::size_t i = 0; i < table.column_axes.size(); ++i) {
    text += (i == 0 ? "" : ", ") + labelled(table.column_axes[i], table.columns[column][i]);
  }
  return text;
}

std::string show_title(const Table& table, const std::string& word) {
  if (word == "flops") return "FLOPs/token";
  if (word == "best_of" && table.results.best_of)
    return fmt::format("best {}", fmt::join(table.results.best_of->over, ", "));
  return word;
}

std::string show_text(const TableCell& cell, const std::string& word) {
  if (!cell.exists) return "";
  const GroupStatistics& s = cell.statistics;
  if (word == "runs") {
    return fmt::format("{}/{}{}", s.count(), s.expected, s.failed > 0 ? fmt::format(", {} failed", s.failed) : "");
  }
  std::string text = word == "steps" ? cell.steps : word == "best_of" ? cell.chosen : "";
  if (cell.seconds && word == "seconds") text = fmt::format("{:.4g}", *cell.seconds);
  if (cell.size && word == "parameters") text = grouped(cell.size->parameters);
  if (cell.size && word == "state") text = grouped(cell.size->state);
  if (cell.size && word == "flops") text = flops_text(cell.size->flops_per_token);
  return text.empty() ? "—" : text;
}

// What a shown column says of each row, when it is the same in all columns.
bool is_the_same_across(const Table& table, const std::string& word) {
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    std::string text;
    for (std::size_t column = 0; column < table.columns.size(); ++column) {
      const std::string here = show_text(table.cell(row, column, 0), word);
      if (!here.empty() && !text.empty() && here != text) return false;
      if (!here.empty()) text = here;
    }
  }
  return true;
}

// "eval/length_8/accuracy", "eval/length_16/accuracy" -> "length_8", "length_16": what tells metrics apart. The
// sentence below the table has the whole names.
std::vector<std::string> metric_titles(const std::vector<std::string>& metrics) {
  if (metrics.size() < 2) return metrics;
  const auto agree = [&metrics](const std::string& part, auto&& has) {
    return std::all_of(metrics.begin(), metrics.end(), [&](const std::string& metric) { return has(metric, part); });
  };
  std::size_t start = 0, end = 0;  // Characters that all share, in whole parts.
  const std::string& first = metrics.front();
  for (std::size_t slash = first.find('/'); slash != std::string::npos; slash = first.find('/', slash + 1)) {
    const std::string before = first.substr(0, slash + 1), after = first.substr(slash);
    if (agree(before, [](const std::string& m, const std::string& part) { return m.starts_with(part); }))
      start = slash + 1;
    if (end == 0 && agree(after, [](const std::string& m, const std::string& part) { return m.ends_with(part); }))
      end = first.size() - slash;
  }
  std::vector<std::string> titles;
  for (const std::string& metric : metrics) {
    if (metric.size() <= start + end) return metrics;
    titles.push_back(metric.substr(start, metric.size() - start - end));
  }
  return titles;
}

std::string joined_title(const std::string& column, const std::string& rest) {
  return column.empty() || rest.empty() ? column + rest : column + ", " + rest;
}

void add_show_columns(const Table& table, TableGrid& grid) {
  for (const std::string& word : table.show) {
    const bool once = is_the_same_across(table, word);
    for (std::size_t column = 0; column < (once ? 1 : table.columns.size()); ++column) {
      grid.header.push_back(joined_title(once ? "" : column_label(table, column), show_title(table, word)));
      for (std::size_t row = 0; row < table.rows.size(); ++row) {
        std::string text = show_text(table.cell(row, column, 0), word);
        for (std::size_t other = 0; once && text.empty() && other < table.columns.size(); ++other) {
          text = show_text(table.cell(row, other, 0), word);
        }
        grid.rows[row].push_back({text, false});
      }
    }
  }
}

std::vector<std::string> escaped(const std::vector<TableGrid::Cell>& cells, std::string (*escape)(const std::string&),
                                 const char* before_best, const char* after_best) {
  std::vector<std::string> texts;
  for (const TableGrid::Cell& cell : cells) {
    const std::string text = escape(cell.text);
    texts.push_back(cell.is_best ? before_best + text + after_best : text);
  }
  return texts;
}

std::string markdown_escape(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::string_view("|*\\<").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

std::string latex_escape(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (text.compare(i, 2, "±") == 0) {
      result += "$\\pm$";
      ++i;
    } else if (text.compare(i, 3, "—") == 0) {
      result += "---";
      i += 2;
    } else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) {
      result += std::string("\\") + c;
    } else if (c == '\\') {
      result += "\\textbackslash{}";
    } else if (c == '~' || c == '^') {
      result += fmt::format("\\{}{{}}", c);
    } else {
      result += c;
    }
  }
  return result;
}

std::string text_form(const Table& table) {
  const TableGrid grid = table_grid(table);
  const std::size_t columns = grid.header.size();
  std::vector<std::vector<std::string>> lines = {grid.header};
  for (const auto& row : grid.rows)
    lines.push_back(escaped(
        row, [](const std::string& text) { return text; }, "", "*"));
  std::vector<std::size_t> widths(columns);
  for (std::size_t c = 0; c < columns; ++c) {
    const bool has_mark =
        std::any_of(grid.rows.begin(), grid.rows.end(), [c](const auto& row) { return row[c].is_best; });
    for (std::size_t r = 0; r < lines.size(); ++r) {
      // A blank where others have a mark keeps the figures below each other.
      if (has_mark && (r == 0 || !grid.rows[r - 1][c].is_best)) lines[r][c] += " ";
      widths[c] = std::max(widths[c], display_width(lines[r][c]));
    }
  }
  std::size_t total = 2 * (columns - 1);
  for (const std::size_t width : widths) total += width;
  std::string rule;
  for (std::size_t i = 0; i < total; ++i) rule += "─";
  std::string text = table.title.empty() ? "" : in_one_line(table.title) + "\n\n";
  for (std::size_t r = 0; r < lines.size(); ++r) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::string padding(widths[c] - display_width(lines[r][c]), ' ');
      line += (c == 0 ? "" : "  ") + (c < grid.label_columns ? lines[r][c] + padding : padding + lines[r][c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n" + (r == 0 ? rule + "\n" : "");
  }
  text += rule + "\n";
  for (const std::string& note : table.notes) text += in_one_line(note) + "\n";
  return text;
}

std::string markdown_form(const Table& table) {
  const TableGrid grid = table_grid(table);
  std::string text = table.title.empty() ? "" : "**" + markdown_escape(in_one_line(table.title)) + "**\n\n", alignment;
  for (std::size_t c = 0; c < grid.header.size(); ++c) {
    text += "| " + markdown_escape(grid.header[c]) + " ";
    alignment += c < grid.label_columns ? "| :-- " : "| --: ";
  }
  text += "|\n" + alignment + "|\n";
  for (const auto& row : grid.rows) {
    for (const std::string& cell : escaped(row, markdown_escape, "**", "**")) text += "| " + cell + " ";
    text += "|\n";
  }
  for (const std::string& note : table.notes) text += "\n" + markdown_escape(in_one_line(note)) + "\n";
  return text;
}

std::string latex_form(const Table& table) {
  const TableGrid grid = table_grid(table);
  std::string text = "% \\usepackage{booktabs}\n";
  if (!table.title.empty()) text += "% " + in_one_line(table.title) + "\n";
  text += fmt::format("\\begin{{tabular}}{{{}{}}}\n\\toprule\n", std::string(grid.label_columns, 'l'),
                      std::string(grid.header.size() - grid.label_columns, 'r'));
  for (std::size_t c = 0; c < grid.header.size(); ++c) text += (c == 0 ? "" : " & ") + latex_escape(grid.header[c]);
  text += " \\\\\n\\midrule\n";
  for (const auto& row : grid.rows) {
    text += fmt::format("{} \\\\\n", fmt::join(escaped(row, latex_escape, "\\textbf{", "}"), " & "));
  }
  text += "\\bottomrule\n\\end{tabular}\n";
  // Below the tabular lines break, and columns stay as wide as their numbers.
  for (const std::string& note : table.notes) {
    text += "\\par{\\footnotesize " + latex_escape(in_one_line(note)) + "\\par}\n";
  }
  return text;
}

}  // namespace

TableFormat table_format(const std::string& word) {
  static const std::vector<std::string> words = {"text", "markdown", "latex", "csv", "json"};
  const auto at = std::find(words.begin(), words.end(), word);
  if (at == words.end()) {
    throw ConfigError(
        fmt::format("--format {}{}; expected one of {}", quote(word), did_you_mean(word, words), join_names(words)));
  }
  return static_cast<TableFormat>(at - words.begin());
}

TableGrid table_grid(const Table& table) {
  TableGrid grid;
  grid.header = table.row_axes.empty() ? std::vector<std::string>{""} : table.row_axes;
  grid.label_columns = grid.header.size();
  const std::vector<std::string> titles = metric_titles(table.metrics);
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    for (const std::string& metric : titles) {
      // One metric alone is named below the table.
      const bool is_named = table.metrics.size() > 1 || table.column_axes.empty();
      grid.header.push_back(joined_title(column_label(table, column), is_named ? metric : ""));
    }
  }
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    std::vector<TableGrid::Cell>& cells = grid.rows.emplace_back();
    for (const std::string& label : table.rows[row]) cells.push_back({label, false});
    if (table.row_axes.empty()) cells.push_back({table.results.name, false});
    for (std::size_t column = 0; column < table.columns.size(); ++column) {
      for (std::size_t metric = 0; metric < table.metrics.size(); ++metric) {
        const TableCell& cell = table.cell(row, column, metric);
        cells.push_back({cell_text(table, cell, metric), cell.is_best});
      }
    }
  }
  add_show_columns(table, grid);
  for (std::string& title : grid.header) title = in_one_line(title);
  for (auto& row : grid.rows) {
    for (TableGrid::Cell& cell : row) cell.text = in_one_line(cell.text);
  }
  return grid;
}

std::string format_table(const Table& table, TableFormat format) {
  switch (format) {
    case TableFormat::text:
      return text_form(table);
    case TableFormat::markdown:
      return markdown_form(table);
    case TableFormat::latex:
      return latex_form(table);
    case TableFormat::csv:
      return table_csv(table);
    case TableFormat::json:
      return table_json(table);
  }
  throw BugError("unknown format of a table");
}

}  // namespace rwkvlab
