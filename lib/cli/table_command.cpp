// rwkvlab table: the table of a sweep, or of several runs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "analysis/table_format.h"
#include "base/file.h"
#include "cli/commands.h"

namespace rwkvlab::cli {
namespace {

struct TableArguments {
  std::vector<std::filesystem::path> sources;
  std::vector<std::string> rows, columns, metrics, show;
  std::string value, title, best = "auto", format = "text";
  int digits = 0;
  std::filesystem::path output;
};

Argument add_list(const Command& command, const char* name, std::vector<std::string>& list, const char* doc,
                  const char* type) {
  return command.option(name, list, doc).delimiter(',').one_at_a_time().type_name(type);
}

int table(const TableArguments& arguments, const Command& command) {
  TableOptions options;
  options.sources = arguments.sources;
  // --columns "" takes away the columns that the sweep asks for.
  const auto names = [](std::vector<std::string> list) {
    std::erase(list, "");
    return list;
  };
  const auto given = [&command](const char* name) { return command.given(name); };
  if (given("--rows")) options.rows = names(arguments.rows);
  if (given("--columns")) options.columns = names(arguments.columns);
  if (given("--metric")) options.metrics = names(arguments.metrics);
  if (given("--show")) options.show = names(arguments.show);
  if (given("--value")) options.value = arguments.value;
  if (given("--title")) options.title = arguments.title;
  if (given("--digits")) options.digits = arguments.digits;
  options.best = arguments.best;
  const TableFormat format = table_format(arguments.format);
  const std::string text = format_table(make_table(options), format);
  if (arguments.output.empty()) {
    fmt::print("{}", text);
  } else {
    write_atomically(arguments.output, text);
    fmt::print("{}\n", arguments.output.string());
  }
  return success;
}

}  // namespace

void add_table_command(const Command& program) {
  auto arguments = std::make_shared<TableArguments>();
  const Command command =
      program.command("table", "print the results of a sweep or of several runs as a table over seeds");
  command.option("SOURCE", arguments->sources, "a sweep folder, or run folders and run files").required();
  add_list(command, "--metric", arguments->metrics, "metrics of the run file, such as eval/accuracy", "NAME,...");
  add_list(command, "--rows", arguments->rows, "axes that make the rows", "AXIS,...");
  add_list(command, "--columns", arguments->columns, "axes that make the columns", "AXIS,...");
  add_list(command, "--show", arguments->show,
           "further columns: parameters, flops, state, steps, runs, seconds, best_of", "NAME,...");
  command.option("--value", arguments->value, "which record of a run counts: last (default), best or first")
      .type_name("RECORD");
  command.option("--best", arguments->best, "what to mark as best: min, max, none, or auto (known from the metric)")
      .type_name("MODE");
  command.option("--digits", arguments->digits, "decimals; default: as many as the deviations justify").type_name("N");
  command.option("--title", arguments->title, "text above the table").type_name("TEXT");
  command.option("--format", arguments->format, "text, markdown, latex, csv or json").type_name("FORMAT");
  command.option("-o,--output", arguments->output, "file to write instead of printing").type_name("FILE");
  command.action([arguments, command] { return table(*arguments, command); });
}

}  // namespace rwkvlab::cli
