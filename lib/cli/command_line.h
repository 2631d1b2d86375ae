// The command line: commands, their options, flags and words. Only command_line.cpp includes CLI11, whose header keeps
// the compiler busy for longer than a sub-command does.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace rwkvlab::cli {

/// An option, flag or word of a command: a handle, valid as long as the CommandLine. Each function says one more thing
/// about it. What the user then gives against it ends the program with a message before any action.
class Argument {
 public:
  explicit Argument(CLI::Option* option) : option_(option) {}

  Argument required() const;
  /// The number of values, for lists.
  Argument expected(int count) const;
  Argument positive() const;
  Argument not_negative() const;
  Argument at_least(int least) const;
  Argument between(int least, int most) const;
  Argument one_of(const std::vector<std::string>& values) const;
  /// For lists: "a,b" are two values.
  Argument delimiter(char between) const;
  /// For lists: the option is repeated for each value, so that the word after it is not taken.
  Argument one_at_a_time() const;

  /// In --help: the default, what stands for the value, and the heading ("": not listed).
  Argument show_default() const;
  Argument type_name(const std::string& name) const;
  Argument group(const std::string& heading) const;

 private:
  CLI::Option* option_;
};

/// A command of the program, or the program itself: a handle, too.
class Command {
 public:
  Command(CLI::App& app, std::function<int()>& chosen) : app_(&app), chosen_(&chosen) {}

  Command command(const std::string& name, const std::string& doc) const;
  /// `names`: "MODEL" (a word), "--model", "-m,--model" or "MODEL,--model". The value is written into `value` when the
  /// command line is read; a std::vector takes several. Types: those that command_line.cpp lists.
  template <class Value>
  Argument option(const std::string& names, Value& value, const std::string& doc) const;
  Argument flag(const std::string& names, bool& value, const std::string& doc) const;
  /// It does nothing itself: one of its commands must follow.
  void needs_command() const;
  /// What the program does if this command is given; the result is the exit code.
  void action(std::function<int()> action) const;
  /// Whether the command line names this option.
  bool given(const std::string& name) const;

 private:
  CLI::App* app_;
  std::function<int()>* chosen_;
};

/// The command line of the program. Declare everything through program(), then parse(), then run().
class CommandLine {
 public:
  CommandLine(const std::string& name, const std::string& doc, const std::string& footer, const std::string& version);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command program();
  /// What is wrong with a word that stands where a command must, or "". parse() would only say that one is required.
  std::string unknown_command(int count, char** words) const;
  /// Nothing if there is something to run; 0 after --help or --version, another number after a message about a mistake.
  std::optional<int> parse(int count, char** words);
  /// The action of the command that was given.
  int run() const { return chosen_(); }

 private:
  std::unique_ptr<CLI::App> app_;
  std::function<int()> chosen_;
};

}  // namespace rwkvlab::cli
