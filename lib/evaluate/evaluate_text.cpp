#include "evaluate/evaluate_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "data/data_set.h"

namespace rwkvlab {
namespace {

// A window of the text: inputs [begin, begin + inputs), of whose targets the last `scored` count.
struct Window {
  std::int64_t begin = 0, inputs = 0, scored = 0;
};

class Reader {
 public:
  Reader(const LanguageModel& model, const TokenText& text, const EvaluationProgress& progress, std::int64_t all)
      : model_(model), text_(text), progress_(progress), all_(all) {}

  // Scores windows as the rows of one batch; `position` maps (window, place in it) to the place in loss_by_position.
  template <class Position>
  void read(std::span<const Window> windows, const ForwardContext& context, Position&& position) {
    std::int64_t longest = 0;
    for (const Window& window : windows) longest = std::max(longest, window.inputs);
    const Shape shape{static_cast<std::int64_t>(windows.size()), longest};
    const Tensor tokens = Tensor::zeros(shape, DType::i64);
    const Tensor targets = Tensor::full(shape, static_cast<double>(no_target), DType::i64);
    for (std::size_t row = 0; row < windows.size(); ++row) fill(windows[row], row, tokens, targets);
    const std::vector<TargetScore> scores = score_targets(model_, tokens, targets, context);
    auto score = scores.begin();
    for (const Window& window : windows) {
      for (std::int64_t i = window.inputs - window.scored; i < window.inputs; ++i) add(*score++, position(window, i));
    }
    if (progress_) progress_(result_.tokens, all_);
  }

  TextEvaluation result() {
    result_.loss = nats_ / static_cast<double>(result_.tokens);
    result_.accuracy = static_cast<double>(right_) / static_cast<double>(result_.tokens);
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      result_.loss_by_position.push_back(counts_[i] == 0 ? std::nan("") : sums_[i] / static_cast<double>(counts_[i]));
    }
    return result_;
  }

 private:
  void fill(const Window& window, std::size_t row, const Tensor& tokens, const Tensor& targets) {
    const auto width = static_cast<std::size_t>(tokens.shape()[1]);
    const auto inputs = static_cast<std::size_t>(window.inputs), scored = static_cast<std::size_t>(window.scored);
    std::vector<std::int64_t> read(inputs + 1);
    text_.read(window.begin, read);
    for (std::size_t i = 0; i < read.size(); ++i) {
      if (read[i] < model_.vocabulary()) continue;
      throw DataError(fmt::format("{}: token {} is {}, outside the {} of the model; is the tokenizer another one?",
                                  text_.names(), window.begin + static_cast<std::int64_t>(i), read[i],
                                  model_.vocabulary()));
    }
    std::copy_n(read.begin(), inputs, tokens.data<std::int64_t>() + row * width);
    const std::span<const std::int64_t> wanted = std::span(read).last(scored);
    std::copy(wanted.begin(), wanted.end(), targets.data<std::int64_t>() + row * width + inputs - scored);
    result_.bytes += text_.bytes_of(wanted);
  }

  void add(const TargetScore& score, std::size_t position) {
    nats_ += score.nats;
    right_ += score.is_first ? 1 : 0;
    ++result_.tokens;
    if (sums_.size() <= position) {
      sums_.resize(position + 1);
      counts_.resize(position + 1);
    }
    sums_[position] += score.nats;
    ++counts_[position];
  }

  const LanguageModel& model_;
  const TokenText& text_;
  const EvaluationProgress& progress_;
  std::int64_t all_;
  TextEvaluation result_;
  double nats_ = 0;
  std::int64_t right_ = 0;
  std::vector<double> sums_;
  std::vector<std::int64_t> counts_;
};

void read_windows(Reader& reader, std::int64_t targets, std::int64_t batch, const TextEvaluationOptions& options) {
  const std::int64_t stride = options.stride == 0 ? options.context : options.stride;
  const auto rows = static_cast<std::size_t>(std::max<std::int64_t>(1, batch / options.context));
  const auto position = [](const Window&, std::int64_t place) { return static_cast<std::size_t>(place); };
  std::vector<Window> windows;
  for (std::int64_t scored = 0, begin = 0; scored < targets; begin += stride) {
    const std::int64_t inputs = std::min(options.context, targets - begin);
    windows.push_back({begin, inputs, begin + inputs - scored});
    scored = begin + inputs;
    if (windows.size() < rows && scored < targets) continue;
    reader.read(windows, {}, position);
    windows.clear();
  }
}

void read_streams(Reader& reader, std::int64_t targets, const TextEvaluationOptions& options) {
  const std::int64_t length = targets / options.streams;
  State carried;
  std::size_t number = 0;
  const auto position = [&number](const Window&, std::int64_t) { return number; };
  for (std::int64_t done = 0; done < length; done += options.context, ++number) {
    std::vector<Window> windows;
    for (std::int64_t stream = 0; stream < options.streams; ++stream) {
      const std::int64_t inputs = std::min(options.context, length - done);
      windows.push_back({stream * length + done, inputs, inputs});
    }
    State left;
    ForwardContext context;
    context.state_in = carried.empty() ? nullptr : &carried;
    context.state_out = &left;
    reader.read(windows, context, position);
    carried = std::move(left);
  }
}

void check(const LanguageModel& model, const TextEvaluationOptions& o) {
  const auto require = [](bool fits, const std::string& what) {
    if (!fits) throw ConfigError(what);
  };
  require(o.context >= 1, fmt::format("a context of {} tokens, expected at least 1", o.context));
  require(o.stride >= 0 && o.stride <= o.context,
          fmt::format("a stride of {}, expected 1 to the context of {}", o.stride, o.context));
  require(o.streams >= 1, fmt::format("{} streams, expected at least 1", o.streams));
  const std::int64_t longest = longest_input(model);
  require(longest == 0 || o.context <= longest,
          fmt::format("a context of {} tokens, but this model has positions for {}", o.context, longest));
  if (!o.carry_state) return;
  require(o.stride == 0 || o.stride == o.context,
          "a carried state leaves nothing for windows to overlap; leave the stride out");
  require(longest == 0, "this model numbers its positions and cannot carry a state; use windows with a stride");
  for (const StatePiece& piece : model.state_pieces()) {
    require(!piece.grows(), fmt::format("the state '{}' of this model grows with every token, without an end; use "
                                        "windows with a stride instead of a carried state",
                                        piece.name));
  }
}

}  // namespace

double TextEvaluation::perplexity() const { return std::exp(loss); }
double TextEvaluation::bits_per_token() const { return loss / std::numbers::ln2; }
double TextEvaluation::bits_per_byte() const {
  return bytes == 0 ? 0 : bits_per_token() * static_cast<double>(tokens) / static_cast<double>(bytes);
}

TextEvaluation evaluate_text(const LanguageModel& model, const TokenText& text, const TextEvaluationOptions& options,
                             const EvaluationProgress& progress) {
  check(model, options);
  const std::int64_t size = options.limit > 0 ? std::min(options.limit, text.size()) : text.size();
  const std::int64_t targets = size - 1;
  if (targets < options.streams) {
    throw DataError(
        fmt::format("{}: {} token{}, expected at least {}, one that is predicted from another in each stream",
                    text.names(), size, size == 1 ? "" : "s", options.streams + 1));
  }
  Reader reader(model, text, progress, targets / options.streams * options.streams);
  if (options.carry_state) {
    read_streams(reader, targets, options);
  } else {
    read_windows(reader, targets, options.tokens_per_batch > 0 ? options.tokens_per_batch : usual_batch(model),
                 options);
  }
  return reader.result();
}

}  // namespace rwkvlab
