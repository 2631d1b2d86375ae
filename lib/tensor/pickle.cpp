#include "tensor/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "tensor/pickle_values.h"
#include "tensor/tensor_file.h"

namespace rwkvlab::detail {
namespace {

constexpr std::size_t deepest = 64;

// Gathers the tensors of a value and of the containers in it. Each container is entered once, so that one which holds
// itself ends.
class Collector {
 public:
  Collector(const PickleReader& reader, std::size_t pickle_bytes)
      : reader_(reader), names_left_(65536 + 16 * pickle_bytes) {}

  PickledDictionary collect(PickleReference root) {
    if (reader_.value(root).kind != PickleValue::Kind::dictionary)
      reader_.fail("the file holds no dictionary, expected a state dictionary: names and their tensors");
    visit(root, "", 0);
    return std::move(result_);
  }

 private:
  using Kind = PickleValue::Kind;

  void visit(PickleReference reference, const std::string& name, std::size_t depth) {
    const PickleValue& value = reader_.value(reference);
    if (value.kind == Kind::dictionary || value.kind == Kind::sequence) {
      if (depth == deepest) reader_.fail(fmt::format("containers in each other, deeper than {}", deepest));
      if (!entered_.insert(reference).second) return;
      visit_items(value, name, depth);
    } else if (value.kind == Kind::tensor) {
      spend(name.size());
      result_.tensors.push_back(reader_.tensor(value));
      result_.tensors.back().name = name;
    } else if (depth == 1) {
      keep_text(value, name);
    }
  }

  void visit_items(const PickleValue& container, const std::string& name, std::size_t depth) {
    const std::string start = name.empty() ? "" : name + ".";
    const std::size_t step = container.kind == Kind::dictionary ? 2 : 1;
    for (std::size_t i = 0; i < container.items.size(); i += step) {
      const PickleValue& item = reader_.value(container.items[i]);
      const std::string own = step == 1                    ? std::to_string(i)
                              : item.kind == Kind::text    ? checked_key(item.text)
                              : item.kind == Kind::integer ? std::to_string(item.integer)
                                                           : "";
      if (own.empty()) reader_.fail("a dictionary with a key that is no text");
      visit(container.items[i + step - 1], start + own, depth + 1);
    }
  }

  std::string checked_key(std::string_view key) const {
    if (key.empty() || key.size() > 1000)
      reader_.fail(fmt::format("a name of {} bytes, expected 1 to 1000", key.size()));
    return std::string(key);
  }

  // Names may be used many times in a pickle, at a byte or two each; the copies here must not outgrow it without bound.
  void spend(std::size_t bytes) {
    if (bytes > names_left_) reader_.fail("the names of the tensors are longer than the pickle explains");
    names_left_ -= bytes;
  }

  void keep_text(const PickleValue& value, const std::string& name) {
    std::string text;
    if (value.kind == Kind::text) text = std::string(value.text.substr(0, 1000));
    if (value.kind == Kind::integer) text = std::to_string(value.integer);
    if (value.kind == Kind::boolean) text = value.integer != 0 ? "true" : "false";
    if (value.kind == Kind::real) text = fmt::format("{}", value.real);
    spend(name.size() + text.size());
    result_.texts.emplace(name, std::move(text));
  }

  const PickleReader& reader_;
  std::size_t names_left_;
  std::unordered_set<PickleReference> entered_;
  PickledDictionary result_;
};

// Writes the instructions of a pickle of protocol 2.
class PickleWriter {
 public:
  PickleWriter() { text_ = "\x80\x02"; }
  PickleWriter& code(std::string_view codes) {
    text_ += codes;
    return *this;
  }
  PickleWriter& text(std::string_view text) {
    text_ += 'X';
    number(static_cast<std::uint32_t>(text.size()));
    text_ += text;
    return *this;
  }
  PickleWriter& integer(std::int64_t value) {
    if (value >= 0 && value < 256) {
      text_ += 'K';
      number(static_cast<std::uint8_t>(value));
    } else if (value >= 0 && value < 65536) {
      text_ += 'M';
      number(static_cast<std::uint16_t>(value));
    } else if (value >= 0 && value <= 0x7FFFFFFF) {
      text_ += 'J';
      number(static_cast<std::int32_t>(value));
    } else {
      text_ += "\x8a\x08";
      number(value);
    }
    return *this;
  }
  PickleWriter& integers(const std::vector<std::int64_t>& values) {
    code("(");
    for (const std::int64_t value : values) integer(value);
    return code("t");
  }
  std::string take() { return std::move(text_); }

 private:
  template <class T>
  void number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  std::string text_;
};

std::string_view storage_name(std::string_view stored_type) {
  if (stored_type == "F32") return "FloatStorage";
  if (stored_type == "F16") return "HalfStorage";
  if (stored_type == "BF16") return "BFloat16Storage";
  return stored_type == "F64" ? "DoubleStorage" : "LongStorage";
}

std::vector<std::int64_t> row_major_strides(const Shape& shape) {
  std::vector<std::int64_t> strides(static_cast<std::size_t>(shape.rank()));
  std::int64_t stride = 1;
  for (std::size_t i = strides.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<std::int64_t>(shape.sizes()[i], 1);
  }
  return strides;
}

}  // namespace

PickledDictionary parse_pickle(std::string_view bytes, const std::string& file) {
  PickleReader reader(bytes, file);
  const PickleReference root = reader.run();
  return Collector(reader, bytes.size()).collect(root);
}

// {name: torch._utils._rebuild_tensor_v2(<storage>, 0, sizes, strides, False, OrderedDict()), …}
std::string write_pickle(const std::vector<NamedTensor>& tensors, std::optional<FloatFormat> format) {
  PickleWriter writer;
  writer.code("}(");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i].tensor;
    writer.text(tensors[i].name).code("ctorch._utils\n_rebuild_tensor_v2\n((");
    writer.text("storage").code(fmt::format("ctorch\n{}\n", storage_name(stored_type(tensor, format))));
    writer.text(std::to_string(i)).text("cpu").integer(tensor.elements()).code("tQ").integer(0);
    const auto sizes = tensor.shape().sizes();
    writer.integers({sizes.begin(), sizes.end()}).integers(row_major_strides(tensor.shape()));
    writer.code(
        "\x89"
        "ccollections\nOrderedDict\n)RtR");
  }
  writer.code("u.");
  return writer.take();
}

}  // namespace rwkvlab::detail
