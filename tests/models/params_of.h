// Parameters of a language model from YAML.
#pragma once

#include <string>

#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "models/language_model.h"

namespace rwkvlab::test {

inline LanguageModelParams params_of(const std::string& yaml) {
  return bind<LanguageModelParams>(
      parse_yaml(yaml, "model"), make_schema<LanguageModelParams>([](Fields<LanguageModelParams>& f) { describe(f); }));
}

}  // namespace rwkvlab::test
