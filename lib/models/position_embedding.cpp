#include "models/position_embedding.h"

#include <fmt/format.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/embedding.h"
#include "base/error.h"
#include "nn/layers.h"

namespace rwkvlab {

PositionEmbedding::PositionEmbedding(std::int64_t limit, std::int64_t channels, Initialiser initial)
    : limit_(limit),
      channels_(channels),
      weight_(parameter("weight", {limit, channels}, std::move(initial), matrix_rules())) {
  state("position", {1});
}

// The numbers of the tokens of a chunk, [batch, time].
Tensor PositionEmbedding::positions(const Var& before, std::int64_t batch, std::int64_t time) const {
  const Tensor numbers = Tensor::empty({batch, time}, DType::i64);
  const bool counts = before.defined() && !ShapeOnly::active();
  const std::vector<double> starts =
      counts ? before.value().to_doubles() : std::vector<double>(static_cast<std::size_t>(batch), 0.0);
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto start = static_cast<std::int64_t>(starts[static_cast<std::size_t>(b)]);
    if (start + time > limit_) {
      throw ConfigError(
          fmt::format("a sequence of {} tokens is longer than the model's {} learned positions; set "
                      "model.max_length: {} before training, or shorten the sequences",
                      start + time, limit_, start + time));
    }
    for (std::int64_t t = 0; t < time && !ShapeOnly::active(); ++t) {
      numbers.data<std::int64_t>()[b * time + t] = start + t;
    }
  }
  return numbers;
}

Var PositionEmbedding::forward(const Var& x, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    const std::int64_t batch = x.shape()[0], time = x.shape()[1];
    const Var before = read_state(context, "position");
    if (wants_state(context)) {
      const Tensor after = before.defined() ? before.value().clone() : Tensor::zeros({batch, 1}, x.dtype());
      for_real(after.dtype(), [&]<class Real>(Real) {
        for (std::int64_t b = 0; b < batch && !ShapeOnly::active(); ++b)
          after.data<Real>()[b] += static_cast<Real>(time);
      });
      write_state(context, "position", Var(after));
    }
    Var y = add(x, embedding(positions(before, batch, time), weight_.var));
    probe(context, "output", y);
    return y;
  });
}

std::string PositionEmbedding::summary() const { return fmt::format("{} positions, {} channels", limit_, channels_); }

}  // namespace rwkvlab
