// What torch.save calls in a pickle: the few functions that make tensors of storages.
#include <fmt/format.h>

#include "base/error.h"
#include "tensor/pickle_values.h"
#include "tensor/tensor_file.h"

namespace rwkvlab::detail {
namespace {

struct StorageType {
  std::string_view name, stored_type;
};
constexpr std::array<StorageType, 10> storage_types = {{{"FloatStorage", "F32"},
                                                        {"HalfStorage", "F16"},
                                                        {"BFloat16Storage", "BF16"},
                                                        {"DoubleStorage", "F64"},
                                                        {"LongStorage", "I64"},
                                                        {"IntStorage", "I32"},
                                                        {"ShortStorage", "I16"},
                                                        {"CharStorage", "I8"},
                                                        {"ByteStorage", "U8"},
                                                        {"BoolStorage", "BOOL"}}};

constexpr std::string_view rebuild_parameter = "torch._utils _rebuild_parameter";
constexpr std::string_view ordered_dictionary = "collections OrderedDict";
constexpr std::size_t most_arguments = 8;
constexpr std::string_view torch_size = "torch Size";
// What torch.save calls to make tensors and dictionaries.
constexpr std::array<std::string_view, 6> functions = {"torch._utils _rebuild_tensor_v2",
                                                       "torch._utils _rebuild_tensor",
                                                       rebuild_parameter,
                                                       "torch._utils _rebuild_parameter_with_state",
                                                       ordered_dictionary,
                                                       torch_size};

}  // namespace

void PickleReader::push_function(std::string_view module, std::string_view name) {
  PickleValue value;
  const auto is = [&](std::string_view known) {
    return known.size() == module.size() + 1 + name.size() && known.starts_with(module) && known.ends_with(name) &&
           known[module.size()] == ' ';
  };
  for (const std::string_view known : functions) {
    if (!is(known)) continue;
    value.kind = Kind::function;
    value.text = known;
  }
  for (const StorageType& type : storage_types) {
    if (module != "torch" || name != type.name) continue;
    value.kind = Kind::storage_type;
    value.text = type.stored_type;
  }
  if (value.kind == Kind::none) {
    fail(
        fmt::format("the name {} is none that tensors in plain dictionaries need, so the file is refused; it may run "
                    "code, or hold a whole model or numbers of another kind: save a state dictionary of float tensors",
                    shown(std::string(module.substr(0, 60)) + "." + std::string(name.substr(0, 60)))));
  }
  push(std::move(value));
}

const PickleValue& PickleReader::argument(const std::vector<PickleReference>& arguments, std::size_t index,
                                          Kind kind) const {
  if (index >= arguments.size() || values_[arguments[index]].kind != kind)
    fail(fmt::format("argument {} of a call is missing or of another kind than torch.save writes", index + 1));
  return values_[arguments[index]];
}

std::vector<std::int64_t> PickleReader::integers(const PickleValue& sequence) const {
  if (sequence.items.size() > Shape::max_rank)
    fail(fmt::format("a tensor of {} dimensions, expected at most {}", sequence.items.size(), Shape::max_rank));
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < sequence.items.size(); ++i)
    result.push_back(argument(sequence.items, i, Kind::integer).integer);
  return result;
}

// (storage, offset, sizes, strides, …)
void PickleReader::rebuild_tensor(const std::vector<PickleReference>& arguments) {
  const PickleValue& storage = argument(arguments, 0, Kind::storage);
  PickledTensor tensor;
  tensor.stored_type = storage.text;
  tensor.storage = storage.key;
  tensor.storage_elements = storage.integer;
  tensor.offset = argument(arguments, 1, Kind::integer).integer;
  tensor.sizes = integers(argument(arguments, 2, Kind::sequence));
  tensor.strides = integers(argument(arguments, 3, Kind::sequence));
  tensors_.push_back(std::move(tensor));
  PickleValue value;
  value.kind = Kind::tensor;
  value.integer = static_cast<std::int64_t>(tensors_.size() - 1);
  push(std::move(value));
}

void PickleReader::reduce() {
  const PickleReference given = pop(), function = pop();
  if (values_[function].kind != Kind::function || values_[given].kind != Kind::sequence)
    fail("something is called that is no function for tensors");
  const std::string_view name = values_[function].text;
  if (values_[given].items.size() > most_arguments) fail("a call with more arguments than torch.save writes");
  const std::vector<PickleReference> arguments = values_[given].items;
  if (name == ordered_dictionary) {
    if (!arguments.empty()) fail("an ordered dictionary that does not begin empty");
    PickleValue value;
    value.kind = Kind::dictionary;
    push(std::move(value));
  } else if (name.starts_with(rebuild_parameter)) {
    argument(arguments, 0, Kind::tensor);
    stack_.push_back(arguments[0]);
  } else if (name == torch_size) {
    argument(arguments, 0, Kind::sequence);
    stack_.push_back(arguments[0]);
  } else {
    rebuild_tensor(arguments);
  }
}

// ('storage', type, key, place, elements)
void PickleReader::load_persistent() {
  const PickleReference given = pop();
  if (values_[given].kind != Kind::sequence) fail("a persistent id that is no storage");
  const std::vector<PickleReference>& id = values_[given].items;
  if (argument(id, 0, Kind::text).text != "storage") fail("a persistent id that is no storage");
  PickleValue value;
  value.kind = Kind::storage;
  value.text = argument(id, 1, Kind::storage_type).text;
  value.key = argument(id, 2, Kind::text).text;
  value.integer = argument(id, 4, Kind::integer).integer;
  if (value.integer < 0) fail("a storage with a negative number of elements");
  push(std::move(value));
}

}  // namespace rwkvlab::detail
