#include "base/gzip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/sha256.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::HasSubstr;

// Examples of FIPS 180-2, appendix B, and lengths around the border of a block.
TEST(Sha256, PublishedExamples) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Gzip, ComesBack) {
  for (const std::string& text :
       {std::string(), std::string("a"), std::string(300000, 'x'), std::string("\0\xFF", 2)}) {
    EXPECT_EQ(gunzip(gzip(text), "x", 400000), text);
    EXPECT_EQ(from_base64(to_base64(text), "x"), text);
  }
  EXPECT_EQ(gunzip(gzip("one") + gzip("two"), "x", 100), "onetwo");
  EXPECT_EQ(to_base64("Man"), "TWFu");
  EXPECT_EQ(to_base64("Ma"), "TWE=");
  EXPECT_EQ(to_base64("M"), "TQ==");
}

TEST(Gzip, RefusesDamage) {
  const std::string packed = gzip(std::string(1000, 'x') + "yz");
  const auto refusal = [](const std::string& bytes, std::size_t most) {
    return message_of<DataError>([&] { gunzip(bytes, "a.gz", most); });
  };
  EXPECT_THAT(refusal(packed.substr(0, packed.size() - 1), 2000), HasSubstr("'a.gz': the gzip data are damaged"));
  std::string damaged = packed;
  damaged[packed.size() - 6] ^= 8;  // of the check sum
  EXPECT_THAT(refusal(damaged, 2000), HasSubstr("damaged"));
  EXPECT_THAT(refusal(packed, 1001), HasSubstr("more than 1001 bytes"));
  EXPECT_THROW(from_base64("TWF", "x"), DataError);
  EXPECT_THROW(from_base64("TW=u", "x"), DataError);
  EXPECT_THROW(from_base64("T W=", "x"), DataError);
}

TEST(LineReader, ReadsPlainAndPackedFiles) {
  const TemporaryFolder folder;
  const std::string lines = std::string("one\r\n\ntwo \0 words\n", 18) + std::string(600000, 'x') + "\nlast";
  for (const auto& path : {folder.make("plain", lines), folder.make("packed.gz", gzip(lines))}) {
    LineReader reader(path);
    std::vector<std::string> found;
    for (std::string line; reader.next(line);) found.push_back(line);
    EXPECT_THAT(found,
                testing::ElementsAre("one", "", std::string("two \0 words", 11), std::string(600000, 'x'), "last"));
    EXPECT_EQ(reader.number(), 5u);
  }
  const std::string packed = gzip(lines);
  LineReader cut(folder.make("cut.gz", packed.substr(0, packed.size() - 10)));
  EXPECT_THROW(for (std::string line; cut.next(line);){}, DataError);
  EXPECT_THROW(LineReader(folder / "missing"), DataError);
}

}  // namespace
}  // namespace rwkvlab
