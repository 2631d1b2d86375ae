#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <type_traits>

#include "base/error.h"
#include "base/random.h"
#include "tensor/page_arena.h"

namespace rwkvlab {
namespace {

Tensor counting(const Shape& shape) {
  Tensor tensor = Tensor::empty(shape);
  float next = 0;
  for (float& x : tensor.span<float>()) x = next++;
  return tensor;
}

TEST(Shape, SizesAndProducts) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.text(), "[2, 3, 4]");
  EXPECT_EQ(shape.with_last(7), (Shape{2, 3, 7}));
  EXPECT_NE(shape, (Shape{2, 3}));
  EXPECT_NE(shape, (Shape{2, 3, 4, 1}));
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ((Shape{3, 0, 2}).elements(), 0);
}

TEST(Shape, Errors) {
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), ShapeError);
  EXPECT_THROW((Shape{2, -1}), ShapeError);
  EXPECT_THROW((Shape{2, 3}[2]), ShapeError);
  EXPECT_THROW((Shape{2, 3}[-3]), ShapeError);
  EXPECT_THROW(Shape().with_last(1), ShapeError);
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_THROW((Shape{large, large}.elements()), ShapeError);
}

TEST(Tensor, MakesAndConverts) {
  EXPECT_FALSE(Tensor().defined());
  EXPECT_EQ(Tensor::zeros({2, 2}).to_doubles(), std::vector<double>(4, 0.0));
  EXPECT_EQ(Tensor::full({3}, 5, DType::i64).to_doubles(), std::vector<double>(3, 5.0));
  const std::vector<double> values = {0.5, -1.25};
  const Tensor pair = Tensor::from<double>({2}, values);
  EXPECT_EQ(pair.dtype(), DType::f64);
  EXPECT_EQ(pair.to(DType::f32).to_doubles(), values);
  EXPECT_EQ(pair.to(DType::i64).to_doubles(), (std::vector<double>{0, -1}));
  EXPECT_EQ(pair.bytes(), 16u);
  EXPECT_EQ(Tensor::full({1, 1}, 3).item(), 3.0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(counting({5}).data<float>()) % 64, 0u);
}

TEST(Tensor, ViewsShareMemoryAndClonesDoNot) {
  const Tensor tensor = counting({3, 2});
  EXPECT_TRUE(tensor.unique());
  const Tensor view = tensor.reshaped({2, 3});
  EXPECT_FALSE(tensor.unique());
  const Tensor row = tensor.rows(1, 2);
  EXPECT_EQ(row.shape(), (Shape{1, 2}));
  row.data<float>()[0] = 42;
  EXPECT_EQ(view.data<float>()[2], 42);
  const Tensor copy = tensor.clone();
  copy.fill(0);
  EXPECT_EQ(tensor.data<float>()[5], 5);
  tensor.copy_from(copy);
  EXPECT_EQ(view.data<float>()[5], 0);
  EXPECT_EQ(tensor.rows(3, 3).elements(), 0);
  EXPECT_EQ(tensor.to(DType::f32).data<float>(), tensor.data<float>());
}

TEST(Tensor, GrowsWithinItsMemory) {
  const Tensor tensor = Tensor::with_room({2, 2}, 1000);
  EXPECT_EQ(tensor.shape(), (Shape{2, 2}));
  EXPECT_GE(tensor.room(), 1000);
  EXPECT_TRUE(tensor.unique());
  tensor.fill(3);
  const Tensor longer = tensor.stretched({500, 2});
  EXPECT_EQ(longer.data<float>(), tensor.data<float>());
  EXPECT_EQ(longer.rows(1, 3).stretched({1, 1}).item(), 3);
  EXPECT_THROW(longer.stretched({longer.room() + 1}), BugError);
  EXPECT_THROW(Tensor::with_room({5}, 4), BugError);
}

TEST(Tensor, Errors) {
  const Tensor tensor = counting({3, 2});
  const std::vector<float> five(5);
  EXPECT_THROW(Tensor::from<float>({3, 2}, five), ShapeError);
  EXPECT_THROW(tensor.data<double>(), BugError);
  EXPECT_THROW(Tensor().data<float>(), BugError);
  EXPECT_THROW(tensor.item(), ShapeError);
  EXPECT_THROW(tensor.reshaped({5}), ShapeError);
  EXPECT_THROW(tensor.rows(-1, 2), ShapeError);
  EXPECT_THROW(tensor.rows(2, 1), ShapeError);
  EXPECT_THROW(tensor.rows(0, 4), ShapeError);
  EXPECT_THROW(tensor.copy_from(Tensor::zeros({2, 3})), ShapeError);
  EXPECT_THROW(tensor.copy_from(Tensor::zeros({3, 2}, DType::f64)), ShapeError);
  EXPECT_THROW(for_real(DType::i64, [](auto) {}), BugError);
}

TEST(Tensor, ArithmeticGoesThroughItsElementType) {
  bool was_double = false;
  for_real(DType::f64, [&](auto zero) { was_double = std::is_same_v<decltype(zero), double>; });
  EXPECT_TRUE(was_double);
}

TEST(Memory, SteadyStateAsksTheSystemForNothing) {
  release_pooled_memory();
  const MemoryUse before = memory_use();
  for (int step = 0; step < 10; ++step) {
    const Tensor a = Tensor::empty({100, 100});
    // Nearly the same size as a former buffer: it fits the same place in the pool.
    const Tensor b = Tensor::empty({100, 100 + (step % 2)});
    EXPECT_GE(memory_use().live - before.live, 80000);
  }
  const MemoryUse after = memory_use();
  EXPECT_EQ(after.live, before.live);
  EXPECT_LE(after.system_calls - before.system_calls, 2);
  reset_peak_memory();
  EXPECT_EQ(memory_use().peak, memory_use().live);
}

// One large buffer, then two halves, then a third and two thirds: all in the pages of the first.
TEST(Memory, LargeBuffersShareTheirPlaceWhateverTheirSizes) {
  PageArena arena;
  const std::size_t whole = 48 << 20, half = whole / 2, third = whole / 3;
  arena.give(arena.take(whole), whole);
  for (const auto& [first, second] : {std::pair{half, half}, std::pair{third, whole - third}}) {
    std::byte* const a = arena.take(first);
    std::byte* const b = arena.take(second);
    EXPECT_TRUE(a + first <= b || b + second <= a);
    a[0] = a[first - 1] = b[0] = b[second - 1] = std::byte{1};
    arena.give(a, first);
    arena.give(b, second);
  }
  EXPECT_EQ(arena.system_calls(), 1);
  arena.release();
  arena.give(arena.take(PageArena::page), PageArena::page);
  EXPECT_EQ(arena.system_calls(), 2);
}

// Any order of taking and giving back: runs never overlap, and in the end all join again.
TEST(Memory, RunsOfPagesNeverOverlapAndJoinAgain) {
  PageArena arena;
  const RandomStream random(1, "runs");
  std::map<std::byte*, std::size_t> taken;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    if (taken.size() > 20 || (random.below(3 * i, 2) == 0 && !taken.empty())) {
      const auto chosen = std::next(taken.begin(), static_cast<std::ptrdiff_t>(random.below(3 * i + 1, taken.size())));
      arena.give(chosen->first, chosen->second);
      taken.erase(chosen);
    } else {
      const std::size_t bytes = (1 + random.below(3 * i + 2, 300)) * PageArena::page;
      std::byte* const memory = arena.take(bytes);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(memory) % PageArena::page, 0U);
      const auto after = taken.lower_bound(memory);
      ASSERT_TRUE(after == taken.end() || memory + bytes <= after->first);
      ASSERT_TRUE(after == taken.begin() || std::prev(after)->first + std::prev(after)->second <= memory);
      taken.emplace(memory, bytes);
    }
  }
  for (const auto& [memory, bytes] : taken) arena.give(memory, bytes);
  // Never more than 21 runs of 1.2 MB at once: they fit into the first step of growth, which is whole again.
  EXPECT_EQ(arena.system_calls(), 1);
  arena.take(std::size_t{32} << 20);
  EXPECT_EQ(arena.system_calls(), 1);
}

TEST(Memory, PeakCountsWhatLivedAtTheSameTime) {
  reset_peak_memory();
  const std::int64_t before = memory_use().peak;
  for (int i = 0; i < 3; ++i) Tensor::empty({1 << 20});
  const std::int64_t one_at_a_time = memory_use().peak - before;
  EXPECT_GE(one_at_a_time, 4 << 20);
  EXPECT_LT(one_at_a_time, 8 << 20);
}

TEST(Memory, ShapeOnlyTensorsCountButTakeNothing) {
  const std::int64_t huge = std::int64_t{1} << 44;
  const MemoryUse before = memory_use();
  {
    const ShapeOnly guard;
    EXPECT_TRUE(ShapeOnly::active());
    const Tensor tensor = Tensor::zeros({huge});
    EXPECT_EQ(tensor.data<float>(), nullptr);
    EXPECT_EQ(memory_use().live - before.live, huge * 4);
    EXPECT_EQ(tensor.reshaped({2, huge / 2}).rows(1, 2).elements(), huge / 2);
    tensor.fill(1);
    EXPECT_EQ(tensor.clone().to(DType::f64).shape(), tensor.shape());
    bool ran = false;
    for_real(DType::f32, [&](auto) { ran = true; });
    EXPECT_FALSE(ran);
  }
  EXPECT_FALSE(ShapeOnly::active());
  EXPECT_EQ(memory_use().live, before.live);
  EXPECT_EQ(memory_use().system_calls, before.system_calls);
}

}  // namespace
}  // namespace rwkvlab
