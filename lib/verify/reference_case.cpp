#include "verify/reference_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/nearest.h"
#include "tensor/safetensors.h"

namespace rwkvlab {
namespace {

std::vector<std::string> names_of(const TensorMap& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

const Tensor& require(const TensorMap& tensors, const std::string& key, const char* prefix) {
  const auto found = tensors.find(key);
  if (found == tensors.end()) {
    throw DataError(fmt::format("tensor '{}{}' is missing{}", prefix, key, did_you_mean(key, names_of(tensors))));
  }
  return found->second;
}

struct Group {
  const char* prefix;
  TensorMap ReferenceCase::*tensors;
  bool real;
};

constexpr std::array<Group, 6> groups = {{{"param.", &ReferenceCase::parameters, true},
                                          {"in.", &ReferenceCase::inputs, false},
                                          {"out.", &ReferenceCase::outputs, false},
                                          {"cotangent.", &ReferenceCase::cotangents, true},
                                          {"grad.", &ReferenceCase::gradients, true},
                                          {"grad_in.", &ReferenceCase::input_gradients, true}}};

void read_tensor(const SafetensorsFile& file, const std::string& name, ReferenceCase& into) {
  for (const Group& group : groups) {
    if (!name.starts_with(group.prefix)) continue;
    const TensorEntry& entry = file.entry(name);
    if (entry.shape.elements() == 0) throw DataError(fmt::format("tensor '{}' has no elements", name));
    if (group.real && entry.dtype() == DType::i64) {
      throw DataError(fmt::format("tensor '{}' holds {}, expected real numbers", name, entry.stored_type));
    }
    (into.*group.tensors)[name.substr(std::string_view(group.prefix).size())] = file.tensor(name);
    return;
  }
  throw DataError(fmt::format("tensor '{}' is none of param.*, in.*, out.*, cotangent.*, grad.* and grad_in.*", name));
}

// Every name of `derived` must be one of `base`, with the same number of elements in the same arrangement.
void check_pairs(const TensorMap& derived, const char* derived_prefix, const TensorMap& base, const char* base_prefix) {
  for (const auto& [name, tensor] : derived) {
    const Tensor& partner = require(base, name, base_prefix);
    if (squeezed(partner.shape()) != squeezed(tensor.shape())) {
      throw DataError(fmt::format("'{}{}' has shape {}, but '{}{}' has {}", derived_prefix, name, tensor.shape().text(),
                                  base_prefix, name, partner.shape().text()));
    }
  }
}

void read_metadata(const SafetensorsFile& file, ReferenceCase& into) {
  const std::string& format = file.metadata("format");
  if (format != reference_format) {
    throw DataError(
        fmt::format("the metadata's format is '{}', expected '{}'", format.substr(0, 60), reference_format));
  }
  into.system = file.metadata("system");
  into.name = file.metadata("case");
  into.config = CaseConfig(file.metadata("config"), "config");
  const auto source = file.metadata().find("source");
  if (source != file.metadata().end()) into.source = source->second;
}

}  // namespace

std::vector<std::int64_t> squeezed(const Shape& shape) {
  std::vector<std::int64_t> sizes;
  std::copy_if(shape.sizes().begin(), shape.sizes().end(), std::back_inserter(sizes),
               [](std::int64_t size) { return size != 1; });
  return sizes;
}

ReferenceCase::ReferenceCase(const std::filesystem::path& file_path) : path(file_path) {
  const SafetensorsFile file(path);
  try {
    read_metadata(file, *this);
    for (const TensorEntry& entry : file.entries()) read_tensor(file, entry.name, *this);
    if (outputs.empty()) throw DataError("there is no tensor 'out.*' to compare with");
    check_pairs(cotangents, "cotangent.", outputs, "out.");
    check_pairs(gradients, "grad.", parameters, "param.");
    check_pairs(input_gradients, "grad_in.", inputs, "in.");
  } catch (const DataError& error) {
    const std::string message = error.what(), name_of_file = path.string();
    if (message.find(name_of_file) != std::string::npos) throw;
    throw DataError(fmt::format("{}: {}", name_of_file, message));
  }
}

const Tensor& ReferenceCase::parameter(const std::string& key) const { return require(parameters, key, "param."); }
const Tensor& ReferenceCase::input(const std::string& key) const { return require(inputs, key, "in."); }

bool ReferenceCase::mentions(const std::string& suffix) const {
  const auto ends = [&](const auto& entry) { return entry.first.ends_with(suffix); };
  return std::any_of(parameters.begin(), parameters.end(), ends) || std::any_of(outputs.begin(), outputs.end(), ends);
}

}  // namespace rwkvlab
