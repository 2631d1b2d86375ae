// Examples of generated tasks as plain vectors.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "data/data_set.h"
#include "tests/temporary_folder.h"

namespace rwkvlab::test {

struct Example {
  std::vector<std::int64_t> tokens, targets;
};

inline std::unique_ptr<TokenDataSet> build_task(const std::string& kind, const std::string& yaml,
                                                std::uint64_t seed = 1) {
  return build_token_data(make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml")), DataSite{"", seed});
}

inline std::string refused_task(const std::string& kind, const std::string& yaml) {
  return message_of<ConfigError>([&] { build_task(kind, yaml); });
}

inline std::vector<Example> rows_of(const Batch& batch) {
  const std::int64_t time = batch.tokens.shape()[1];
  std::vector<Example> rows;
  for (std::int64_t row = 0; row < batch.tokens.shape()[0]; ++row) {
    const auto part = [&](const Tensor& tensor) {
      const std::int64_t* const begin = tensor.data<std::int64_t>() + row * time;
      return std::vector<std::int64_t>(begin, begin + time);
    };
    rows.push_back({part(batch.tokens), part(batch.targets)});
  }
  return rows;
}

/// The first `count` training examples of a task with one training set.
inline std::vector<Example> examples_of(const std::string& kind, const std::string& yaml, std::int64_t count = 200,
                                        std::uint64_t seed = 1) {
  return rows_of(build_task(kind, yaml, seed)->training_batch(0, count, 1 << 20));
}

/// Places with a target.
inline std::vector<std::size_t> counted_places(const Example& example) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < example.targets.size(); ++i) {
    if (example.targets[i] != no_target) places.push_back(i);
  }
  return places;
}

}  // namespace rwkvlab::test
