#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <utility>

#include "base/nearest.h"
#include "config/diagnostics.h"

namespace rwkvlab::cli {
namespace {

// CLI11's own checks of one bound name the largest number that there is.
CLI::Validator number(std::function<bool(double)> is_good, const std::string& wanted, const std::string& name) {
  const auto problem = [is_good = std::move(is_good), wanted](const std::string& text) {
    double value = 0;
    const bool is_number = CLI::detail::lexical_cast(text, value);
    return is_number && is_good(value) ? std::string() : fmt::format("{}: expected {}", text, wanted);
  };
  return {problem, name};
}

}  // namespace

Argument Argument::required() const { return Argument(option_->required()); }
Argument Argument::expected(int count) const { return Argument(option_->expected(count)); }
Argument Argument::positive() const {
  return Argument(option_->check(number([](double value) { return value > 0; }, "more than 0", "POSITIVE")));
}
Argument Argument::not_negative() const {
  return Argument(option_->check(number([](double value) { return value >= 0; }, "0 or more", "NONNEGATIVE")));
}
Argument Argument::between(int least, int most) const { return Argument(option_->check(CLI::Range(least, most))); }
Argument Argument::one_of(const std::vector<std::string>& values) const {
  return Argument(option_->check(CLI::IsMember(values)));
}
Argument Argument::delimiter(char between) const { return Argument(option_->delimiter(between)); }
Argument Argument::one_at_a_time() const { return Argument(option_->allow_extra_args(false)); }
Argument Argument::show_default() const { return Argument(option_->capture_default_str()); }
Argument Argument::type_name(const std::string& name) const { return Argument(option_->type_name(name)); }
Argument Argument::group(const std::string& heading) const { return Argument(option_->group(heading)); }

Argument Argument::at_least(int least) const {
  return Argument(option_->check(number([least](double value) { return value >= least; },
                                        fmt::format("{} or more", least), fmt::format(">= {}", least))));
}

Command Command::command(const std::string& name, const std::string& doc) const {
  return Command(*app_->add_subcommand(name, doc), *chosen_);
}

template <class Value>
Argument Command::option(const std::string& names, Value& value, const std::string& doc) const {
  return Argument(app_->add_option(names, value, doc));
}
template Argument Command::option(const std::string&, int&, const std::string&) const;
template Argument Command::option(const std::string&, std::int64_t&, const std::string&) const;
template Argument Command::option(const std::string&, std::uint64_t&, const std::string&) const;
template Argument Command::option(const std::string&, std::optional<std::uint64_t>&, const std::string&) const;
template Argument Command::option(const std::string&, double&, const std::string&) const;
template Argument Command::option(const std::string&, std::string&, const std::string&) const;
template Argument Command::option(const std::string&, std::filesystem::path&, const std::string&) const;
template Argument Command::option(const std::string&, std::vector<std::int64_t>&, const std::string&) const;
template Argument Command::option(const std::string&, std::vector<std::string>&, const std::string&) const;
template Argument Command::option(const std::string&, std::vector<std::filesystem::path>&, const std::string&) const;

Argument Command::flag(const std::string& names, bool& value, const std::string& doc) const {
  return Argument(app_->add_flag(names, value, doc));
}

void Command::needs_command() const { app_->require_subcommand(1); }

void Command::action(std::function<int()> action) const {
  app_->callback([chosen = chosen_, action = std::move(action)] { *chosen = action; });
}

bool Command::given(const std::string& name) const { return app_->count(name) > 0; }

CommandLine::CommandLine(const std::string& name, const std::string& doc, const std::string& footer,
                         const std::string& version)
    : app_(std::make_unique<CLI::App>(doc, name)) {
  app_->footer(footer);
  app_->set_version_flag("--version", version);
}
CommandLine::~CommandLine() = default;

Command CommandLine::program() { return Command(*app_, chosen_); }

std::string CommandLine::unknown_command(int count, char** words) const {
  const CLI::App* at = app_.get();
  for (int i = 1; i < count && words[i][0] != '-'; ++i) {
    std::vector<std::string> names;
    const CLI::App* next = nullptr;
    for (const CLI::App* const command : at->get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(command->get_name());
      if (command->get_name() == words[i]) next = command;
    }
    if (names.empty()) return "";
    if (next == nullptr) {
      return fmt::format("{} is no command of {}{}. There are: {}", quote(words[i]), at->get_name(),
                         did_you_mean(words[i], names), join_names(names));
    }
    at = next;
  }
  return "";
}

std::optional<int> CommandLine::parse(int count, char** words) {
  try {
    app_->parse(count, words);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return app_->exit(error);
  }
}

}  // namespace rwkvlab::cli
