// Pictures that are made rather than read: the same bytes on every machine.
#pragma once

#include <memory>
#include <string>

#include "config/registry.h"
#include "data/images/image_params.h"
#include "data/tasks/draws.h"

namespace rwkvlab {

/// Makes pictures of one size. Const and without hidden state; integers only, so that no machine rounds differently.
class PictureGenerator {
 public:
  virtual ~PictureGenerator() = default;
  virtual std::int64_t channels() const = 0;
  virtual std::int64_t height() const = 0;
  virtual std::int64_t width() const = 0;
  /// Number of different labels.
  virtual std::int64_t classes() const = 0;
  /// Whether every pixel has a label.
  virtual bool is_dense() const { return false; }
  /// For the line that describes the data: what tells this set from others of its kind.
  virtual std::string details() const { return ""; }
  /// Draws on `picture`, which comes with the generator's size, filled with 0, and writes `classes` [height * width],
  /// filled with 0, when it is not empty (dense data). Returns the label, 0 for dense data.
  virtual std::int64_t generate(Draws& draws, BytePicture& picture, std::span<std::int32_t> classes) const = 0;
};

/// Adds noise of the given standard deviation (in 1/256 of a level of 255) to all values, cut to [0, 255]. The sum of
/// four uniform numbers stands for the normal distribution.
void add_noise(BytePicture& picture, std::int64_t deviation, Draws& draws);

std::unique_ptr<DataSet> make_generated_set(const GeneratedImageParams& p, const DataSite& site, const char* kind,
                                            std::shared_ptr<const PictureGenerator> generator);

/// Registers the data of a generator, which is made from parameters P.
template <class Generator, class P, class Describe>
RegisterKind<DataSet, P, DataSite> generated_kind(const char* kind, Describe describe) {
  return {data_slot, kind, describe, [kind](const P& p, const DataSite& site) {
            return make_generated_set(p, site, kind, std::make_shared<const Generator>(p));
          }};
}

}  // namespace rwkvlab
