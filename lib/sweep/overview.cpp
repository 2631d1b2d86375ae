#include "sweep/overview.h"

#include <fmt/format.h>
#include <unistd.h>

#include "run/progress.h"

namespace rwkvlab {

Overview::Overview(int descriptor) : descriptor_(descriptor), is_terminal_(isatty(descriptor) == 1) {}

// Back to the first live line, and everything from there gone.
std::string Overview::erased() const { return live_.empty() ? "" : fmt::format("\033[{}F\033[J", live_.size()); }

std::string Overview::drawn() const {
  const std::size_t width = terminal_width(descriptor_);
  std::string text;
  for (const std::string& line : live_) text += cut_to(line, width) + "\n";
  return text;
}

void Overview::line(const std::string& text) { write_to(descriptor_, erased() + text + "\n" + drawn()); }

void Overview::live(std::vector<std::string> lines) {
  if (!is_terminal_ || lines == live_) return;
  std::string text = erased();
  live_ = std::move(lines);
  write_to(descriptor_, text + drawn());
}

std::string cut_to(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  while (width > 0 && (static_cast<unsigned char>(text[width]) & 0xC0) == 0x80) --width;
  return text.substr(0, width);
}

}  // namespace rwkvlab
