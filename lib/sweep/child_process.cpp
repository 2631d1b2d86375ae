#include "sweep/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/error.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace rwkvlab {
namespace fs = std::filesystem;

ChildProcess::ChildProcess(const std::vector<std::string>& words, const fs::path& output) {
  std::vector<std::string> copy = words;
  std::vector<char*> pointers;
  for (std::string& word : copy) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  const int failure = posix_spawnp(&pid_, pointers[0], &actions, &attributes, pointers.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failure == 0) return;
  pid_ = -1;
  throw FileError(fmt::format("cannot start '{}': {}", words[0], strerror(failure)));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)), code_(other.code_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(code_, other.code_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  interrupt();
  wait();
}

void ChildProcess::finish(int status) {
  pid_ = -1;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool ChildProcess::has_ended() {
  int status = 0;
  if (pid_ >= 0 && waitpid(pid_, &status, WNOHANG) == pid_) finish(status);
  return pid_ < 0;
}

int ChildProcess::wait() {
  int status = 0;
  while (pid_ >= 0) {
    const pid_t ended = waitpid(pid_, &status, 0);
    if (ended == pid_) finish(status);
    if (ended < 0 && errno != EINTR) pid_ = -1;
  }
  return code_;
}

void ChildProcess::interrupt() const {
  if (pid_ >= 0) kill(pid_, SIGINT);
}

std::string own_program() {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error);
  // A program that was replaced while it runs is still behind the link.
  return error || !fs::exists(path, error) ? "/proc/self/exe" : path.string();
}

}  // namespace rwkvlab
