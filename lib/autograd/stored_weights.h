// Weights of linear layers in the formats of inference: who asks for them, and where linear() finds them.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "kernels/row_product.h"
#include "tensor/tensor.h"

namespace rwkvlab {

using kernels::WeightFormat;

/// The stored weights of a model, found by the tensor that they replace.
class StoredWeights {
 public:
  /// A use of a weight by a linear layer.
  struct Use {
    Tensor weight;
    bool input_major = false;
  };

  /// Makes room for float32 weights, one after the other in this order, in one piece of memory: a pass that uses them
  /// in the same order reads it from one end to the other, in the large pages that the system gives to large pieces.
  StoredWeights(WeightFormat format, const std::vector<Use>& uses);
  WeightFormat format() const { return format_; }

  /// Stores the next weight, to be found by the identity of `key`: the weight itself, or a tensor without memory that
  /// takes its place. Throws DataError when an element is not finite.
  void store(const Use& use, const Tensor& key);
  /// Null: not stored.
  const kernels::StoredRows* find(const Tensor& weight, bool input_major) const;

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
    kernels::StoredRows rows;
  };
  WeightFormat format_;
  std::shared_ptr<Buffer> words_, scales_;
  std::int64_t used_words_ = 0, used_scales_ = 0;  // bytes, numbers
  std::unordered_map<const void*, std::vector<Entry>> weights_;
};

}  // namespace rwkvlab
