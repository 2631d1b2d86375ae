#include "autograd/stored_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace rwkvlab {
namespace {

thread_local const StoredWeights* in_use = nullptr;
thread_local StoredWeights::Survey* surveying = nullptr;

}  // namespace

StoredWeight::StoredWeight(const Tensor& weight, bool input_major, WeightFormat format) {
  check_invariant(weight.shape().rank() == 2, "weights of linear layers are matrices");
  rows_.format = format;
  rows_.outputs = weight.shape()[input_major ? 1 : 0];
  rows_.inputs = weight.shape()[input_major ? 0 : 1];
  words_ = Buffer::allocate(static_cast<std::size_t>(kernels::stored_bytes(format, rows_.outputs, rows_.inputs)));
  if (format == WeightFormat::int8) {
    scales_ = Buffer::allocate(static_cast<std::size_t>(rows_.outputs) * sizeof(float));
  }
  if (ShapeOnly::active()) return;
  const auto values = weight.span<float>();
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    throw DataError(fmt::format("a weight {} holds a value that is NaN or infinite; it cannot be stored as {}",
                                weight.shape().text(), kernels::name(format)));
  }
  auto* const scales = scales_ ? reinterpret_cast<float*>(scales_->data()) : nullptr;
  kernels::store_rows(format, rows_.outputs, rows_.inputs, weight.data<float>(), input_major, words_->data(), scales);
  rows_.words = words_->data();
  rows_.scales = scales;
}

void StoredWeights::store(const Use& use, const Tensor& key) {
  weights_[key.identity()].push_back({key, use.input_major, StoredWeight(use.weight, use.input_major, format_)});
}

const StoredWeight* StoredWeights::find(const Tensor& weight, bool input_major) const {
  const auto found = weights_.find(weight.identity());
  if (found == weights_.end()) return nullptr;
  for (const Entry& entry : found->second) {
    if (entry.input_major == input_major && entry.key.shape() == weight.shape()) return &entry.weight;
  }
  return nullptr;
}

std::int64_t StoredWeights::bytes_read() const {
  std::int64_t bytes = 0;
  for (const auto& [identity, entries] : weights_) {
    for (const Entry& entry : entries) bytes += kernels::bytes_read(entry.weight.rows());
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
