// Every differentiable operation has a gradient test: found from the headers, so that a new one cannot be forgotten.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;
const fs::path source = RWKVLAB_SOURCE_DIR;

std::string contents(const fs::path& path) {
  std::ifstream stream(path);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

// Free functions that return a Var, several, or a struct (which holds one); `void` and `Tensor` are not differentiable.
std::vector<std::string> operations(const std::string& header) {
  static const std::regex declaration(R"((?:^|\n)(?!inline|void|Tensor )([A-Za-z_0-9:<>, ]+) ([a-z_0-9]+)\([^;{]*Var)");
  std::vector<std::string> names;
  for (std::sregex_iterator at(header.begin(), header.end(), declaration), end; at != end; ++at) {
    names.push_back((*at)[2]);
  }
  return names;
}

// Headers without an operation of their own.
bool is_shared(const fs::path& stem) { return stem == "common" || stem == "token_mixing"; }

TEST(Ops, EveryOperationHasAGradientTest) {
  int headers = 0, found = 0;
  for (const auto& entry : fs::directory_iterator(source / "lib/autograd/ops")) {
    if (entry.path().extension() != ".h" || is_shared(entry.path().stem())) continue;
    ++headers;
    const fs::path test = source / "tests/autograd/ops" / (entry.path().stem().string() + "_test.cpp");
    ASSERT_TRUE(fs::exists(test)) << "no gradient test " << test << " for " << entry.path();
    const std::string text = contents(test);
    EXPECT_NE(text.find("check_op("), std::string::npos) << test << " checks no operation with check_op";
    EXPECT_NE(text.find("expect_shape_error("), std::string::npos) << test << " tests no wrong shapes";
    const std::vector<std::string> names = operations(contents(entry.path()));
    EXPECT_FALSE(names.empty()) << "no operation found in " << entry.path();
    for (const std::string& name : names) {
      ++found;
      EXPECT_TRUE(std::regex_search(text, std::regex("\\b" + name + "\\("))) << test << " does not call " << name;
    }
  }
  // The reader above would pass by finding nothing.
  EXPECT_GE(headers, 8);
  EXPECT_GE(found, 15);
}

}  // namespace
}  // namespace rwkvlab
