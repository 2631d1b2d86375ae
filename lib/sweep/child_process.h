// A program that runs beside this one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace rwkvlab {

/// A child in a process group of its own, so that Ctrl-C on the terminal reaches this process alone. Reads nothing;
/// both outputs are appended to a file. When the object dies first, the child is interrupted and waited for. Move-only.
class ChildProcess {
 public:
  /// `words[0]` is the program, looked up on PATH when it has no slash. Throws FileError when it cannot be started.
  ChildProcess(const std::vector<std::string>& words, const std::filesystem::path& output);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  /// Does not wait.
  bool has_ended();
  /// Waits. The exit code, or minus the number of the signal that ended the child.
  int wait();
  /// Sends SIGINT.
  void interrupt() const;

 private:
  void finish(int status);
  pid_t pid_ = -1;  // -1: ended, or moved away
  int code_ = 0;
};

/// This program's own file, for starting it again.
std::string own_program();

}  // namespace rwkvlab
