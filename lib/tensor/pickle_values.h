// The values that the stack machine of a pickle makes. Used by the files pickle*.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/pickle.h"

namespace rwkvlab::detail {

using PickleReference = std::uint32_t;  // a place in PickleReader's list of values

struct PickleValue {
  enum class Kind : std::uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    sequence,
    dictionary,
    function,
    storage_type,
    storage,
    tensor
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  ///< boolean, integer; storage: its elements; tensor: place in the list of tensors
  double real = 0;
  std::string_view text;               ///< text; function; storage_type and storage: type of the elements
  std::string_view key;                ///< storage: key of its record
  std::vector<PickleReference> items;  ///< sequence: values; dictionary: keys and values in turn
};

/// A stack machine that runs the instructions of a pickle which plain data and tensors need.
class PickleReader {
 public:
  PickleReader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}
  /// Runs the pickle; the value that it ends with.
  PickleReference run();

  const PickleValue& value(PickleReference reference) const { return values_[reference]; }
  const PickledTensor& tensor(const PickleValue& value) const {
    return tensors_[static_cast<std::size_t>(value.integer)];
  }
  /// Throws DataError naming the file and the byte that was reached.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  using Kind = PickleValue::Kind;
  bool step(unsigned char code);
  bool push_number(unsigned char code);
  bool push_text(unsigned char code);
  bool build_container(unsigned char code);
  bool use_memo(unsigned char code);
  bool call(unsigned char code);

  std::string_view take(std::uint64_t count);
  std::string_view take_line();
  template <class T>
  T number();
  PickleReference push(PickleValue value);
  void push_text(Kind kind, std::uint64_t count);
  PickleReference pop();
  std::vector<PickleReference> pop_to_mark();
  PickleValue& top(Kind kind, const char* instruction);
  void append_pairs(const std::vector<PickleReference>& pairs);

  void push_function(std::string_view module, std::string_view name);
  void reduce();
  void rebuild_tensor(const std::vector<PickleReference>& arguments);
  void load_persistent();
  const PickleValue& argument(const std::vector<PickleReference>& arguments, std::size_t index, Kind kind) const;
  std::vector<std::int64_t> integers(const PickleValue& sequence) const;

  std::string_view bytes_;
  std::string file_;
  std::size_t at_ = 0, instruction_ = 0;
  std::vector<PickleValue> values_;
  std::vector<PickledTensor> tensors_;
  std::vector<PickleReference> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleReference> memo_;
};

}  // namespace rwkvlab::detail
