// The data set `glyph_pairs`: where neighbours matter in two dimensions, and something far away as well.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/images/generated/generated_pictures.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t side = 3;  // pixels of a glyph
// Nine pixels each, row by row from the highest bit.
constexpr int first_glyph = 0b101010101, second_glyph = 0b010111010, marker = 0b111101111;
constexpr std::array distractors = {0b111010010, 0b100100111, 0b001001111, 0b111000111,
                                    0b110011000, 0b000101111, 0b100010001, 0b011110000};
// Levels of a glyph's background and of its strokes; their distance is the unit of the noise.
constexpr std::int64_t dark = 85, bright = 170;

struct Params : GeneratedImageParams {
  Params() { mean = {1.0 / 3}, deviation = {1.0 / 3}; }
  std::int64_t rows = 8, columns = 8, pairs = 4, markers = 1;
  double noise = 0.3;
};

struct Cell {
  std::int64_t row = 0, column = 0;
};

// The second glyph of a pair lies so from the first: left, right, above, below.
constexpr std::array<Cell, 4> steps = {{{0, -1}, {0, 1}, {-1, 0}, {1, 0}}};

class Generator final : public PictureGenerator {
 public:
  explicit Generator(const Params& p) : p_(p) {}
  std::int64_t channels() const override { return 1; }
  std::int64_t height() const override { return p_.rows * side; }
  std::int64_t width() const override { return p_.columns * side; }
  std::int64_t classes() const override { return 4; }

  std::int64_t generate(Draws& draws, BytePicture& picture, std::span<std::int32_t>) const override {
    std::vector<int> glyphs(static_cast<std::size_t>(p_.rows * p_.columns));
    for (int& glyph : glyphs) {
      glyph = distractors[static_cast<std::size_t>(draws.below(std::int64_t{distractors.size()}))];
    }
    const std::int64_t direction = draws.below(4);
    for (const Cell& place : places(draws)) {
      const Cell& step = steps[static_cast<std::size_t>(direction)];
      glyphs[index(place)] = first_glyph;
      glyphs[index({place.row + step.row, place.column + step.column})] = second_glyph;
    }
    // Left and above, right and below change places.
    const bool is_marked = draws.below(2) == 1 && p_.markers > 0;
    if (is_marked) {
      for (const std::int64_t column : draws.distinct(p_.markers, p_.columns)) {
        glyphs[index({p_.rows - 1, column})] = marker;
      }
    }
    for (std::size_t i = 0; i < glyphs.size(); ++i) draw(glyphs[i], static_cast<std::int64_t>(i), picture);
    add_noise(picture, static_cast<std::int64_t>(p_.noise * static_cast<double>((bright - dark) * 256)), draws);
    return is_marked ? (direction + 2) % 4 : direction;
  }

 private:
  std::size_t index(const Cell& cell) const { return static_cast<std::size_t>(cell.row * p_.columns + cell.column); }

  // Places of the first glyphs: with room for the second one on every side, whatever the direction, and so far apart
  // that glyphs of two pairs never touch. So the places tell nothing about the label.
  std::vector<Cell> places(Draws& draws) const {
    std::vector<Cell> cells;
    for (std::int64_t row = 1; row < p_.rows - 2; ++row) {
      for (std::int64_t column = 1; column < p_.columns - 1; ++column) cells.push_back({row, column});
    }
    // Shuffled, then taken in turn wherever there is room; `problem` makes sure that few attempts are needed.
    std::vector<Cell> chosen;
    while (chosen.size() < static_cast<std::size_t>(p_.pairs)) {
      chosen.clear();
      for (const std::int64_t i :
           draws.distinct(static_cast<std::int64_t>(cells.size()), static_cast<std::int64_t>(cells.size()))) {
        const Cell& cell = cells[static_cast<std::size_t>(i)];
        const bool has_room = std::all_of(chosen.begin(), chosen.end(), [&cell](const Cell& other) {
          return std::abs(cell.row - other.row) + std::abs(cell.column - other.column) >= 3;
        });
        if (has_room) chosen.push_back(cell);
        if (chosen.size() == static_cast<std::size_t>(p_.pairs)) break;
      }
    }
    return chosen;
  }

  void draw(int glyph, std::int64_t cell, BytePicture& picture) const {
    const std::int64_t top = cell / p_.columns * side, left = cell % p_.columns * side;
    for (std::int64_t i = 0; i < side * side; ++i) {
      const bool is_stroke = (glyph >> (side * side - 1 - i) & 1) != 0;
      picture.values[static_cast<std::size_t>((top + i / side) * width() + left + i % side)] =
          static_cast<std::uint8_t>(is_stroke ? bright : dark);
    }
  }

  Params p_;
};

// Random places of X fill about a seventh of a large grid before no more fit; the border of a small one adds some room.
std::string problem(const Params& p) {
  const std::int64_t most = std::max<std::int64_t>(1, (p.rows - 2) * (p.columns - 1) / 8);
  if (p.pairs <= most) return "";
  return fmt::format("{} pairs hardly fit into {} x {} glyphs; expected at most {}", p.pairs, p.rows, p.columns, most);
}

void describe(Fields<Params>& f) {
  f.doc(
      "A grid of glyphs of 3 x 3 pixels among which the glyph + lies beside every glyph X, left, right, above or below "
      "of it: the label (0 to 3). Rings anywhere in the last row, half of the time, exchange left with above and "
      "right "
      "with below. All other cells hold distractors. Neighbours in two dimensions and one far away both matter.");
  f.add("rows", &Params::rows, "glyphs from top to bottom", between(4, 256));
  f.add("columns", &Params::columns, "glyphs from left to right", between(3, 256));
  f.add("pairs", &Params::pairs, "number of pairs", between(1, 1000));
  f.add("markers", &Params::markers,
        "number of rings in the last row where there are any; 0: never, so that only neighbours matter",
        between(0, 256));
  f.add("noise", &Params::noise, "standard deviation of the noise, in units of the glyphs' contrast", between(0, 1));
  describe_generated_images(f);
  f.check(problem, "pairs");
  f.check(
      [](const Params& p) {
        return p.markers <= p.columns
                   ? ""
                   : fmt::format("{} rings do not fit into a row of {} glyphs", p.markers, p.columns);
      },
      "markers");
}

const auto registered = generated_kind<Generator, Params>("glyph_pairs", describe);

}  // namespace
}  // namespace rwkvlab
