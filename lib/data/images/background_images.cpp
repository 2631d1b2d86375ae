#include "data/images/background_images.h"

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"

namespace rwkvlab {
namespace {

// A thread that makes one batch in advance.
class Ahead {
 public:
  using Make = std::function<ImageBatch(std::int64_t index, std::int64_t batch)>;
  // `exists` tells whether there is such a batch.
  using Exists = std::function<bool(std::int64_t index, std::int64_t batch)>;

  Ahead(Make make, Exists exists) : make_(std::move(make)), exists_(std::move(exists)) {}
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;
  ~Ahead() {
    {
      const std::lock_guard lock(mutex_);
      stops_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  ImageBatch get(std::int64_t index, std::int64_t batch) {
    const Request request{index, batch};
    Outcome outcome;
    if (!take(request, outcome)) outcome.batch = make_(index, batch);
    order_next(request);
    if (outcome.error) std::rethrow_exception(outcome.error);
    return std::move(outcome.batch);
  }

 private:
  using Request = std::pair<std::int64_t, std::int64_t>;
  struct Outcome {
    ImageBatch batch;
    std::exception_ptr error;
  };

  // True when the batch was made in advance, or is being made.
  bool take(const Request& request, Outcome& outcome) {
    std::unique_lock lock(mutex_);
    if (ordered_ != request) return false;
    changed_.wait(lock, [&] { return outcome_.has_value() || ordered_ != request; });
    if (ordered_ != request) return false;  // Another caller took it.
    outcome = std::move(*outcome_);
    outcome_.reset();
    ordered_.reset();
    changed_.notify_all();
    return true;
  }

  // The first two requests in a row show that the caller reads on.
  void order_next(const Request& request) {
    const Request next{request.first + 1, request.second};
    const std::lock_guard lock(mutex_);
    const bool reads_on = last_ == Request{request.first - 1, request.second};
    last_ = request;
    // What was ordered before and not fetched is given up, unless the thread is at it.
    if (!reads_on || is_working_ || !exists_(next.first, next.second)) return;
    ordered_ = next;
    outcome_.reset();
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
    changed_.notify_all();
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stops_ || (ordered_ && !outcome_); });
      if (stops_) return;
      const Request request = *ordered_;
      is_working_ = true;
      lock.unlock();
      Outcome outcome;
      try {
        outcome.batch = make_(request.first, request.second);
      } catch (...) {
        outcome.error = std::current_exception();
      }
      lock.lock();
      is_working_ = false;
      outcome_ = std::move(outcome);
      changed_.notify_all();
    }
  }

  Make make_;
  Exists exists_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Request> ordered_, last_;
  std::optional<Outcome> outcome_;  // of `ordered_`
  bool is_working_ = false, stops_ = false;
  std::thread thread_;
};

class BackgroundImages final : public ImageDataSet {
 public:
  explicit BackgroundImages(std::unique_ptr<ImageDataSet> data)
      : data_(std::move(data)),
        training_([this](std::int64_t step, std::int64_t batch) { return data_->training_images(step, batch); },
                  [](std::int64_t, std::int64_t) { return true; }),
        held_out_([this](std::int64_t index, std::int64_t batch) { return data_->held_out_images(index, batch); },
                  [this](std::int64_t index, std::int64_t batch) { return index < data_->held_out_batches(batch); }) {}

  std::int64_t channels() const override { return data_->channels(); }
  std::int64_t height() const override { return data_->height(); }
  std::int64_t width() const override { return data_->width(); }
  std::int64_t classes() const override { return data_->classes(); }
  bool is_dense() const override { return data_->is_dense(); }
  std::int64_t training_images_count() const override { return data_->training_images_count(); }
  std::string describe() const override { return data_->describe(); }
  std::int64_t held_out_batches(std::int64_t batch, std::int64_t limit) const override {
    return data_->held_out_batches(batch, limit);
  }
  ImageBatch training_images(std::int64_t step, std::int64_t batch) const override {
    return ShapeOnly::active() ? data_->training_images(step, batch) : training_.get(step, batch);
  }
  ImageBatch held_out_images(std::int64_t index, std::int64_t batch) const override {
    return ShapeOnly::active() ? data_->held_out_images(index, batch) : held_out_.get(index, batch);
  }

 private:
  std::unique_ptr<ImageDataSet> data_;
  // A cache, no state: what they return depends on their arguments alone.
  mutable Ahead training_, held_out_;
};

}  // namespace

std::unique_ptr<ImageDataSet> in_background(std::unique_ptr<ImageDataSet> data) {
  return std::make_unique<BackgroundImages>(std::move(data));
}

}  // namespace rwkvlab
