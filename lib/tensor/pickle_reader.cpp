#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "base/error.h"
#include "tensor/pickle_values.h"

namespace rwkvlab::detail {
namespace {

constexpr std::size_t largest_pickle = std::size_t{64} << 20;

}  // namespace

void PickleReader::fail(const std::string& what) const {
  throw DataError(fmt::format("'{}': byte {} of the pickle: {}", file_, instruction_, what));
}

std::string_view PickleReader::take(std::uint64_t count) {
  if (count > bytes_.size() - at_)
    fail(fmt::format("{} bytes are wanted, but only {} follow", count, bytes_.size() - at_));
  const std::string_view taken = bytes_.substr(at_, static_cast<std::size_t>(count));
  at_ += taken.size();
  return taken;
}

std::string_view PickleReader::take_line() {
  const std::size_t end = bytes_.find('\n', at_);
  if (end == std::string_view::npos) fail("a name without an end");
  const std::string_view line = bytes_.substr(at_, end - at_);
  at_ = end + 1;
  return line;
}

template <class T>
T PickleReader::number() {
  T value;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

PickleReference PickleReader::push(PickleValue value) {
  values_.push_back(std::move(value));
  stack_.push_back(static_cast<PickleReference>(values_.size() - 1));
  return stack_.back();
}

PickleReference PickleReader::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("a value is wanted where there is none");
  const PickleReference reference = stack_.back();
  stack_.pop_back();
  return reference;
}

std::vector<PickleReference> PickleReader::pop_to_mark() {
  if (marks_.empty()) fail("a list ends that did not begin");
  std::vector<PickleReference> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return items;
}

PickleValue& PickleReader::top(Kind kind, const char* instruction) {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()) || values_[stack_.back()].kind != kind)
    fail(fmt::format("{} has nothing to work on", instruction));
  return values_[stack_.back()];
}

PickleReference PickleReader::run() {
  if (bytes_.size() > largest_pickle)
    fail(fmt::format("the pickle has {} bytes, expected at most {}", bytes_.size(), largest_pickle));
  while (true) {
    instruction_ = at_;
    const auto code = static_cast<unsigned char>(take(1)[0]);
    if (code == '.') {
      if (!marks_.empty()) fail("the pickle ends inside a list");
      return pop();
    }
    if (!step(code)) {
      fail(
          fmt::format("the instruction 0x{:02x} is none that tensors in plain dictionaries need, so it is refused; it "
                      "may run code",
                      code));
    }
  }
}

bool PickleReader::step(unsigned char code) {
  switch (code) {
    case 0x80:  // PROTO
      if (const int version = number<std::uint8_t>(); version < 2 || version > 5)
        fail(fmt::format("the pickle has protocol {}, expected 2 to 5", version));
      return true;
    case 0x95:  // FRAME
      number<std::uint64_t>();
      return true;
    case '(':  // MARK
      marks_.push_back(stack_.size());
      return true;
    case '0':  // POP
      pop();
      return true;
    default:
      return push_number(code) || push_text(code) || build_container(code) || use_memo(code) || call(code);
  }
}

bool PickleReader::push_number(unsigned char code) {
  PickleValue value;
  value.kind = Kind::integer;
  switch (code) {
    case 'N':
      value.kind = Kind::none;
      break;
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      value.kind = Kind::boolean;
      value.integer = code == 0x88;
      break;
    case 'J':
      value.integer = number<std::int32_t>();
      break;
    case 'K':
      value.integer = number<std::uint8_t>();
      break;
    case 'M':
      value.integer = number<std::uint16_t>();
      break;
    case 0x8a: {  // LONG1
      const std::string_view digits = take(number<std::uint8_t>());
      if (digits.size() > 8) fail(fmt::format("a whole number of {} bytes, expected at most 8", digits.size()));
      std::uint64_t bits = !digits.empty() && (digits.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
      std::memcpy(&bits, digits.data(), digits.size());
      value.integer = static_cast<std::int64_t>(bits);
      break;
    }
    case 'G': {  // BINFLOAT, most significant byte first
      value.kind = Kind::real;
      value.real = std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>()));
      break;
    }
    default:
      return false;
  }
  push(std::move(value));
  return true;
}

void PickleReader::push_text(Kind kind, std::uint64_t count) {
  PickleValue value;
  value.kind = kind;
  value.text = take(count);
  push(std::move(value));
}

bool PickleReader::push_text(unsigned char code) {
  switch (code) {
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
      push_text(Kind::text, number<std::uint32_t>());
      return true;
    case 0x8c:  // SHORT_BINUNICODE
    case 'U':   // SHORT_BINSTRING
      push_text(Kind::text, number<std::uint8_t>());
      return true;
    case 0x8d:  // BINUNICODE8
      push_text(Kind::text, number<std::uint64_t>());
      return true;
    case 'C':  // SHORT_BINBYTES
      push_text(Kind::bytes, number<std::uint8_t>());
      return true;
    case 'B':  // BINBYTES
      push_text(Kind::bytes, number<std::uint32_t>());
      return true;
    default:
      return false;
  }
}

void PickleReader::append_pairs(const std::vector<PickleReference>& pairs) {
  if (pairs.size() % 2 != 0) fail("a key without a value");
  std::vector<PickleReference>& items = top(Kind::dictionary, "SETITEMS").items;
  items.insert(items.end(), pairs.begin(), pairs.end());
}

bool PickleReader::build_container(unsigned char code) {
  PickleValue value;
  value.kind = Kind::sequence;
  switch (code) {
    case '}':  // EMPTY_DICT
      value.kind = Kind::dictionary;
      break;
    case ']':  // EMPTY_LIST
    case ')':  // EMPTY_TUPLE
      break;
    case 't':  // TUPLE
      value.items = pop_to_mark();
      break;
    case 0x85:  // TUPLE1
    case 0x86:
    case 0x87: {
      value.items.resize(code - 0x84u);
      for (auto item = value.items.rbegin(); item != value.items.rend(); ++item) *item = pop();
      break;
    }
    case 'a': {  // APPEND
      const PickleReference item = pop();
      top(Kind::sequence, "APPEND").items.push_back(item);
      return true;
    }
    case 'e': {  // APPENDS
      const std::vector<PickleReference> items = pop_to_mark();
      std::vector<PickleReference>& into = top(Kind::sequence, "APPENDS").items;
      into.insert(into.end(), items.begin(), items.end());
      return true;
    }
    case 's': {  // SETITEM
      const PickleReference item = pop(), key = pop();
      append_pairs({key, item});
      return true;
    }
    case 'u':  // SETITEMS
      append_pairs(pop_to_mark());
      return true;
    default:
      return false;
  }
  push(std::move(value));
  return true;
}

bool PickleReader::use_memo(unsigned char code) {
  switch (code) {
    case 'q':     // BINPUT
    case 'r':     // LONG_BINPUT
    case 0x94: {  // MEMOIZE
      const std::uint32_t key = code == 'q'   ? number<std::uint8_t>()
                                : code == 'r' ? number<std::uint32_t>()
                                              : static_cast<std::uint32_t>(memo_.size());
      if (stack_.empty()) fail("a value is to be remembered where there is none");
      memo_[key] = stack_.back();
      return true;
    }
    case 'h':    // BINGET
    case 'j': {  // LONG_BINGET
      const std::uint32_t key = code == 'h' ? number<std::uint8_t>() : number<std::uint32_t>();
      const auto found = memo_.find(key);
      if (found == memo_.end()) fail(fmt::format("the value {} is used before it is remembered", key));
      stack_.push_back(found->second);
      return true;
    }
    default:
      return false;
  }
}

bool PickleReader::call(unsigned char code) {
  switch (code) {
    case 'c': {  // GLOBAL
      const std::string_view module = take_line(), name = take_line();
      push_function(module, name);
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const PickleReference name = pop(), module = pop();
      if (values_[name].kind != Kind::text || values_[module].kind != Kind::text) fail("a function without a name");
      push_function(values_[module].text, values_[name].text);
      return true;
    }
    case 'Q':  // BINPERSID
      load_persistent();
      return true;
    case 'R':  // REDUCE
      reduce();
      return true;
    case 'b':  // BUILD: attributes of an ordered dictionary, such as the version of each module
      pop();
      top(Kind::dictionary, "BUILD");
      return true;
    default:
      return false;
  }
}

}  // namespace rwkvlab::detail
