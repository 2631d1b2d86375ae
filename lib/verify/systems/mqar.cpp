// Multi-query associative recall (arXiv:2312.04927): examples of the published generator, whose random numbers are not
// ours. Inputs and labels say everything twice, so each is computed from the other.
//
// Config: one section per setting with vocab_size V, input_seq_len T, num_kv_pairs n, power_a, random_non_queries and
// num_examples; num_passes (1).
#include <fmt/format.h>

#include <map>
#include <set>

#include "base/error.h"
#include "data/tasks/associative_recall.h"
#include "verify/case_registry.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t filler = 0, unlabelled = -100;

struct Setting {
  std::int64_t vocabulary, length, pairs, passes;
  double power;
  bool random_filler;
  std::int64_t prefix() const { return 2 * pairs * passes; }
};

Setting read_setting(const CaseConfig& config) {
  Setting s{};
  s.vocabulary = config.integer("vocab_size", 4, 1 << 24);
  s.length = config.integer("input_seq_len", 4, std::min<std::int64_t>(s.vocabulary - 1, 1 << 20));
  s.pairs = config.integer("num_kv_pairs", 1, s.length / 4);
  s.passes = config.integer_or("num_passes", 1, 1, s.length);
  s.power = config.number_or("power_a", 0.01);
  s.random_filler = config.flag_or("random_non_queries", true);
  if (s.length % 2 != 0 || s.prefix() + 2 * s.pairs > s.length) {
    throw DataError(fmt::format("'config': {} pairs shown {} times and asked for once do not fit into {} tokens",
                                s.pairs, s.passes, s.length));
  }
  return s;
}

// The keys with their values, as the prefix lists them; a prefix that breaks a rule gives fewer.
std::map<std::int64_t, std::int64_t> read_pairs(const Setting& s, std::span<const std::int64_t> tokens) {
  std::map<std::int64_t, std::int64_t> value_of;
  std::set<std::int64_t> values;
  const std::int64_t first_value = s.vocabulary / 2;
  for (std::int64_t i = 0; i < s.pairs; ++i) {
    const std::int64_t key = tokens[2 * i], value = tokens[2 * i + 1];
    const bool fits = key >= 1 && key < first_value && value >= first_value && value < s.vocabulary;
    if (fits && values.insert(value).second) value_of.emplace(key, value);
  }
  return value_of;
}

// From an example as the file has it: labels from the keys that stand where something is labelled, inputs from the
// values that are asked for. What breaks a rule comes out otherwise than it went in.
void rebuild(const Setting& s, std::span<const std::int64_t> tokens, std::span<const std::int64_t> labels,
             std::vector<double>& inputs_out, std::vector<double>& labels_out) {
  const auto value_of = read_pairs(s, tokens);
  std::map<std::int64_t, std::int64_t> unasked_key_of;
  for (const auto& [key, value] : value_of) unasked_key_of[value] = key;
  const auto known = [&](std::int64_t token) { return value_of.count(token) != 0; };
  for (std::int64_t t = 0; t < s.length; ++t) {
    if (t < s.prefix()) {
      const std::int64_t key = tokens[t % (2 * s.pairs) / 2 * 2];
      inputs_out.push_back(static_cast<double>(!known(key) ? filler : t % 2 == 0 ? key : value_of.at(key)));
      labels_out.push_back(unlabelled);
      continue;
    }
    const auto asked = t % 2 == 0 ? unasked_key_of.find(labels[t]) : unasked_key_of.end();
    if (asked != unasked_key_of.end()) {
      inputs_out.push_back(static_cast<double>(asked->second));
      labels_out.push_back(static_cast<double>(known(tokens[t]) ? value_of.at(tokens[t]) : unlabelled));
      unasked_key_of.erase(asked);  // Every key is asked for once.
      continue;
    }
    const bool in_vocabulary = tokens[t] >= 0 && tokens[t] < s.vocabulary;
    inputs_out.push_back(static_cast<double>(s.random_filler && in_vocabulary ? tokens[t] : filler));
    labels_out.push_back(unlabelled);
  }
  // A key that is never asked for: no label of this example counts.
  if (!unasked_key_of.empty()) std::fill(labels_out.end() - s.length, labels_out.end(), double{unlabelled});
}

// Integers [examples, length] of out.<setting>.<name>.
const Tensor& stored(const CaseRun& run, const std::string& name, const Shape& shape) {
  const auto found = run.reference().outputs.find(name);
  if (found == run.reference().outputs.end() || found->second.dtype() != DType::i64 || found->second.shape() != shape) {
    throw DataError(fmt::format("tensor 'out.{}' must hold integers {}", name, shape.text()));
  }
  return found->second;
}

void run_sample(CaseRun& run) {
  for (const std::string& name : run.config().keys()) {
    const CaseConfig config = run.config().section(name);
    const Setting s = read_setting(config);
    const Shape shape = {config.integer("num_examples", 1, 1 << 20), s.length};
    const Tensor &inputs = stored(run, name + ".inputs", shape), &labels = stored(run, name + ".labels", shape);
    std::vector<double> found_inputs, found_labels;
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      const auto of_row = [&](const Tensor& all) {
        return all.span<std::int64_t>().subspan(static_cast<std::size_t>(row * s.length),
                                                static_cast<std::size_t>(s.length));
      };
      rebuild(s, of_row(inputs), of_row(labels), found_inputs, found_labels);
    }
    run.output(name + ".inputs", shape, found_inputs);
    run.output(name + ".labels", shape, found_labels);
    const std::vector<double> p = query_slot_probabilities((s.length - s.prefix()) / 2, s.power);
    if (run.expects(name + ".power_law_p")) {
      run.output(name + ".power_law_p", {static_cast<std::int64_t>(p.size())}, p);
    }
  }
}

const RegisterCases registered(
    "mqar",
    {case_kind("sample", "examples: inputs from labels, labels from inputs; probabilities of the slots of queries",
               {1e-6, 0, {}}, run_sample)});

}  // namespace
}  // namespace rwkvlab
