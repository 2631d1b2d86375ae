// datasets/fetch.sh, offline: cards of its own with file:// URLs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>

#include "base/file.h"
#include "config/yaml_reader.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const fs::path source_cards = fs::path(RWKVLAB_SOURCE_DIR) / "datasets";
constexpr const char* hello_sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";  // "hello\n"

struct Result {
  int code = -1;
  std::string output;
};

Result shell(const std::string& command) {
  Result result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  char buffer[4096];
  for (std::size_t count; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.output.append(buffer, count);
  const int status = pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

class FetchScript : public testing::Test {
 protected:
  void SetUp() override {
    if (shell("command -v curl").code != 0) GTEST_SKIP() << "no curl: file:// URLs cannot be fetched";
    fs::create_directories(cards_);
    fs::copy_file(source_cards / "fetch.sh", cards_ / "fetch.sh");
    origin_ = folder_.make("origin/hello.txt", "hello\n");
  }
  void card(const std::string& name, const std::string& sha256, const std::string& more = "") const {
    folder_.make("cards/" + name + "/card.yaml", "name: " + name + "\nurl: file://" + origin_.string() +
                                                     "\nfile: text\nsha256: " + sha256 + "\n" + more);
  }
  Result fetch(const std::string& arguments) const {
    return shell((cards_ / "fetch.sh").string() + " " + arguments + " " + (folder_ / "out").string());
  }
  TemporaryFolder folder_;
  const fs::path cards_ = folder_ / "cards";
  fs::path origin_;
};

TEST_F(FetchScript, FetchesOnceAndVerifies) {
  card("hello", hello_sha256);
  const Result first = fetch("hello");
  EXPECT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(read_text(folder_ / "out/hello/text"), "hello\n");
  fs::remove(origin_);
  const Result second = fetch("hello");
  EXPECT_EQ(second.code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("is complete"));
}

TEST_F(FetchScript, RefusesAWrongChecksum) {
  card("hello", std::string(64, '0'));
  const Result result = fetch("hello");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr(hello_sha256), HasSubstr("expected 000"), HasSubstr("removed")));
  EXPECT_TRUE(fs::is_empty(folder_ / "out/hello"));
}

TEST_F(FetchScript, ContinuesACutDownload) {
  card("hello", hello_sha256);
  // Were the whole file fetched again behind the beginning, the checksum would be wrong.
  folder_.make("out/hello/text.part", "hel");
  const Result result = fetch("hello");
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_EQ(read_text(folder_ / "out/hello/text"), "hello\n");
  EXPECT_FALSE(fs::exists(folder_ / "out/hello/text.part"));
}

TEST_F(FetchScript, MissingSourceAndUnknownName) {
  card("hello", hello_sha256);
  fs::remove(origin_);
  EXPECT_THAT(fetch("hello").output, HasSubstr("cannot fetch file://"));
  EXPECT_FALSE(fs::exists(folder_ / "out/hello/text"));
  const Result unknown = fetch("helo");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.output, AllOf(HasSubstr("'helo'"), HasSubstr("there are: hello")));
  EXPECT_EQ(shell((cards_ / "fetch.sh").string()).code, 1);
  EXPECT_EQ(shell((cards_ / "fetch.sh").string() + " --help").code, 0);
}

TEST_F(FetchScript, UnpacksArchives) {
  if (shell("command -v zip && command -v unzip").code != 0) GTEST_SKIP() << "no zip and unzip";
  const fs::path archive = folder_ / "origin/hello.zip";
  ASSERT_EQ(shell("cd " + (folder_ / "origin").string() + " && zip -q hello.zip hello.txt").code, 0);
  const std::string sha256 = shell("sha256sum " + archive.string()).output.substr(0, 64);
  origin_ = archive;
  card("first", hello_sha256, "archive_sha256: " + sha256 + "\narchive_member: hello.txt\n");
  card("second", hello_sha256, "archive_sha256: " + sha256 + "\narchive_member: hello.txt\n");
  card("wrong", hello_sha256, "archive_sha256: " + std::string(64, '1') + "\narchive_member: hello.txt\n");
  EXPECT_EQ(fetch("wrong").code, 1);
  EXPECT_TRUE(fs::is_empty(folder_ / "out/wrong"));
  fs::remove_all(cards_ / "wrong");
  const Result result = fetch("all");
  EXPECT_EQ(result.code, 0) << result.output;
  for (const std::string name : {"first", "second"}) {
    EXPECT_EQ(read_text(folder_ / ("out/" + name + "/text")), "hello\n");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / ("out/" + name)), fs::directory_iterator()), 1);
  }
}

TEST_F(FetchScript, FetchesAllFilesOfACard) {
  const fs::path second = folder_.make("origin/second.txt", "second\n");
  const std::string sha256 = shell("sha256sum " + second.string()).output.substr(0, 64);
  const std::string more = "url_2: file://" + second.string() + "\nfile_2: more\nsha256_2: ";
  card("hello", hello_sha256, more + std::string(64, '0') + "\n");
  EXPECT_EQ(fetch("hello").code, 1);
  EXPECT_EQ(read_text(folder_ / "out/hello/text"), "hello\n");
  EXPECT_FALSE(fs::exists(folder_ / "out/hello/more"));
  card("hello", hello_sha256, more + sha256 + "\n");
  const Result result = fetch("hello");
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_EQ(read_text(folder_ / "out/hello/more"), "second\n");
  card("hello", hello_sha256, "file_2: more\n");
  EXPECT_THAT(fetch("hello").output, HasSubstr("lacks url_2, file_2 or sha256_2"));
}

TEST_F(FetchScript, UnpacksFolders) {
  folder_.make("origin/pictures/a.bin", "a\n");
  origin_ = folder_ / "origin/pictures.tar.gz";
  ASSERT_EQ(shell("tar -czf " + origin_.string() + " -C " + (folder_ / "origin").string() + " pictures").code, 0);
  const std::string sha256 = shell("sha256sum " + origin_.string()).output.substr(0, 64);
  card("wrong", sha256, "unpacks_to: photographs\n");
  EXPECT_THAT(fetch("wrong").output, HasSubstr("holds no folder photographs"));
  card("right", sha256, "unpacks_to: pictures\n");
  for (int i = 0; i < 2; ++i) {
    const Result result = fetch("right");
    EXPECT_EQ(result.code, 0) << result.output;
    EXPECT_EQ(read_text(folder_ / "out/right/pictures/a.bin"), "a\n");
    fs::remove_all(folder_ / "out/right/pictures");  // The archive stays, so it is unpacked again.
  }
}

TEST(DataSetCards, AreCompleteAndTheScriptReadsWhatYamlSays) {
  int cards = 0;
  for (const fs::path& path : expand_glob("*/card.yaml", source_cards)) {
    const Node card = read_yaml(path, path.string());
    for (const char* key :
         {"name", "about", "url", "file", "bytes", "sha256", "checksums_from", "licence", "source", "layout"}) {
      EXPECT_NE(card.find(key), nullptr) << path << " lacks " << key;
    }
    EXPECT_EQ(card.find("name")->string(), path.parent_path().filename());
    EXPECT_EQ(card.find("sha256")->string().size(), 64u);
    std::vector<std::string> keys = {"url", "file", "sha256"};
    for (int i = 2; card.find("file_" + std::to_string(i)) != nullptr; ++i) {
      for (const char* key : {"url_", "file_", "sha256_"}) keys.push_back(key + std::to_string(i));
    }
    for (const std::string& key : keys) {
      ASSERT_NE(card.find(key), nullptr) << path << " lacks " << key;
      const std::string line = key + ": " + card.find(key)->string() + "\n";
      EXPECT_NE(read_text(path).find("\n" + line), std::string::npos) << path << ": " << key << " is not on one line";
    }
    ++cards;
  }
  EXPECT_GE(cards, 7);
}

}  // namespace
}  // namespace rwkvlab
