#include "kernels/tile_product.h"

#include <utility>

#include "kernels/clones.h"

namespace rwkvlab::kernels {
namespace {

/// `lanes` numbers; meant to be one register.
template <class Real, int lanes>
struct VectorOf {
  typedef Real type  // NOLINT(modernize-use-using): the attribute needs it.
      __attribute__((vector_size(lanes * sizeof(Real)), aligned(alignof(Real)), may_alias));
};
template <class Real, int lanes>
using Vector = typename VectorOf<Real, lanes>::type;

template <int... index, class Body>
RWKVLAB_INLINE void unrolled(std::integer_sequence<int, index...>, const Body& body) {
  (body(std::integral_constant<int, index>()), ...);
}
/// body(0), ..., body(count - 1) with constants, so that arrays indexed by them are registers.
template <int count, class Body>
RWKVLAB_INLINE void unrolled(const Body& body) {
  unrolled(std::make_integer_sequence<int, count>(), body);
}

template <class Real>
struct Product {
  Index rows, columns, depth;
  TileLeft<Real> a;
  const Real* b;
  Index b_row;
  Real* c;
  Index c_row;
};

/// `rows` rows and `vectors` vectors of columns, whose sums stay in registers.
template <bool add, int lanes, int rows, int vectors, class Real>
RWKVLAB_INLINE void product_block(const Product<Real>& p, Index row, Index column) {
  using Lanes = Vector<Real, lanes>;
  const Real* const a = p.a.at + row * p.a.row;
  const Real* const b = p.b + column;
  Real* const c = p.c + row * p.c_row + column;
  Lanes sums[rows * vectors];
  unrolled<rows * vectors>([&](auto at) RWKVLAB_INLINE_LAMBDA {
    if constexpr (add) {
      sums[at] = *reinterpret_cast<const Lanes*>(c + at / vectors * p.c_row + at % vectors * lanes);
    } else {
      sums[at] = Lanes{};
    }
  });
  for (Index k = 0; k < p.depth; ++k) {
    Lanes right[vectors];
    unrolled<vectors>(
        [&](auto v) RWKVLAB_INLINE_LAMBDA { right[v] = *reinterpret_cast<const Lanes*>(b + k * p.b_row + v * lanes); });
    unrolled<rows>([&](auto i) RWKVLAB_INLINE_LAMBDA {
      const Real left = a[i * p.a.row + k * p.a.step];
      unrolled<vectors>([&](auto v) RWKVLAB_INLINE_LAMBDA { sums[i * vectors + v] += left * right[v]; });
    });
  }
  unrolled<rows * vectors>([&](auto at) RWKVLAB_INLINE_LAMBDA {
    *reinterpret_cast<Lanes*>(c + at / vectors * p.c_row + at % vectors * lanes) = sums[at];
  });
}

/// Columns from `column` on in blocks of `vectors` vectors, as far as they go. Returns where they end.
template <bool add, int lanes, int rows, int vectors, class Real>
RWKVLAB_INLINE Index product_columns(const Product<Real>& p, Index column) {
  for (; column + vectors * lanes <= p.columns; column += vectors * lanes) {
    for (Index row = 0; row < p.rows; row += rows) product_block<add, lanes, rows, vectors>(p, row, column);
  }
  return column;
}

/// With 32 registers: up to 16 sums.
template <bool add, int lanes, class Real>
RWKVLAB_INLINE void product_wide(const Product<Real>& p) {
  Index column = product_columns<add, lanes, 4, 4>(p, 0);
  column = product_columns<add, lanes, 8, 2>(p, column);
  product_columns<add, lanes, 16, 1>(p, column);
}
/// With 16 registers: 8 sums.
template <bool add, int lanes, class Real>
RWKVLAB_INLINE void product_narrow(const Product<Real>& p) {
  product_columns<add, lanes, 4, 2>(p, 0);
}

template <bool add, class Real>
void product_baseline(const Product<Real>& p) {
  product_narrow<add, 16 / sizeof(Real)>(p);
}

#if defined(RWKVLAB_HAS_CLONES)
// Clones of one function would share one vector width, and vectors wider than the registers are slow.
template <bool add, class Real>
__attribute__((target("arch=x86-64-v3"))) void product_v3(const Product<Real>& p) {
  product_narrow<add, 32 / sizeof(Real)>(p);
}
template <bool add, class Real>
__attribute__((target("arch=x86-64-v4"))) void product_v4(const Product<Real>& p) {
  product_wide<add, 64 / sizeof(Real)>(p);
}
template <bool add, class Real>
auto chosen_product() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return &product_v4<add, Real>;
  return __builtin_cpu_supports("x86-64-v3") ? &product_v3<add, Real> : &product_baseline<add, Real>;
}
#else
template <bool add, class Real>
auto chosen_product() {
  return &product_baseline<add, Real>;
}
#endif

template <class Real>
RWKVLAB_CLONES void transpose(Index rows, Index columns, const Real* from, Index from_row, Real* to, Index to_row) {
  for (Index i = 0; i < rows; i += tile_lanes) {
    for (Index j = 0; j < columns; ++j) {
      for (Index lane = 0; lane < tile_lanes; ++lane) to[j * to_row + i + lane] = from[(i + lane) * from_row + j];
    }
  }
}

}  // namespace

template <bool add, class Real>
void tile_product(Index rows, Index columns, Index depth, const TileLeft<Real>& a, const Real* b, Index b_row, Real* c,
                  Index c_row) {
  static const auto product = chosen_product<add, Real>();
  product({rows, columns, depth, a, b, b_row, c, c_row});
}

template <class Real>
void tile_transpose(Index rows, Index columns, const Real* from, Index from_row, Real* to, Index to_row) {
  transpose(rows, columns, from, from_row, to, to_row);
}

template void tile_product<false>(Index, Index, Index, const TileLeft<float>&, const float*, Index, float*, Index);
template void tile_product<true>(Index, Index, Index, const TileLeft<float>&, const float*, Index, float*, Index);
template void tile_product<false>(Index, Index, Index, const TileLeft<double>&, const double*, Index, double*, Index);
template void tile_product<true>(Index, Index, Index, const TileLeft<double>&, const double*, Index, double*, Index);
template void tile_transpose<float>(Index, Index, const float*, Index, float*, Index);
template void tile_transpose<double>(Index, Index, const double*, Index, double*, Index);

}  // namespace rwkvlab::kernels
