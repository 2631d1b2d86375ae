#include "kernels/images.h"

#include <algorithm>

#include "kernels/simd.h"

namespace rwkvlab::kernels {
namespace {

// Calls copy(image offset, patch offset, count) for every run of pixels, and pad(patch offset, count) for what lies
// beyond the image.
template <class Copy, class Pad>
void for_runs(const PatchSize& s, Copy copy, Pad pad) {
  const Index rows = s.rows(), columns = s.columns(), p = s.patch;
  parallel_for(s.batch * rows, 1, [&, rows, columns, p](Index begin, Index end) {
    for (Index at = begin; at < end; ++at) {
      const Index b = at / rows, row = at % rows;
      for (Index column = 0; column < columns; ++column) {
        const Index token = (at * columns + column) * s.values();
        const Index width = std::min(p, s.width - column * p);
        for (Index c = 0; c < s.channels; ++c) {
          for (Index i = 0; i < p; ++i) {
            const Index line = row * p + i, to = token + (c * p + i) * p;
            const Index count = line < s.height ? width : 0;
            if (count > 0) copy(((b * s.channels + c) * s.height + line) * s.width + column * p, to, count);
            if (count < p) pad(to + count, p - count);
          }
        }
      }
    }
  });
}

}  // namespace

template <class Real>
void cut_patches(const PatchSize& size, const Real* images, Real* patches) {
  for_runs(
      size, [=](Index image, Index patch, Index count) { std::copy_n(images + image, count, patches + patch); },
      [=](Index patch, Index count) { std::fill_n(patches + patch, count, Real(0)); });
}

template <class Real>
void join_patches(const PatchSize& size, const Real* patches, Real* images) {
  for_runs(
      size, [=](Index image, Index patch, Index count) { std::copy_n(patches + patch, count, images + image); },
      [](Index, Index) {});
}

AxisWeights AxisWeights::transposed() const {
  AxisWeights result;
  result.inputs = outputs();
  std::vector<std::vector<std::pair<Index, double>>> terms(static_cast<std::size_t>(inputs));
  for (Index i = 0; i < outputs(); ++i) {
    for (auto term = static_cast<std::size_t>(begin[static_cast<std::size_t>(i)]);
         term < static_cast<std::size_t>(begin[static_cast<std::size_t>(i) + 1]); ++term) {
      terms[static_cast<std::size_t>(input[term])].emplace_back(i, weight[term]);
    }
  }
  for (const auto& of_input : terms) {
    for (const auto& [output, factor] : of_input) {
      result.input.push_back(output);
      result.weight.push_back(factor);
    }
    result.begin.push_back(static_cast<Index>(result.input.size()));
  }
  return result;
}

template <class Real>
void weigh_axis(const AxisWeights& axis, Index outer, Index inner, const Real* x, Real* out) {
  const Index outputs = axis.outputs(), inputs = axis.inputs;
  const Index* const first = axis.begin.data();
  const Index* const input = axis.input.data();
  const double* const weight = axis.weight.data();
  parallel_simd(outer * outputs, row_grain(inner), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      Real* const to = out + row * inner;
      const Index o = row / outputs, i = row % outputs;
      for (Index n = 0; n < inner; ++n) to[n] = 0;
      for (Index term = first[i]; term < first[i + 1]; ++term) {
        const Real* const from = x + (o * inputs + input[term]) * inner;
        const Real factor = static_cast<Real>(weight[term]);
#pragma omp simd
        for (Index n = 0; n < inner; ++n) to[n] += factor * from[n];
      }
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                   \
  template void cut_patches(const PatchSize&, const Real*, Real*);  \
  template void join_patches(const PatchSize&, const Real*, Real*); \
  template void weigh_axis(const AxisWeights&, Index, Index, const Real*, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)
#undef RWKVLAB_INSTANTIATE

}  // namespace rwkvlab::kernels
