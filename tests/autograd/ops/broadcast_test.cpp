#include "autograd/ops/broadcast.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::check_op;
using test::normal_tensor;

TEST(Broadcast, ForEverySequence) {
  check_op({"for_every_sequence", {{"x", normal_tensor({3, 5}, "x")}}, [](const auto& in) {
              return std::vector{for_every_sequence(in[0], 4)};
            }});
}

TEST(Broadcast, ANegativeBatchIsRefused) {
  const Var x(Tensor::zeros({2, 3}));
  test::expect_shape_error([&] { for_every_sequence(x, -1); }, {"for_every_sequence", "[2, 3]"});
}

}  // namespace
}  // namespace rwkvlab
