#include "train/tensor_loading.h"

#include <fmt/format.h>

#include <unordered_set>

#include "base/error.h"
#include "base/nearest.h"

namespace rwkvlab {
namespace {

constexpr std::size_t listed = 12;

// Gathers the problems of one sort: "3 parameters are missing: a, b, c".
class Problems {
 public:
  explicit Problems(std::string title) : title_(std::move(title)) {}
  void add(const std::string& text) {
    if (++count_ <= listed) list_ += (count_ > 1 ? ", " : "") + text;
  }
  std::string text() const {
    if (count_ == 0) return "";
    return fmt::format("; {} ({}): {}{}", title_, count_, list_, count_ > listed ? ", …" : "");
  }

 private:
  std::string title_, list_;
  std::size_t count_ = 0;
};

std::vector<std::int64_t> without_ones(const Shape& shape) {
  std::vector<std::int64_t> sizes;
  for (const std::int64_t size : shape.sizes()) {
    if (size != 1) sizes.push_back(size);
  }
  return sizes;
}

bool is_integer(DType type) { return type == DType::i64; }

}  // namespace

void check_tensors(const TensorFile& file, const std::vector<ExpectedTensor>& expected, const TensorLoading& options) {
  Problems missing("missing"), wrong("with another shape or type"), unexpected("unexpected");
  std::unordered_set<std::string> known;
  std::vector<std::string> candidates;
  for (const TensorEntry& entry : file.entries()) {
    if (entry.name.starts_with(options.prefix)) candidates.push_back(entry.name.substr(options.prefix.size()));
  }
  for (const auto& [name, shape, type] : expected) {
    known.insert(name);
    const TensorEntry* const entry = file.find(options.prefix + name);
    if (entry == nullptr) {
      missing.add(name + did_you_mean(name, candidates));
    } else if (without_ones(entry->shape) != without_ones(shape)) {
      wrong.add(fmt::format("{} is {}, not {}", name, entry->shape.text(), shape.text()));
    } else if (is_integer(entry->dtype()) != is_integer(type)) {
      wrong.add(fmt::format("{} is stored as {}", name, entry->stored_type));
    }
  }
  if (!options.ignore_unexpected) {
    for (const std::string& name : candidates) {
      if (known.count(name) == 0 && !(options.may_be_extra && options.may_be_extra(name))) unexpected.add(name);
    }
  }
  const std::string problems = missing.text() + wrong.text() + unexpected.text();
  if (!problems.empty()) {
    throw DataError(
        fmt::format("the tensors of '{}' do not fit the model: {}. Use the configuration that the file was "
                    "made with",
                    file.path().string(), problems.substr(2)));
  }
}

void load_tensors(const TensorFile& file, const std::vector<NamedTensor>& targets, const TensorLoading& options) {
  std::vector<ExpectedTensor> expected;
  for (const auto& [name, target] : targets) expected.push_back({name, target.shape(), target.dtype()});
  check_tensors(file, expected, options);
  for (const auto& [name, target] : targets) file.read(options.prefix + name, target);
}

}  // namespace rwkvlab
