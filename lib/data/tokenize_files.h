// Text files into one token file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace rwkvlab {

struct TokenizeOptions {
  std::vector<std::filesystem::path> files;
  std::filesystem::path output;
  std::string field = "text";  ///< of the lines of .jsonl files
  bool end_of_text = true;     ///< behind each document, where the tokenizer has such a token
};

struct TokenizeReport {
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;
  std::uint64_t bytes = 0;      ///< of text
  double encoding_seconds = 0;  ///< processor time of encoding alone, without reading and writing
};

/// Writes a token file (token_file.h). A file is one document; of a file .jsonl or .jsonl.gz each line is one, the text
/// under `field`. Files are read piece by piece, so they may be larger than the memory (but not a packed .gz that is no
/// .jsonl). `progress` is told the bytes of text so far. Throws DataError for what cannot be read or encoded, naming
/// file and line or byte, and when there is no text at all; FileError for what cannot be written.
TokenizeReport tokenize_files(const TokenizeOptions& options, const Tokenizer& tokenizer,
                              const std::function<void(std::uint64_t)>& progress = {});

}  // namespace rwkvlab
