#include "data/data_set.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/image_data_set.h"

namespace rwkvlab {

std::string TokenDataSet::vocabulary_json() const { return tokenizer().json().dump(); }

void TokenDataSet::save_vocabulary(const std::filesystem::path& path) const {
  write_atomically(path, tokenizer().json().dump(1) + "\n");
}

const TokenDataSet& token_data(const DataSet& data) {
  const auto* const tokens = dynamic_cast<const TokenDataSet*>(&data);
  if (tokens == nullptr) throw ConfigError("expected data made of tokens (text or a task), found images");
  return *tokens;
}

const ImageDataSet& image_data(const DataSet& data) {
  const auto* const images = dynamic_cast<const ImageDataSet*>(&data);
  if (images == nullptr) throw ConfigError("expected data made of images, found tokens");
  return *images;
}

std::unique_ptr<TokenDataSet> build_token_data(const Choice& choice, const DataSite& site) {
  std::unique_ptr<DataSet> data = build_kind<DataSet, DataSite>(data_slot, choice, site);
  token_data(*data);
  return std::unique_ptr<TokenDataSet>(static_cast<TokenDataSet*>(data.release()));
}

}  // namespace rwkvlab
