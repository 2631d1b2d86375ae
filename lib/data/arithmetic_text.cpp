// The data set `arithmetic_text`: generated sums, for experiments that need no file.
#include <fmt/format.h>

#include "config/registry.h"
#include "data/text_data_set.h"

namespace rwkvlab {
namespace {

struct Params {
  int sums = 100000;
  double held_out_fraction = 0.1;
  std::string tokens = "characters";
  std::optional<std::string> vocabulary;
  std::string order = "random_offsets";
};

void describe(Fields<Params>& f) {
  f.doc(
      "Generated text of sums, \".a+b=c.\" with a = i mod 10000, b = i^2 mod 10000 and c = a + b for i = 0, 1, 2, ... "
      "(the \"dummy\" data of the official RWKV-4 training code). Needs no file.");
  f.add("sums", &Params::sums, "number of sums", between(1, 10000000));
  f.add("held_out_fraction", &Params::held_out_fraction, "share of the tokens that is held out, from the end",
        between(0, 0.9));
  describe_reading(f);
}

std::unique_ptr<DataSet> make(const Params& p, const DataSite& site) {
  std::string text;
  for (std::int64_t i = 0; i < p.sums; ++i) {
    const std::int64_t a = i % 10000, b = i * i % 10000;
    fmt::format_to(std::back_inserter(text), ".{}+{}={}.", a, b, a + b);
  }
  TextDataSetParts parts;
  parts.kind = "arithmetic_text";
  parts.order = p.order;
  parts.held_out_fraction = p.held_out_fraction;
  parts.seed = site.seed;
  const auto source = std::make_shared<const TextSource>(fmt::format("{} generated sums", p.sums), std::move(text));
  parts.text = TokenText(source, make_tokenizer({p.tokens, p.vocabulary}, *source, site.folder));
  return std::make_unique<TextDataSet>(std::move(parts));
}

const RegisterKind<DataSet, Params, DataSite> registered(data_slot, "arithmetic_text", describe, make);

}  // namespace
}  // namespace rwkvlab
