#include "autograd/ops/embedding.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

TEST(EmbeddingOps, Gradients) {
  for (const Shape& shape : test::odd_shapes()) {
    // Fewer tokens than places, so that rows repeat and others are never used.
    const Tensor tokens = test::random_tokens({shape[0], shape[1]}, 7, "tokens");
    SCOPED_TRACE(shape.text());
    test::check_op({"embedding", {{"table", normal_tensor({7, shape[2]}, "table")}}, [&](const std::vector<Var>& in) {
                      return std::vector{embedding(tokens, in[0])};
                    }});
    const std::int64_t vocabulary = shape[2] + 6;
    test::check_op({"add_at_tokens",
                    {{"logits", normal_tensor({shape[0], shape[1], vocabulary}, "logits")},
                     {"weights", normal_tensor({shape[0], shape[1], shape[1]}, "weights")}},
                    [&](const std::vector<Var>& in) { return std::vector{add_at_tokens(in[0], in[1], tokens)}; }});
  }
}

TEST(EmbeddingOps, GatherRows) {
  for (const Shape& shape : test::odd_shapes()) {
    SCOPED_TRACE(shape.text());
    // Some rows repeat, others are never used.
    const Tensor rows = test::random_tokens({1, 5}, shape.rows(), "rows").reshaped({5});
    test::check_op({"gather_rows", {{"x", normal_tensor(shape, "x")}}, [&](const std::vector<Var>& in) {
                      return std::vector{gather_rows(in[0], rows)};
                    }});
  }
  const Tensor x = Tensor::from<double>({1, 3, 2}, std::vector<double>{1, 2, 3, 4, 5, 6});
  const Tensor rows = Tensor::from<std::int64_t>({3}, std::vector<std::int64_t>{2, 0, 2});
  const Var y = gather_rows(Var(x), rows);
  EXPECT_EQ(y.shape(), (Shape{1, 3, 2}));
  EXPECT_EQ(y.value().to_doubles(), (std::vector<double>{5, 6, 1, 2, 5, 6}));
  const Tensor wrong = Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{3});
  EXPECT_THROW(gather_rows(Var(x), wrong), BugError);
}

TEST(EmbeddingOps, AddAtTokensIsTheProductWithOneHotTokens) {
  const Tensor tokens = Tensor::from<std::int64_t>({1, 3}, std::vector<std::int64_t>{2, 0, 2});
  const Tensor weights = Tensor::from<double>({1, 3, 3}, std::vector<double>{1, 0, 0, 1, 2, 0, 1, 2, 4});
  const Var logits(Tensor::full({1, 3, 4}, 10, DType::f64));
  EXPECT_EQ(add_at_tokens(logits, Var(weights), tokens).value().to_doubles(),
            (std::vector<double>{10, 10, 11, 10, 12, 10, 11, 10, 12, 10, 15, 10}));
}

TEST(EmbeddingOps, TokensOutsideTheVocabulary) {
  const Var table(Tensor::zeros({5, 3}));
  for (const std::int64_t wrong : {std::int64_t{5}, std::int64_t{-1}}) {
    const Tensor tokens = Tensor::from<std::int64_t>({1, 3}, std::vector<std::int64_t>{0, 4, wrong});
    try {
      embedding(tokens, table);
      ADD_FAILURE();
    } catch (const DataError& error) {
      EXPECT_EQ(std::string(error.what()),
                "token " + std::to_string(wrong) + " at position 2 is outside the vocabulary of 5 tokens");
    }
    EXPECT_THROW(add_at_tokens(Var(Tensor::zeros({1, 3, 5})), Var(Tensor::zeros({1, 3, 3})), tokens), DataError);
  }
}

TEST(EmbeddingOps, ShapeErrorsNameTheOperationAndTheShapes) {
  const Tensor tokens = Tensor::zeros({2, 3}, DType::i64);
  test::expect_shape_error([&] { embedding(tokens, Var(Tensor::zeros({7}))); }, {"embedding", "[7]"});
  test::expect_shape_error([&] { gather_rows(Var(Tensor::zeros({7, 2})), tokens); }, {"gather_rows", "[7, 2]"});
  test::expect_shape_error(
      [&] {
        add_at_tokens(Var(Tensor::zeros({2, 3, 5})), Var(Tensor::zeros({2, 4, 3})), tokens);
      },
      {"add_at_tokens", "[2, 3, 5]", "[2, 4, 3]"});
}

}  // namespace
}  // namespace rwkvlab
