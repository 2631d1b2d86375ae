// The task `state_tracking`: what remains of a sequence is a state of a finite machine. Parity, sums modulo m,
// arithmetic modulo m and the word problems of permutation groups ("The Illusion of State in State-Space Models",
// arXiv:2404.08819).
#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "config/registry.h"
#include "data/tasks/task.h"

namespace rwkvlab {
namespace {

struct Set : TaskSet {
  std::int64_t length = 64;
  std::int64_t shortest = 0;
  std::string name() const {
    return shortest == 0 ? fmt::format("length_{}", length) : fmt::format("length_{}_to_{}", shortest, length);
  }
};

struct Params : TaskParams<Set> {
  std::string problem = "s5";
  int modulus = 5;
  std::string elements = "all";
  std::string score = "every";
};

bool is_arithmetic(const Params& p) { return p.problem == "modular_arithmetic"; }

// The words of a group and, for elements a and b, the element "first a, then b".
struct Group {
  std::vector<std::string> words;
  std::vector<std::int64_t> product;  // [a, b]
  std::vector<std::int64_t> moves;    // The elements that sequences are made of.
  std::int64_t size() const { return static_cast<std::int64_t>(words.size()); }
};

Group cyclic_group(std::int64_t modulus) {
  Group group;
  for (std::int64_t a = 0; a < modulus; ++a) {
    group.words.push_back(fmt::format("{}", a));
    for (std::int64_t b = 0; b < modulus; ++b) group.product.push_back((a + b) % modulus);
  }
  return group;
}

bool is_even(const std::string& permutation) {
  int inversions = 0;
  for (std::size_t i = 0; i < permutation.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) inversions += permutation[j] > permutation[i] ? 1 : 0;
  }
  return inversions % 2 == 0;
}

// All permutations of `points` points, or the even ones, in the order of their words: "10234" swaps 0 and 1.
Group permutation_group(std::size_t points, bool even_only) {
  Group group;
  std::string word = std::string("01234").substr(0, points);
  std::map<std::string, std::int64_t> number;
  do {
    if (even_only && !is_even(word)) continue;
    number.emplace(word, group.size());
    group.words.push_back(word);
  } while (std::next_permutation(word.begin(), word.end()));
  for (const std::string& a : group.words) {
    for (const std::string& b : group.words) {
      std::string composed;
      for (const char image : a) composed += b[static_cast<std::size_t>(image - '0')];
      group.product.push_back(number.at(composed));
    }
  }
  return group;
}

bool is_swap(const std::string& permutation) {
  int moved = 0;
  for (std::size_t i = 0; i < permutation.size(); ++i) moved += permutation[i] != static_cast<char>('0' + i) ? 1 : 0;
  return moved == 2;
}

Group whole_group_of(const Params& p) {
  if (p.problem == "parity") return cyclic_group(2);
  if (p.problem == "modular_sum") return cyclic_group(p.modulus);
  const auto points = static_cast<std::size_t>(p.problem[1] - '0');
  return permutation_group(points, p.problem[0] == 'a');
}

Group group_of(const Params& p) {
  Group group = whole_group_of(p);
  for (std::int64_t element = 0; element < group.size(); ++element) {
    if (p.elements == "all" || is_swap(group.words[static_cast<std::size_t>(element)])) group.moves.push_back(element);
  }
  return group;
}

std::string check_elements(const Params& p) {
  const bool has_swaps = p.problem[0] == 's';
  return p.elements == "swaps" && !has_swaps
             ? fmt::format(
                   "'elements: swaps' needs the problem s3, s4 or s5, in which every permutation is a product "
                   "of swaps; the problem is {}",
                   p.problem)
             : "";
}

// Which places of a sequence carry a target, and how long it is.
class Scoring {
 public:
  Scoring(const Params& p, const Set& set) : set_(set), every_(p.score == "every") {}
  std::int64_t length() const { return set_.length; }
  // Odd lengths only when `stride` is 2: an expression ends with a number.
  std::int64_t draw_length(Draws& draws, std::int64_t stride) const {
    if (set_.shortest == 0) return set_.length;
    return set_.shortest + stride * draws.below((set_.length - set_.shortest) / stride + 1);
  }
  bool counts(std::int64_t place, std::int64_t length) const { return every_ || place == length - 1; }

 private:
  Set set_;
  bool every_;
};

class GroupGenerator final : public TaskGenerator {
 public:
  GroupGenerator(std::shared_ptr<const Group> group, const Scoring& scoring)
      : group_(std::move(group)), scoring_(scoring) {}
  std::int64_t length() const override { return scoring_.length(); }

  void generate(Draws& draws, std::span<std::int64_t> tokens, std::span<std::int64_t> targets) const override {
    const std::int64_t size = group_->size(), length = scoring_.draw_length(draws, 1);
    const auto moves = static_cast<std::int64_t>(group_->moves.size());
    std::int64_t state = 0;  // The identity is the first element of every group here.
    for (std::int64_t t = 0; t < length; ++t) {
      const auto at = static_cast<std::size_t>(t);
      tokens[at] = group_->moves[static_cast<std::size_t>(draws.below(moves))];
      state = group_->product[static_cast<std::size_t>(state * size + tokens[at])];
      if (scoring_.counts(t, length)) targets[at] = state;
    }
  }

 private:
  std::shared_ptr<const Group> group_;
  Scoring scoring_;
};

// number, operator, number, ...; products before sums. The state is (sum so far, product that is being built).
class ArithmeticGenerator final : public TaskGenerator {
 public:
  ArithmeticGenerator(std::int64_t modulus, const Scoring& scoring) : modulus_(modulus), scoring_(scoring) {}
  std::int64_t length() const override { return scoring_.length(); }

  void generate(Draws& draws, std::span<std::int64_t> tokens, std::span<std::int64_t> targets) const override {
    const std::int64_t length = scoring_.draw_length(draws, 2);
    std::int64_t sum = 0, product = 0, operation = 0;
    for (std::int64_t t = 0; t < length; ++t) {
      const auto at = static_cast<std::size_t>(t);
      if (t % 2 == 1) {
        operation = draws.below(3);
        tokens[at] = modulus_ + operation;
        continue;
      }
      const std::int64_t number = tokens[at] = draws.below(modulus_);
      if (operation == 2) {
        product = product * number % modulus_;
      } else {
        sum = (sum + product) % modulus_;
        product = operation == 0 ? number : (modulus_ - number) % modulus_;
      }
      if (scoring_.counts(t, length)) targets[at] = (sum + product) % modulus_;
    }
  }

 private:
  std::int64_t modulus_;
  Scoring scoring_;
};

std::string problem(const Params& p, const Set& set) {
  if (set.shortest > set.length) {
    return fmt::format("shortest is {}, expected at most length, which is {}", set.shortest, set.length);
  }
  if (is_arithmetic(p)) {
    const bool is_length = set.length % 2 == 0;
    if (is_length || (set.shortest != 0 && set.shortest % 2 == 0)) {
      return fmt::format("{} is {}, expected an odd number: an expression begins and ends with a number",
                         is_length ? "length" : "shortest", is_length ? set.length : set.shortest);
    }
  }
  return "";
}

void describe_set(Fields<Set>& f) {
  f.add("length", &Set::length, "tokens of an example; odd for modular_arithmetic", between(1, longest_example))
      .unit("tokens");
  f.add("shortest", &Set::shortest,
        "draw the length of each example between this and `length`, alike; behind its end there are no targets; 0: all "
        "have `length`",
        between(0, longest_example))
      .unit("tokens");
}

void describe(Fields<Params>& f) {
  f.doc(
      "State tracking: every token moves a hidden state, and the target is the state that it leads to. Evaluation sets "
      "that are longer than the training sets measure length generalisation. Permutations are words such as 10234 (0 "
      "goes to 1, 1 to 0); the state after g1 g2 ... gt is \"first g1, then g2, ...\".");
  f.paper("arXiv:2404.08819");
  f.add("problem", &Params::problem, "what is tracked",
        one_of({{"parity", "bits; the state is the parity of the ones"},
                {"modular_sum", "numbers below `modulus`; the state is their sum modulo it"},
                {"modular_arithmetic",
                 "numbers and + - * in turn, products before sums; the target at a number is the value so far"},
                {"s3", "all 6 permutations of 3 points"},
                {"s4", "all 24 permutations of 4 points"},
                {"s5", "all 120 permutations of 5 points; not solvable"},
                {"a4", "the 12 even permutations of 4 points"},
                {"a5", "the 60 even permutations of 5 points; not solvable"}}));
  f.add("modulus", &Params::modulus, "of modular_sum and modular_arithmetic", between(2, 1024));
  f.add("elements", &Params::elements, "which elements of a group the sequences are made of",
        one_of({{"all", "every one, alike"},
                {"swaps", "those that exchange two points; all permutations are products of them"}}));
  f.add("score", &Params::score, "which tokens have a target",
        one_of({{"every", "every token; in modular_arithmetic every number"}, {"last", "the last token alone"}}));
  describe_sets(f, describe_set, problem);
  f.check(check_elements, "elements");
}

std::unique_ptr<DataSet> make(const Params& p, const DataSite& site) {
  if (is_arithmetic(p)) {
    return make_task("state_tracking", p, site, number_words(p.modulus, {"+", "-", "*"}), [&p](const Set& set) {
      return std::make_shared<const ArithmeticGenerator>(p.modulus, Scoring(p, set));
    });
  }
  const auto group = std::make_shared<const Group>(group_of(p));
  return make_task("state_tracking", p, site, std::make_shared<const Tokenizer>(Tokenizer::words(group->words)),
                   [&](const Set& set) { return std::make_shared<const GroupGenerator>(group, Scoring(p, set)); });
}

const RegisterKind<DataSet, Params, DataSite> registered(data_slot, "state_tracking", describe, make);

}  // namespace
}  // namespace rwkvlab
