// The data set `pathfinder`: are two dots joined by a path? (arXiv:1805.08315; in Long Range Arena, arXiv:2011.04006.)
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/images/generated/generated_pictures.h"

namespace rwkvlab {
namespace {

struct Params : GeneratedImageParams {
  std::int64_t size = 32, dashes = 6, dash = 3, gap = 1, distractors = 4, distractor_dashes = 3, turn = 2;
  double noise = 0;
};

// 1024 times the cosine of i/32 of a full turn.
constexpr std::array<std::int64_t, 32> cosine = {1024, 1004, 946,  851,  724,   569,   392,   200,  0,    -200, -392,
                                                 -569, -724, -851, -946, -1004, -1024, -1004, -946, -851, -724, -569,
                                                 -392, -200, 0,    200,  392,   569,   724,   851,  946,  1004};

struct Point {
  std::int64_t x = 0, y = 0;  // 1/1024 pixels
};

struct Path {
  std::vector<std::int64_t> drawn;    // pixels of the dashes
  std::vector<std::int64_t> covered;  // and of the gaps between them
  std::int64_t ends[2] = {0, 0};
};

class Generator final : public PictureGenerator {
 public:
  explicit Generator(const Params& p) : p_(p) {}
  std::int64_t channels() const override { return 1; }
  std::int64_t height() const override { return p_.size; }
  std::int64_t width() const override { return p_.size; }
  std::int64_t classes() const override { return 2; }

  std::int64_t generate(Draws& draws, BytePicture& picture, std::span<std::int32_t>) const override {
    const bool is_joined = draws.below(2) == 1;
    std::vector<Path> paths;
    for (int attempt = 0; paths.size() < 2; ++attempt) {
      if (attempt == 200) {
        throw DataError(fmt::format("pathfinder: two paths of {} dashes do not fit into {} x {} pixels", p_.dashes,
                                    p_.size, p_.size));
      }
      paths.clear();
      std::vector<std::uint8_t> taken(picture.values.size());
      while (paths.size() < 2 && add_path(draws, p_.dashes, taken, paths)) {
      }
      // What is left over: distractors, as many as find room.
      for (std::int64_t i = 0; paths.size() >= 2 && i < p_.distractors; ++i) {
        add_path(draws, p_.distractor_dashes, taken, paths);
      }
    }
    for (const Path& path : paths) {
      for (const std::int64_t pixel : path.drawn) picture.values[static_cast<std::size_t>(pixel)] = 255;
    }
    // One end of a path of full length and either its other end or one of the other such path.
    const std::int64_t end = draws.below(2), other = draws.below(2);
    draw_dot(paths[0].ends[end], picture);
    draw_dot(is_joined ? paths[0].ends[1 - end] : paths[1].ends[other], picture);
    add_noise(picture, static_cast<std::int64_t>(p_.noise * 255 * 256), draws);
    return is_joined ? 1 : 0;
  }

 private:
  // Appends a path that keeps away from all others; false when none is found in 50 attempts.
  bool add_path(Draws& draws, std::int64_t dashes, std::vector<std::uint8_t>& taken, std::vector<Path>& paths) const {
    for (int attempt = 0; attempt < 50; ++attempt) {
      Path path;
      if (!walk(draws, dashes, taken, path)) continue;
      for (const std::int64_t pixel : path.covered) mark_around(pixel, 2, taken);
      for (const std::int64_t end : path.ends) mark_around(end, 4, taken);  // room for a dot
      paths.push_back(std::move(path));
      return true;
    }
    return false;
  }

  void mark_around(std::int64_t pixel, std::int64_t reach, std::vector<std::uint8_t>& marks) const {
    const std::int64_t row = pixel / p_.size, column = pixel % p_.size;
    for (std::int64_t y = std::max<std::int64_t>(0, row - reach); y <= std::min(p_.size - 1, row + reach); ++y) {
      for (std::int64_t x = std::max<std::int64_t>(0, column - reach); x <= std::min(p_.size - 1, column + reach);
           ++x) {
        marks[static_cast<std::size_t>(y * p_.size + x)] = 1;
      }
    }
  }

  // From dash to dash the direction changes by up to `turn` steps of 1/32 of a full turn. False where it would leave
  // the picture, come near another path, or meet itself.
  bool walk(Draws& draws, std::int64_t dashes, const std::vector<std::uint8_t>& taken, Path& path) const {
    Point place{draws.below(p_.size * 1024), draws.below(p_.size * 1024)};
    std::int64_t direction = draws.below(32);
    // Pixels of the path's own older part, which it must not come near; those of the last three dashes or gaps are not
    // among them yet.
    std::vector<std::uint8_t> own(taken.size());
    std::array<std::vector<std::int64_t>, 3> recent;
    for (std::int64_t piece = 0; piece < 2 * dashes - 1; ++piece) {
      const bool is_dash = piece % 2 == 0;
      std::vector<std::int64_t>& pixels = recent[static_cast<std::size_t>(piece % 3)];
      for (const std::int64_t pixel : pixels) mark_around(pixel, 1, own);
      pixels.clear();
      if (!step(place, direction, is_dash ? p_.dash : p_.gap, taken, own, pixels)) return false;
      if (piece == 0) path.ends[0] = pixels.front();
      if (is_dash) path.ends[1] = pixels.back();
      path.covered.insert(path.covered.end(), pixels.begin(), pixels.end());
      if (is_dash) path.drawn.insert(path.drawn.end(), pixels.begin(), pixels.end());
      if (is_dash) direction = (direction + 32 + draws.between(-p_.turn, p_.turn)) % 32;
    }
    return true;
  }

  // Goes `length` pixels on and collects those it passes.
  bool step(Point& place, std::int64_t direction, std::int64_t length, const std::vector<std::uint8_t>& taken,
            const std::vector<std::uint8_t>& own, std::vector<std::int64_t>& pixels) const {
    const std::int64_t dx = cosine[static_cast<std::size_t>(direction)],
                       dy = cosine[static_cast<std::size_t>((direction + 24) % 32)];
    for (std::int64_t quarter = 0; quarter < 4 * length; ++quarter) {
      place.x += dx / 4;
      place.y += dy / 4;
      const std::int64_t column = place.x >> 10, row = place.y >> 10;
      // The dots at the ends need a pixel around them.
      if (row < 1 || column < 1 || row >= p_.size - 1 || column >= p_.size - 1) return false;
      const std::int64_t pixel = row * p_.size + column;
      if (taken[static_cast<std::size_t>(pixel)] != 0 || own[static_cast<std::size_t>(pixel)] != 0) return false;
      if (pixels.empty() || pixels.back() != pixel) pixels.push_back(pixel);
    }
    return true;
  }

  void draw_dot(std::int64_t pixel, BytePicture& picture) const {
    for (std::int64_t y = -1; y <= 1; ++y) {
      for (std::int64_t x = -1; x <= 1; ++x) {
        picture.values[static_cast<std::size_t>(pixel + y * p_.size + x)] = 255;
      }
    }
  }

  Params p_;
};

std::string problem(const Params& p) {
  const std::int64_t length = p.dashes * (p.dash + p.gap);
  if (length <= p.size) return "";
  return fmt::format("a path of {} dashes is {} pixels long; expected at most the size, {}", p.dashes, length, p.size);
}

void describe(Fields<Params>& f) {
  f.doc(
      "Two dots and several dashed, winding paths that never touch. Label 1: the dots are the ends of one path; 0: "
      "they "
      "are ends of two paths of the same length. Both cases have the same paths, so only following a path tells them "
      "apart.");
  f.paper("arXiv:1805.08315");
  f.add("size", &Params::size, "height and width; Long Range Arena has 32 and 128", between(16, 1024)).unit("pixels");
  f.add("dashes", &Params::dashes, "dashes of the two paths that may have dots", between(1, 200));
  f.add("dash", &Params::dash, "length of a dash", between(2, 64)).unit("pixels");
  f.add("gap", &Params::gap, "length of a gap between dashes; 0: the paths are lines", between(0, 64)).unit("pixels");
  f.add("distractors", &Params::distractors, "further paths, as far as they find room", between(0, 200));
  f.add("distractor_dashes", &Params::distractor_dashes, "dashes of each of them", between(1, 200));
  f.add("turn", &Params::turn, "largest change of direction from dash to dash, in 1/32 of a full turn", between(0, 8));
  f.add("noise", &Params::noise, "standard deviation of the noise; 1 is the whole range of values", between(0, 0.5));
  describe_generated_images(f);
  f.check(problem, "dashes");
}

const auto registered = generated_kind<Generator, Params>("pathfinder", describe);

}  // namespace
}  // namespace rwkvlab
