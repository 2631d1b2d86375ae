// What a person sees of a running sweep.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rwkvlab {

/// Finished lines, and below them, on a terminal, a few that are drawn again and again.
class Overview {
 public:
  explicit Overview(int descriptor);

  bool is_live() const { return is_terminal_; }
  /// A line that stays.
  void line(const std::string& text);
  /// The lines below; nothing when the output is no terminal.
  void live(std::vector<std::string> lines);

 private:
  std::string erased() const;
  std::string drawn() const;
  int descriptor_;
  bool is_terminal_;
  std::vector<std::string> live_;
};

/// At most `width` bytes of a text, cut between letters.
std::string cut_to(const std::string& text, std::size_t width);

}  // namespace rwkvlab
