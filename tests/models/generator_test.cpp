#include "models/generator.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"
#include "kernels/parallel.h"
#include "kernels/spinning_team.h"
#include "models/token_sampler.h"
#include "tests/models/params_of.h"
#include "tests/support/gradient_check.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using Tokens = std::vector<std::int64_t>;

constexpr const char* families[] = {
    "time_mix: {kind: rwkv4}, channel_mix: {kind: rwkv4}",
    "time_mix: {kind: rwkv5}, channel_mix: {kind: rwkv5}",
    "time_mix: {kind: rwkv6}, channel_mix: {kind: rwkv6}",
    "time_mix: {kind: rwkv7}, channel_mix: {kind: rwkv7}",
    "time_mix: {kind: rwkv7, head_size: 16, rate_limit: 2}, channel_mix: {kind: rwkv7, token_shift: false}",
    "time_mix: {kind: rwkv7, decay_per_head: true, gate: false}, channel_mix: {kind: rwkv4, receptance: false}",
    "time_mix: {kind: rwkv7, value_residual: false, token_shift: false}, channel_mix: {kind: rwkv6}",
    "time_mix: {kind: rwkv4, attention_width: 96, token_shift: false}, channel_mix: {kind: rwkv5}",
    "time_mix: {kind: mamba2}, channel_mix: {kind: identity}",
    "time_mix: {kind: rwkv7}, channel_mix: {kind: none}",
    "time_mix: {kind: attention}, channel_mix: {kind: gelu_mlp}",
    "positions: learned, max_length: 64, tied_head: true",
    "pattern: [{time_mix: {kind: rwkv7}}, {time_mix: {kind: attention}}]",
};

// The official initial values are zero where a mistake could hide.
std::unique_ptr<LanguageModel> model_of(const std::string& family, double noise = 0.2) {
  auto model = make_language_model(
      test::params_of("{layers: 2, width: 64, vocabulary_size: 31, embedding_scale: 0.5, " + family + "}"));
  model->allocate(5);
  for (const Parameter* const p : model->parameters()) {
    const Tensor more = test::normal_tensor(p->shape, p->name, noise).to(DType::f32);
    for (std::int64_t i = 0; i < more.elements(); ++i) p->var.value().data<float>()[i] += more.data<float>()[i];
  }
  return model;
}

Tokens some_tokens(std::size_t count) {
  Tokens tokens;
  for (std::size_t i = 0; i < count; ++i) tokens.push_back(static_cast<std::int64_t>((i * i + 3 * i + 1) % 31));
  return tokens;
}

std::vector<float> said(const Generator& generator, std::int64_t sequence = 0) {
  const auto logits = generator.logits(sequence);
  return {logits.begin(), logits.end()};
}

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, float tolerance,
                 const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  float error = 0, size = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    error = std::max(error, std::abs(actual[i] - expected[i]));
    size = std::max(size, std::abs(expected[i]));
  }
  EXPECT_LT(error, tolerance * size) << what;
}

TEST(Generator, APromptAndStepsSayWhatTheWholeTextSays) {
  const Tokens tokens = some_tokens(23);
  for (const std::string family : families) {
    const auto model = model_of(family);
    const Tensor whole = model->logits(Tensor::from<std::int64_t>({1, 23}, tokens), {}).value();
    Generator generator(*model);
    generator.read(std::span(tokens).first(20));
    for (std::size_t t = 20;; ++t) {
      const float* const row = whole.data<float>() + (t - 1) * 31;
      expect_near(said(generator), {row, row + 31}, 1e-4F, family);  // float32 in other orders, two layers
      if (t == 23) break;
      generator.step(std::span(tokens).subspan(t, 1));
    }
    EXPECT_EQ(generator.state().tokens, 23);
  }
}

// Most mixers have a shorter way for steps on stored weights.
TEST(Generator, StepsOnStoredWeightsSayWhatTheWholeTextSays) {
  const Tokens tokens = some_tokens(40);
  for (const std::string family : families) {
    const auto model = model_of(family);
    const Tensor whole = model->logits(Tensor::from<std::int64_t>({1, 40}, tokens), {}).value();
    const auto stored = store_weights(*model, WeightFormat::float32);
    Generator generator(*model, stored.get());
    for (std::size_t t = 0; t < 40; ++t) {
      generator.step(std::span(tokens).subspan(t, 1));
      const float* const row = whole.data<float>() + t * 31;
      expect_near(said(generator), {row, row + 31}, 1e-4F, fmt::format("{} token {}", family, t));
    }
  }
}

std::vector<Tensor> values_of(const GenerationState& state) {
  std::vector<Tensor> values;
  for (const auto& [name, value] : state.state.pieces()) values.push_back(value.value());
  return values;
}

TEST(Generator, AStateThatSomeoneHoldsIsNotOverwritten) {
  for (const std::string family : families) {
    const auto model = model_of(family);
    const auto stored = store_weights(*model, WeightFormat::float32);
    Generator generator(*model, stored.get());
    generator.read(some_tokens(10));
    for (int i = 0; i < 2; ++i) generator.step(Tokens{5});
    const GenerationState held = generator.state();
    std::vector<std::vector<double>> before;
    for (const Tensor& value : values_of(held)) before.push_back(value.to_doubles());
    generator.step(Tokens{7});
    const std::vector<float> once = said(generator);
    generator.step(Tokens{8});
    const std::vector<Tensor> after = values_of(held);
    for (std::size_t i = 0; i < after.size(); ++i) EXPECT_EQ(after[i].to_doubles(), before[i]) << family;
    generator.set_state(held);
    generator.step(Tokens{7});
    EXPECT_EQ(said(generator), once) << family;
  }
}

TEST(Generator, WhatComesAfterLiesWhereItWasBefore) {
  const auto places_of = [](const Generator& generator) {
    std::vector<const void*> places;
    for (const auto& [name, value] : generator.state().state.pieces()) {
      if (name.find("wkv") != std::string::npos || value.shape().rank() == 3)
        places.push_back(value.value().identity());
    }
    return places;
  };
  for (const char* const family : {families[0], families[3], "time_mix: {kind: attention}"}) {
    const auto model = model_of(family);
    const auto stored = store_weights(*model, WeightFormat::float32);
    Generator generator(*model, stored.get());
    generator.read(some_tokens(3));
    int moves = 0;
    for (int i = 0; i < 200; ++i) {
      const auto before = places_of(generator);
      ASSERT_FALSE(before.empty());
      generator.step(Tokens{i % 31});
      moves += places_of(generator) != before ? 1 : 0;
    }
    // A cache begins with room for 64 tokens and grows by half: 64, 97, 147, 222.
    EXPECT_EQ(moves, generator.mixes_lengths(*model) ? 0 : 3) << family;
  }
}

TEST(Generator, ALongPromptIsReadInChunksThatCarryTheState) {
  const Tokens tokens = some_tokens(600);
  const auto model = model_of(families[3]);
  Generator at_once(*model), in_parts(*model);
  at_once.read(tokens);
  in_parts.read(std::span(tokens).first(7));
  in_parts.read(std::span(tokens).subspan(7));
  expect_near(said(in_parts), said(at_once), 1e-4F, "600 tokens");
}

TEST(Generator, SequencesDoNotSeeEachOther) {
  const Tokens prompts[] = {some_tokens(9), some_tokens(4), some_tokens(13)};
  for (const std::string family : families) {
    const auto model = model_of(family);
    const auto stored = store_weights(*model, WeightFormat::float32);
    std::vector<GenerationState> states;
    std::vector<std::vector<float>> alone;
    for (const Tokens& prompt : prompts) {
      Generator generator(*model, stored.get());
      generator.read(Generator::mixes_lengths(*model) ? prompt : Tokens(prompt.begin(), prompt.begin() + 4));
      states.push_back(generator.state());
      generator.step(Tokens{prompt[3]});
      alone.push_back(said(generator));
    }
    Generator together(*model, stored.get());
    together.set_state(stacked(states));
    ASSERT_EQ(together.sequences(), 3);
    together.step(Tokens{prompts[0][3], prompts[1][3], prompts[2][3]});
    for (std::int64_t s = 0; s < 3; ++s) EXPECT_EQ(said(together, s), alone[static_cast<std::size_t>(s)]) << family;
  }
}

TEST(Generator, FormatsChangeWhatIsSaidByTheirRounding) {
  const Tokens tokens = some_tokens(12);
  for (const std::string family : families) {
    const auto plain = model_of(family, 0.05);
    Generator reference(*plain);
    reference.read(tokens);
    // Steps of the formats, relative to a weight: 2^-9 and about 1/127; layers add them up.
    for (const auto& [format, tolerance] :
         {std::pair{WeightFormat::float32, 1e-4F}, {WeightFormat::bfloat16, 0.03F}, {WeightFormat::int8, 0.1F}}) {
      const auto model = model_of(family, 0.05);
      const auto stored = store_weights(*model, format);
      EXPECT_EQ(stored->format(), format);
      Generator read(*model, stored.get()), stepped(*model, stored.get());
      read.read(tokens);
      expect_near(said(read), said(reference), tolerance, family);
      for (const std::int64_t token : tokens) stepped.step(Tokens{token});
      expect_near(said(stepped), said(read), 0.01F, family);  // int8 rounds inputs when it steps
      EXPECT_TRUE(format == WeightFormat::float32 || said(read) != said(reference)) << family;
    }
  }
}

TEST(Generator, StoredWeightsTakeThePlaceOfTheOthers) {
  const auto model = model_of(families[0]);
  std::int64_t matrices = 0;
  for (const Parameter* const p : model->parameters()) {
    if (p->shape.rank() == 2 && p->name != "emb.weight") matrices += p->shape.elements();
  }
  const std::int64_t before = memory_use().live;
  const auto stored = store_weights(*model, WeightFormat::bfloat16);
  EXPECT_EQ(stored->bytes_read(), 2 * matrices);
  // Buffers are whole pages; two dozen of them.
  EXPECT_LT(memory_use().live, before - 2 * matrices + 24 * 4096);
}

// Read one by one, as from a file, weights need the room of what is stored and of the largest of them.
TEST(Generator, WeightsAreStoredAsTheyAreRead) {
  for (const std::string family : families) {
    const auto whole = model_of(family), read = model_of(family);
    std::map<std::string, std::vector<float>> values;
    std::int64_t largest = 0, others = 0;
    for (Parameter* const p : read->parameters()) {
      const auto span = p->var.value().span<float>();
      values[p->name] = {span.begin(), span.end()};
      p->var = Var();
      const bool is_matrix = p->shape.rank() == 2 && p->name != "emb.weight";
      largest = std::max(largest, is_matrix ? static_cast<std::int64_t>(span.size_bytes()) : 0);
      others += is_matrix ? 0 : static_cast<std::int64_t>(span.size_bytes()) + 64;
    }
    const auto expected = store_weights(*whole, WeightFormat::int8);
    reset_peak_memory();
    const std::int64_t before = memory_use().live;
    std::set<std::string> asked;
    WeightsFingerprint fingerprint;
    const auto stored = store_weights(*read, WeightFormat::int8, [&](const Parameter& p) {
      EXPECT_TRUE(asked.insert(p.name).second) << p.name << " is read again";
      const Tensor value = Tensor::from<float>(p.shape, values.at(p.name));
      fingerprint.add(p, value);
      return value;
    });
    EXPECT_EQ(asked.size(), read->parameters().size());
    // Buffers are whole pages; some matrices of models that are not RWKV's are no weights of linear layers.
    if (family.find("rwkv4}") != std::string::npos) {
      EXPECT_LT(memory_use().peak - before, stored->bytes_read() + largest + others + 8 * 4096);
    }
    EXPECT_EQ(fingerprint.of(*read), weights_fingerprint(*model_of(family)));
    Generator from_file(*read, stored.get()), from_memory(*whole, expected.get());
    from_file.read(some_tokens(9));
    from_memory.read(some_tokens(9));
    EXPECT_EQ(said(from_file), said(from_memory)) << family;
  }
}

TEST(Generator, TheSameTextForEveryThreadCount) {
  const auto text_with = [](int threads, const char* family) {
    const int before = kernels::threads();
    kernels::set_threads(threads);
    Tokens text;
    {
      const kernels::SpinningTeam team;
      const auto model = model_of(family);
      const auto stored = store_weights(*model, WeightFormat::int8);
      Generator generator(*model, stored.get());
      generator.read(some_tokens(30));
      TokenSampler sampler({0.8, 0.9, 0}, {0.1, 0.1, 0.99}, 42, 0);
      for (int i = 0; i < 40; ++i) {
        text.push_back(sampler.draw(generator.logits(0), generator.state().tokens));
        generator.step(std::span(text).last(1));
      }
    }
    kernels::set_threads(before);
    return text;
  };
  for (const char* const family : {families[0], families[4]}) {
    const Tokens one = text_with(1, family);
    EXPECT_EQ(text_with(2, family), one);
    EXPECT_EQ(text_with(3, family), one);
  }
}

TEST(Generator, RefusesWhatItCannotContinue) {
  EXPECT_THROW(Generator(*model_of("copy_head: 4")), ConfigError);
  EXPECT_THROW(Generator(*model_of("tiny_attention: {layer: 0, width: 4}")), ConfigError);
  const auto model = model_of(families[0]);
  Generator generator(*model);
  EXPECT_THROW(generator.logits(0), DataError);
  EXPECT_THROW(generator.read(Tokens{31}), DataError);
  EXPECT_THROW(generator.step(Tokens{-1}), DataError);
  const auto another = model_of(families[3]);
  Generator other(*another);
  other.read(Tokens{1});
  EXPECT_THROW(generator.set_state(other.state()), ShapeError);
}

TEST(Generator, WeightsThatAreNoNumbersAreNamed) {
  const auto model = model_of(families[0]);
  for (const Parameter* const p : model->parameters()) {
    if (p->name == "blocks.1.att.key.weight") p->var.value().fill(std::numeric_limits<double>::infinity());
  }
  EXPECT_NE(message_of<DataError>([&] { store_weights(*model, WeightFormat::int8); }).find("blocks.1.att.key.weight"),
            std::string::npos);
}

TEST(GenerationState, ComesBackFromItsFile) {
  const TemporaryFolder folder;
  const std::string path = (folder / "state.safetensors").string();
  for (const std::string family : families) {
    const auto model = model_of(family);
    Generator generator(*model);
    generator.read(some_tokens(10));
    save_state(generator.state(), *model, weights_fingerprint(*model), path);
    Generator again(*model);
    again.set_state(load_state(*model, weights_fingerprint(*model), path));
    EXPECT_EQ(again.state().tokens, 10);
    EXPECT_EQ(said(again), said(generator)) << family;
    generator.step(Tokens{3});
    again.step(Tokens{3});
    EXPECT_EQ(said(again), said(generator)) << family;
  }
}

TEST(GenerationState, OfOtherModelsAndWeightsIsRefused) {
  const TemporaryFolder folder;
  const std::string path = (folder / "state.safetensors").string();
  const auto model = model_of(families[0]);
  const auto load = [&](const LanguageModel& into) { load_state(into, weights_fingerprint(into), path); };
  Generator generator(*model);
  generator.read(Tokens{1, 2});
  save_state(generator.state(), *model, weights_fingerprint(*model), path);
  EXPECT_NE(message_of<DataError>([&] { load(*model_of(families[0], 0.21)); }).find("other weights"),
            std::string::npos);
  const auto longer = make_language_model(test::params_of("{layers: 3, width: 64, vocabulary_size: 31}"));
  longer->allocate(1);
  EXPECT_NE(message_of<DataError>([&] { load(*longer); }).find("another model"), std::string::npos);
  // The largest integer leaves no room for the next token.
  GenerationState state = generator.state();
  for (const std::int64_t tokens : {(std::int64_t{1} << 53) + 1, std::numeric_limits<std::int64_t>::max()}) {
    state.tokens = tokens;
    save_state(state, *model, weights_fingerprint(*model), path);
    EXPECT_NE(message_of<DataError>([&] { load(*model); }).find(fmt::format("'tokens' is '{}'", tokens)),
              std::string::npos);
  }
  folder.make("state.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  EXPECT_NE(message_of<DataError>([&] { load(*model); }).find("no state"), std::string::npos);
}

TEST(WeightFormat, HasANameThatIsFoundAgain) {
  for (const std::string& name : weight_format_names()) EXPECT_EQ(kernels::name(weight_format_named(name)), name);
  EXPECT_NE(message_of<ConfigError>([] { weight_format_named("int9"); }).find("int8"), std::string::npos);
}

}  // namespace
}  // namespace rwkvlab
