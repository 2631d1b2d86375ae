// Weights of linear layers in the formats of inference: who asks for them, and where linear() finds them.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "kernels/row_product.h"
#include "tensor/tensor.h"

namespace rwkvlab {

using kernels::WeightFormat;

/// A weight matrix that has been stored for inference.
class StoredWeight {
 public:
  /// weight: float32 [outputs, inputs], or [inputs, outputs] when `input_major`. Throws DataError when an element is
  /// not finite. In shape-only mode only its size is known.
  StoredWeight(const Tensor& weight, bool input_major, WeightFormat format);
  const kernels::StoredRows& rows() const { return rows_; }

 private:
  std::shared_ptr<Buffer> words_, scales_;
  kernels::StoredRows rows_;
};

/// The stored weights of a model, found by the tensor that they replace.
class StoredWeights {
 public:
  /// A use of a weight by a linear layer.
  struct Use {
    Tensor weight;
    bool input_major = false;
  };

  explicit StoredWeights(WeightFormat format) : format_(format) {}
  WeightFormat format() const { return format_; }

  /// Stores a weight under the identity of `weight`; `key` in its place when the tensor is about to be replaced by one
  /// without memory.
  void store(const Use& use, const Tensor& key);
  const StoredWeight* find(const Tensor& weight, bool input_major) const;

  /// Bytes that one pass over all stored weights reads.
  std::int64_t bytes_read() const;
  std::size_t size() const { return weights_.size(); }

  /// While one lives, linear layers of this thread whose weight is stored multiply by what is stored, forward only.
  class Scope {
   public:
    explicit Scope(const StoredWeights& weights);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const StoredWeights* previous_;
  };
  static const StoredWeights* current();

  /// While one lives, lists the weights that linear layers of this thread use, each use once, in their order.
  class Survey {
   public:
    Survey();
    ~Survey();
    Survey(const Survey&) = delete;
    Survey& operator=(const Survey&) = delete;
    const std::vector<Use>& uses() const { return uses_; }
    void note(const Tensor& weight, bool input_major);
    static Survey* current();

   private:
    std::vector<Use> uses_;
    Survey* previous_;
  };

 private:
  struct Entry {
    Tensor key;  // Held, so that no other tensor can take its place.
    bool input_major;
    StoredWeight weight;
  };
  WeightFormat format_;
  std::unordered_map<const void*, std::vector<Entry>> weights_;
};

}  // namespace rwkvlab
