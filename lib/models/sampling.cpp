#include "models/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace rwkvlab {
namespace {

void check(std::span<const double> logits, const SamplingParams& params) {
  if (logits.empty()) throw DataError("sampling: there are no logits");
  if (!std::all_of(logits.begin(), logits.end(), [](double x) { return std::isfinite(x); })) {
    throw DataError("sampling: a logit is NaN or infinite");
  }
  if (!(params.temperature >= 0) || !std::isfinite(params.temperature)) {
    throw DataError(fmt::format("sampling: temperature is {:g}, expected 0 or more", params.temperature));
  }
  if (!(params.top_p >= 0 && params.top_p <= 1)) {
    throw DataError(fmt::format("sampling: top_p is {:g}, expected 0 to 1", params.top_p));
  }
  if (params.top_k < 0) throw DataError(fmt::format("sampling: top_k is {}, expected 0 or more", params.top_k));
}

std::vector<double> softmax(std::span<const double> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  for (const double x : logits) p.push_back(std::exp(x - largest));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= total;
  return p;
}

// Tokens by ascending probability, without those that are too improbable to matter: all tokens below exp(-reach) times
// the largest hold less than 1 - top_p together, so that the running sum from the largest gets to top_p before them.
std::vector<std::size_t> ranked(const std::vector<double>& p, double top_p) {
  const double reach = top_p < 1 ? std::log(static_cast<double>(p.size()) / (1 - top_p)) + 1 : HUGE_VAL;
  const double least = *std::max_element(p.begin(), p.end()) * std::exp(-reach);
  std::vector<std::size_t> order;
  for (std::size_t token = 0; token < p.size(); ++token) {
    if (p[token] >= least) order.push_back(token);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  return order;
}

// The probability below which tokens are dropped; `order` is ascending in p.
double cut_off(const std::vector<double>& p, const std::vector<std::size_t>& order, double top_p) {
  double sum = 0;
  for (auto token = order.rbegin(); token != order.rend(); ++token) {
    sum += p[*token];
    if (sum >= top_p) return p[*token];
  }
  return p[order.back()];
}

}  // namespace

std::vector<double> sampling_probabilities(std::span<const double> logits, const SamplingParams& params) {
  check(logits, params);
  const bool greedy = params.temperature == 0;
  const double temperature = greedy ? 1 : params.temperature;
  std::vector<double> p = softmax(logits);
  const double top_p = greedy ? 0 : params.top_p;
  const std::vector<std::size_t> order = ranked(p, top_p);

  const double smallest = cut_off(p, order, top_p);
  for (double& x : p) x = x < smallest ? 0 : x;
  if (params.top_k > 0) {
    for (std::size_t rank = 0; rank + static_cast<std::size_t>(params.top_k) < order.size(); ++rank) p[order[rank]] = 0;
  }
  // Relative to the largest, so that a low temperature does not underflow everything to 0.
  const double largest = p[order.back()];
  double total = 0;
  for (double& x : p) {
    if (x > 0 && temperature != 1) x = std::pow(x / largest, 1 / temperature);
    total += x;
  }
  for (double& x : p) x /= total;
  return p;
}

std::int64_t draw_token(std::span<const double> probabilities, double uniform) {
  double sum = 0;
  std::size_t last = 0;
  for (std::size_t token = 0; token < probabilities.size(); ++token) {
    if (probabilities[token] > 0) last = token;
    sum += probabilities[token];
    if (sum > uniform) return static_cast<std::int64_t>(token);
  }
  // Rounding can leave the sum below 1.
  return static_cast<std::int64_t>(last);
}

}  // namespace rwkvlab
