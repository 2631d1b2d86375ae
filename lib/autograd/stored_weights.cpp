#include "autograd/stored_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace rwkvlab {
namespace {

thread_local const StoredWeights* in_use = nullptr;
thread_local StoredWeights::Survey* surveying = nullptr;

// Sizes alone.
kernels::StoredRows shape_of(const StoredWeights::Use& use, WeightFormat format) {
  const Shape& shape = use.weight.shape();
  check_invariant(shape.rank() == 2, "weights of linear layers are matrices");
  return {format, shape[use.input_major ? 1 : 0], shape[use.input_major ? 0 : 1], nullptr, nullptr};
}

}  // namespace

StoredWeights::StoredWeights(WeightFormat format, const std::vector<Use>& uses) : format_(format) {
  std::int64_t words = 0, scales = 0;
  for (const Use& use : uses) {
    const kernels::StoredRows rows = shape_of(use, format);
    words += kernels::stored_bytes(format, rows.outputs, rows.inputs);
    scales += rows.outputs;
  }
  words_ = Buffer::allocate(static_cast<std::size_t>(words));
  if (format == WeightFormat::int8) scales_ = Buffer::allocate(static_cast<std::size_t>(scales) * sizeof(float));
}

void StoredWeights::store(const Use& use, const Tensor& key) {
  const auto values = use.weight.span<float>();
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    throw DataError(fmt::format("a weight {} holds a value that is NaN or infinite; it cannot be stored as {}",
                                use.weight.shape().text(), kernels::name(format_)));
  }
  kernels::StoredRows rows = shape_of(use, format_);
  std::byte* const words = words_->data() + used_words_;
  float* const scales = scales_ ? reinterpret_cast<float*>(scales_->data()) + used_scales_ : nullptr;
  kernels::store_rows(format_, rows.outputs, rows.inputs, use.weight.data<float>(), use.input_major, words, scales);
  rows.words = words;
  rows.scales = scales;
  used_words_ += kernels::stored_bytes(format_, rows.outputs, rows.inputs);
  used_scales_ += rows.outputs;
  weights_[key.identity()].push_back({key, use.input_major, rows});
}

const kernels::StoredRows* StoredWeights::find(const Tensor& weight, bool input_major) const {
  const auto found = weights_.find(weight.identity());
  if (found == weights_.end()) return nullptr;
  for (const Entry& entry : found->second) {
    if (entry.input_major == input_major && entry.key.shape() == weight.shape()) return &entry.rows;
  }
  return nullptr;
}

std::int64_t StoredWeights::bytes_read() const {
  std::int64_t bytes = 0;
  for (const auto& [identity, entries] : weights_) {
    for (const Entry& entry : entries) bytes += kernels::bytes_read(entry.rows);
  }
  return bytes;
}

StoredWeights::Scope::Scope(const StoredWeights& weights) : previous_(in_use) { in_use = &weights; }
StoredWeights::Scope::~Scope() { in_use = previous_; }
const StoredWeights* StoredWeights::current() { return in_use; }

StoredWeights::Survey::Survey() : previous_(surveying) { surveying = this; }
StoredWeights::Survey::~Survey() { surveying = previous_; }
StoredWeights::Survey* StoredWeights::Survey::current() { return surveying; }

void StoredWeights::Survey::note(const Tensor& weight, bool input_major) {
  const bool known = std::any_of(uses_.begin(), uses_.end(), [&](const Use& use) {
    return use.weight.identity() == weight.identity() && use.input_major == input_major &&
           use.weight.shape() == weight.shape();
  });
  if (!known) uses_.push_back({weight, input_major});
}

}  // namespace rwkvlab
