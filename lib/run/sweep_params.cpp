#include "run/sweep_params.h"

namespace rwkvlab {
namespace {

template <class T>
std::string check_range(const std::optional<std::vector<T>>& range, const char* name) {
  if (!range) return "";
  if (range->size() != 2) return std::string("'") + name + "' must be two values: [lowest, highest]";
  if ((*range)[0] > (*range)[1]) return std::string("'") + name + "' runs backwards; write [lowest, highest]";
  return "";
}

std::string check_one_way(const RandomRange& r) {
  const int given = int{r.uniform.has_value()} + int{r.log_uniform.has_value()} + int{r.integer.has_value()} +
                    int{!r.choice.is_null()};
  return given == 1 ? "" : "give exactly one of 'uniform', 'log_uniform', 'integer' and 'choice'";
}

void describe_range(Fields<RandomRange>& f) {
  using R = RandomRange;
  f.doc("How the values of one path are drawn. Numbers are rounded to four significant digits.");
  f.add("uniform", &R::uniform, "[lowest, highest]: a number, all equally likely");
  f.add("log_uniform", &R::log_uniform, "[lowest, highest]: a number above 0 whose logarithm is uniform", above(0));
  f.add("integer", &R::integer, "[lowest, highest]: an integer, both ends included");
  f.any("choice", &R::choice, "a list of values, all equally likely");
  f.check([](const R& r) { return check_one_way(r); });
  f.check([](const R& r) { return check_range(r.uniform, "uniform"); }, "uniform");
  f.check([](const R& r) { return check_range(r.log_uniform, "log_uniform"); }, "log_uniform");
  f.check([](const R& r) { return check_range(r.integer, "integer"); }, "integer");
  f.check(
      [](const R& r) {
        const bool is_list = r.choice.is_null() || (r.choice.is_list() && !r.choice.list().empty());
        return is_list ? "" : "'choice' must be a list of at least one value";
      },
      "choice");
}

void describe_random(Fields<RandomParams>& f) {
  using R = RandomParams;
  f.doc("Random search. A larger `count` keeps the variants of a smaller one.");
  f.required("count", &R::count, "how many variants are drawn", at_least(1)).unit("variants");
  f.add("seed", &R::seed, "seed of the draws");
  f.table("over", &R::over, describe_range, "the paths that are drawn, each an axis; at least one");
  f.check(
      [](const R& r) { return r.over.empty() ? "the key 'over' is missing or empty (the paths that are drawn)" : ""; });
}

void describe_variant(Fields<VariantParams>& f) {
  using V = VariantParams;
  f.doc("One variant.");
  f.any("label", &V::label, "what tables and folders call it: a text or a number; every variant needs one");
  f.any("set", &V::set, "map of paths (model.width) to values; null changes nothing");
}

}  // namespace

void describe(Fields<BestOfParams>& f) {
  using B = BestOfParams;
  f.doc("Declared reduction: of the runs that differ in these axes alone, tables show the best.");
  f.required("over", &B::over, "the axes that are reduced").not_empty().or_one();
  f.required("metric", &B::metric, "series below /metrics of the run file that decides").not_empty();
  f.add("mode", &B::mode, "which value is best; by default the largest accuracy, the smallest of anything else",
        one_of({"max", "min"}));
  f.add("per_seed", &B::per_seed,
        "whether every seed chooses its own best; otherwise the best mean over the seeds decides");
}

void describe(Fields<SweepParams>& f) {
  using S = SweepParams;
  f.doc(
      "Many runs from one file. Every section that is present multiplies the number of variants, and `seeds` runs each "
      "of them several times. An axis is a path (`model.width`) with a list of its values, or a name with a list of "
      "`{label, set: {path: value}}`.");
  f.any("grid", &S::grid, "map of axes; every combination of their values is a variant");
  f.any("zip", &S::zip, "map of axes with lists of equal length; their values vary together");
  f.list("list", &S::list, describe_variant, "variants that are written out; their axis is called `variant`");
  f.section("random", &S::random, describe_random, "variants that are drawn");
  f.any("seeds", &S::seeds,
        "how many runs each variant gets, with the seed of the file and those that follow it, or a list of seeds");
  f.add("label", &S::label,
        "template of the variants' labels, for example \"{mixer} {model.width}\"; empty: the labels of all axes");
  f.section(
      "best_of", &S::best_of, [](Fields<BestOfParams>& below) { describe(below); }, "which runs tables leave out");
  f.add("limit", &S::limit, "more runs than this are refused", between(1, 1'000'000)).unit("runs");
  f.check(
      [](const S& s) {
        const bool varies = !s.grid.is_null() || !s.zip.is_null() || !s.list.empty() || s.random || !s.seeds.is_null();
        return varies ? "" : "a sweep needs at least one of 'grid', 'zip', 'list', 'random' and 'seeds'";
      },
      "");
}

void describe(Fields<TableParams>& f) {
  using T = TableParams;
  f.doc("How `rwkvlab table` shows the sweep; its options override this.");
  f.add("rows", &T::rows, "axes that make the rows; empty: all that are neither columns nor reduced").or_one();
  f.add("columns", &T::columns, "axes whose values make the columns; empty: a column for each metric").or_one();
  f.add("metrics", &T::metrics, "series below /metrics of the run file; empty: eval/accuracy, or else eval/loss")
      .or_one();
  f.add("show", &T::show, "further columns",
        one_of({{"parameters", "numbers of the model"},
                {"flops", "floating-point operations per token, forward"},
                {"state", "numbers of the recurrent state of one sequence"},
                {"steps", "training steps"},
                {"runs", "seeds that count, and failures"},
                {"seconds", "time of training"},
                {"best_of", "the value that the best-of rule chose"}}))
      .or_one();
  f.add("value", &T::value, "which record of a series counts", one_of({"last", "best", "first"}));
  f.add("digits", &T::digits, "decimals; 0: chosen from the standard deviation", between(0, 12));
  f.add("title", &T::title, "a line above the table");
}

BestOf best_of(const BestOfParams& params) {
  const bool maximize = params.mode ? *params.mode == "max" : params.metric.find("accuracy") != std::string::npos;
  return {params.over, params.metric, maximize, params.per_seed};
}

}  // namespace rwkvlab
