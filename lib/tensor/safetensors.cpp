#include "tensor/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"
#include "tensor/safetensors_header.h"

namespace rwkvlab {
namespace {

std::size_t element_size(const NamedTensor& tensor, std::optional<FloatFormat> format) {
  return detail::stored_size(detail::stored_type(tensor.tensor, format));
}

// Wider elements come first, so that all of them lie at multiples of their size: readers that view the file as arrays
// need that.
std::vector<const NamedTensor*> aligned_order(const std::vector<NamedTensor>& tensors,
                                              std::optional<FloatFormat> format) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [&](const NamedTensor* a, const NamedTensor* b) {
    return element_size(*a, format) > element_size(*b, format);
  });
  return order;
}

std::string header_text(const std::vector<const NamedTensor*>& tensors,
                        const std::map<std::string, std::string>& metadata, std::optional<FloatFormat> format) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump() + ",";
  std::unordered_set<std::string_view> names;
  std::size_t position = 0;
  for (const NamedTensor* each : tensors) {
    check_invariant(each->name != "__metadata__", "a tensor named __metadata__");
    check_invariant(names.insert(each->name).second, "two tensors of one name in a file");
    const std::size_t end = position + detail::stored_bytes(each->tensor, format);
    text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}},",
                        nlohmann::json(each->name).dump(), detail::stored_type(each->tensor, format),
                        nlohmann::json(each->tensor.shape().sizes()).dump(), position, end);
    position = end;
  }
  if (text.back() == ',') text.pop_back();
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : TensorFile(MappedFile(path), "safetensors") {
  detail::SafetensorsHeader header = detail::parse_safetensors_header(file().text(), path.string());
  set_contents(std::move(header.entries), std::move(header.metadata));
}

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata, std::optional<FloatFormat> format) {
  const std::vector<const NamedTensor*> order = aligned_order(tensors, format);
  std::string header;
  try {
    header = header_text(order, metadata, format);
  } catch (const nlohmann::json::exception&) {
    check_invariant(false, "a tensor name or metadata text to be written is not UTF-8");
  }
  const std::uint64_t length = header.size();
  write_atomically(path, [&](AtomicFile& file) {
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(header);
    for (const NamedTensor* each : order) {
      detail::for_stored_bytes(*each, format, [&](std::span<const std::byte> bytes) { file.write(bytes); });
    }
  });
}

}  // namespace rwkvlab
