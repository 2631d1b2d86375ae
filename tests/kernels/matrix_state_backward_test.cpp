#include "kernels/matrix_state_backward.h"

#include <gtest/gtest.h>

#include "helpers.h"
#include "kernels/wkv6.h"
#include "kernels/wkv7.h"

namespace rwkvlab::kernels {
namespace {

/// A problem of wkv7 (or, with a bonus, of wkv6 with states of its layout) with one key channel more than it needs,
/// whose numbers are zero except for its decay: it adds nothing, but decides which form the chunks take.
template <class Real>
struct Problem {
  Index batch, time, heads, keys, values;
  bool delta, bonus;
  std::vector<Real> r, k, v, a, b, decay, u, y, read, kept, gy, gfinal;
  std::vector<Real> gr, gk, gv, ga, gb, gdecay, gu, gstate;

  /// `last`: decay of the extra channel.
  Problem(Index batch_count, Index tokens, Index head_count, Index size, bool with_delta, bool with_bonus, Real last)
      : batch(batch_count),
        time(tokens),
        heads(head_count),
        keys(size + 1),
        values(with_bonus ? size + 1 : size),
        delta(with_delta),
        bonus(with_bonus) {
    const double scale = 1 / std::sqrt(static_cast<double>(size));
    r = numbers("r", 1);
    k = numbers("k", scale);
    a = numbers("a", scale);
    b = numbers("b", scale);
    decay = numbers("decay", 0.5);
    for (Index i = 0; i < batch * time * heads; ++i) decay[i * keys + keys - 1] = last;
    for (Real& x : decay) x = bonus ? x : -std::fabs(x);
    u = random_values<Real>(heads * keys, "u");
    v = random_values<Real>(batch * time * heads * values, "v");
    gy = random_values<Real>(batch * time * heads * values, "gy");
    gfinal = random_values<Real>(batch * heads * keys * values, "gfinal");
    y = read = gv = std::vector<Real>(v.size());
    gr = gk = ga = gb = gdecay = std::vector<Real>(r.size());
    gu = std::vector<Real>(u.size());
    gstate = std::vector<Real>(gfinal.size());
    kept.resize(gfinal.size() * static_cast<std::size_t>(kept_states(time)));
  }

  /// As long as the same numbers are drawn for every channel but the last, two problems differ in its decay alone.
  std::vector<Real> numbers(const char* name, double scale) const {
    std::vector<Real> result = random_values<Real>(batch * time * heads * keys, name, scale);
    for (Index i = 0; i < batch * time * heads; ++i) result[i * keys + keys - 1] = 0;
    return result;
  }

  Named<Real> gradients() {
    bonus ? run_wkv6() : run_wkv7();
    for (auto* const of_keys : {&gr, &gk, &ga, &gb, &gdecay}) {
      for (Index i = 0; i < batch * time * heads; ++i) (*of_keys)[i * keys + keys - 1] = 0;
    }
    return {{"receptance", gr}, {"key", gk}, {"value", gv}, {"decay", gdecay}, {"a", ga}, {"b", gb}, {"bonus", gu}};
  }

 private:
  void run_wkv7() {
    const Wkv7Size size = {batch, time, heads, keys, values};
    wkv7_forward<Real>({size, r.data(), decay.data(), k.data(), v.data(), delta ? a.data() : nullptr,
                        delta ? b.data() : nullptr, nullptr, y.data(), nullptr, delta ? read.data() : nullptr,
                        kept.data()});
    wkv7_backward<Real>({size, r.data(), decay.data(), k.data(), v.data(), delta ? a.data() : nullptr,
                         delta ? b.data() : nullptr, delta ? read.data() : nullptr, kept.data(), gy.data(),
                         gfinal.data(), gr.data(), gdecay.data(), gk.data(), gv.data(), delta ? ga.data() : nullptr,
                         delta ? gb.data() : nullptr, gstate.data()});
  }
  void run_wkv6() {
    Wkv6Backward<Real> call;
    call.in = {{batch, time, heads, keys}, r.data(), k.data(), v.data(), decay.data(), false, u.data(), nullptr};
    wkv6_forward<Real>({call.in, y.data(), nullptr, kept.data()});
    call.kept_states = kept.data();
    call.grad_y = gy.data();
    call.grad_final_state = gfinal.data();
    call.grad_receptance = gr.data();
    call.grad_key = gk.data();
    call.grad_value = gv.data();
    call.grad_decay = gdecay.data();
    call.grad_bonus = gu.data();
    call.grad_state = gstate.data();
    wkv6_backward(call);
  }
};

struct Form {
  const char* name;
  bool delta, bonus;
  double strong, weak;  ///< decays of the extra channel that ask for tokens and for matrices
};
const Form forms[] = {
    {"delta rule", true, false, -50, -0.1}, {"decays", false, false, -50, -0.1}, {"bonus", false, true, 4, -2}};

// Several stretches and chunks, the last ones short; heads few (split by values) and many.
TEST(MatrixStateBackward, ProductsOfMatricesEqualTheWayBackByTokens) {
  for (const Form& form : forms) {
    for (const Index heads : {1, 5}) {
      SCOPED_TRACE(testing::Message() << form.name << ", heads " << heads);
      Problem<double> tokens(2, 2 * kept_state_tokens + 21, heads, 70, form.delta, form.bonus, form.strong);
      Problem<double> matrices(2, 2 * kept_state_tokens + 21, heads, 70, form.delta, form.bonus, form.weak);
      // Two orders of the same sums over up to 149 tokens; the matrix form's decay gradients are differences of sums.
      expect_close(matrices.gradients(), tokens.gradients(), 1e-12);
    }
  }
}

TEST(MatrixStateBackward, FloatAgreesWithDoubleForEveryGradientAlone) {
  for (const Form& form : forms) {
    SCOPED_TRACE(form.name);
    Problem<float> narrow(2, 100, 4, 63, form.delta, form.bonus, static_cast<float>(form.weak));
    Problem<double> wide(2, 100, 4, 63, form.delta, form.bonus, form.weak);
    // 63 channels and 100 tokens of roundings of 6e-8.
    expect_close(narrow.gradients(), wide.gradients(), 5e-6);
  }
}

TEST(MatrixStateBackward, TheFirstTokensDecayHasNoGradientWithoutAState) {
  Problem<float> p(1, 1, 1, 8, true, false, -0.1F);
  for (const auto& [name, values] : p.gradients()) {
    if (std::string(name) != "decay") continue;
    for (const float x : values) EXPECT_EQ(x, 0);
  }
}

TEST(MatrixStateBackward, ThreadsGiveTheSameBits) {
  for (const Form& form : forms) {
    expect_same_bits([&] {
      std::vector<float> all;
      Problem<float> p(1, 70, 3, 72, form.delta, form.bonus, static_cast<float>(form.weak));
      for (const auto& [name, values] : p.gradients()) all.insert(all.end(), values.begin(), values.end());
      return all;
    });
  }
}

}  // namespace
}  // namespace rwkvlab::kernels
