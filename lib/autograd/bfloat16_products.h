// Matrix products with operands in bfloat16 and sums in float32: who asks for them, and the operands.
#pragma once

#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "tensor/tensor.h"

namespace rwkvlab {

/// An operand of a matrix product: a tensor, or the values of a float32 tensor rounded to bfloat16. Cheap to copy:
/// copies share the memory.
class ProductOperand {
 public:
  ProductOperand() = default;
  ProductOperand(Tensor values) : values_(std::move(values)) {}  // NOLINT(google-explicit-constructor): any tensor is.
  /// Rounds to nearest even (kernels/bfloat16.h), in memory of its own.
  static ProductOperand rounded(const Tensor& values);
  /// Room for values that a kernel will write: of `type`, or, where `is_bfloat16`, rounded.
  static ProductOperand empty(const Shape& shape, DType type, bool is_bfloat16);

  bool is_bfloat16() const { return rounded_ != nullptr; }
  /// Of operands that were not rounded.
  const Tensor& values() const { return values_; }
  /// Null in shape-only mode.
  kernels::Bfloat16* bfloat16() const;
  /// The memory of either, by its type: float, double or kernels::Bfloat16.
  template <class Operand>
  Operand* data() const {
    if constexpr (std::is_same_v<Operand, kernels::Bfloat16>) {
      return bfloat16();
    } else {
      return values_.data<Operand>();
    }
  }

 private:
  Tensor values_;
  std::shared_ptr<Buffer> rounded_;
};

/// While one of these lives, linear layers of float32 values that this thread runs forward multiply in bfloat16
/// (see reduces()), forward and, whenever that comes, backward. A weight is rounded once in its lifetime, however many
/// products use it; so weights must not change meanwhile: make a new one for every step. Nothing rounded outlives it
/// but what recorded operations keep. May be nested; the newest counts. Not for processors without
/// kernels::has_bfloat16_products().
class Bfloat16Products {
 public:
  /// With `active` false it hides those that live already: for products as they were before those.
  explicit Bfloat16Products(bool active = true);
  ~Bfloat16Products();
  Bfloat16Products(const Bfloat16Products&) = delete;
  Bfloat16Products& operator=(const Bfloat16Products&) = delete;
  /// The newest one of this thread; null: none lives, or it is not active.
  static Bfloat16Products* current();

  /// Whether a layer of this size multiplies in bfloat16. Rounding costs as much as it gains where a side of the weight
  /// is below about 64 (measured: writing and reading a bfloat16 copy takes 0.6 ns per element, and a product of n
  /// columns gains 0.0045 n ns), as in the low-rank adapters.
  static bool reduces(std::int64_t inputs, std::int64_t outputs) { return inputs >= 64 && outputs >= 64; }

  ProductOperand weight(const Tensor& weight);
  /// The input of a layer. The last one is kept for layers in a row that read the same, as query, key and value do.
  ProductOperand input(const Tensor& x);

 private:
  struct Copy {
    Tensor source;  // Held, so that no other tensor can take its address.
    ProductOperand rounded;
  };
  static bool is_of(const Copy& copy, const Tensor& source);

  std::vector<Copy> weights_;  // Some hundreds at most, searched from the start.
  Copy input_;
  bool active_;
  Bfloat16Products* previous_;
};

}  // namespace rwkvlab
