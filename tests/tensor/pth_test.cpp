#include "tensor/pth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "tensor/half.h"
#include "tensor/pickle.h"
#include "tensor/safetensors.h"
#include "tensor/zip_archive.h"
#include "tests/temporary_folder.h"
#include "tests/tensor/pth_samples.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Pth : public testing::Test {
 protected:
  // What a script of Python prints, run in the folder.
  std::string python(const std::string& script) const {
    folder_.make("script.py", script);
    const std::string command =
        "cd '" + folder_.path().string() + "' && '" RWKVLAB_PYTHON "' script.py > printed.txt 2>&1";
    const int status = std::system(command.c_str());
    const std::string printed = read_text(folder_ / "printed.txt");
    EXPECT_EQ(status, 0) << printed;
    return printed;
  }
  // The file that save("file.pth", …) writes.
  std::filesystem::path saved(const std::string& arguments) const {
    python(std::string(samples::fake_torch) + "save('file.pth', " + arguments + ")\n");
    return folder_ / "file.pth";
  }
  std::string refusal(const std::string& arguments) const {
    const auto path = saved(arguments);
    return message_of<DataError>([&] { PthFile file(path); });
  }
  static bool has_python() { return std::filesystem::exists(RWKVLAB_PYTHON); }
  TemporaryFolder folder_;
};

// The bytes of the elements, so that NaN equals NaN and 0 does not equal -0.
std::string bits(const Tensor& tensor) {
  std::string bytes;
  detail::for_stored_bytes({"", tensor}, {}, [&](std::span<const std::byte> piece) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return bytes;
}

// A pickle in an archive, without Python.
std::string refusal_of_pickle(const std::string& pickle) {
  return message_of<DataError>([&] { detail::parse_pickle(pickle, "file"); });
}

TEST_F(Pth, DamagedBytesAreRefusedWhenTheyAreRead) {
  write_pth(folder_ / "file.pth", {{"first", Tensor::full({40}, 1)}, {"second", Tensor::full({40}, 2)}});
  std::string bytes = read_text(folder_ / "file.pth");
  const TensorFile whole = open_tensor_file(folder_ / "file.pth");
  bytes[whole.entry("second").begin + 7] ^= 1;
  folder_.make("file.pth", bytes);
  const TensorFile file = open_tensor_file(folder_ / "file.pth");
  EXPECT_EQ(file.tensor("first").to_doubles()[39], 1);
  EXPECT_THAT(message_of<DataError>([&] { file.tensor("second"); }),
              AllOf(HasSubstr("'second'"), HasSubstr("checksum")));

  // An archive whose pickle has no right checksum either was written without: its numbers mean nothing.
  const std::size_t directory = bytes.find("PK\x01\x02");
  bytes[directory + 16] ^= 1;  // Of the first record, the pickle.
  folder_.make("file.pth", bytes);
  EXPECT_NO_THROW(open_tensor_file(folder_ / "file.pth").tensor("second"));
}

TEST_F(Pth, WhatIsWrittenIsRead) {
  const std::vector<float> floats = {0.0f, -0.0f, 1e-40f, std::numeric_limits<float>::infinity(), std::nanf("7"), 3};
  const std::vector<double> doubles = {1.0 / 3, -2e300};
  const std::vector<std::int64_t> integers = {std::numeric_limits<std::int64_t>::min(), 7, -1};
  const std::vector<NamedTensor> tensors = {{"blocks.0.att.key.weight", Tensor::from<float>({2, 3}, floats)},
                                            {"scalar", Tensor::full({}, 4)},
                                            {"doubles", Tensor::from<double>({2, 1}, doubles)},
                                            {"empty", Tensor::empty({0, 5})},
                                            {"ключ", Tensor::from<std::int64_t>({3}, integers)}};
  write_pth(folder_ / "file.pth", tensors);
  const TensorFile file = open_tensor_file(folder_ / "file.pth");
  EXPECT_EQ(file.format(), "pth");
  ASSERT_EQ(file.entries().size(), tensors.size());
  for (const NamedTensor& tensor : tensors) {
    const Tensor read = file.require(tensor.name, tensor.tensor.shape());
    ASSERT_EQ(read.dtype(), tensor.tensor.dtype()) << tensor.name;
    EXPECT_EQ(bits(read), bits(tensor.tensor)) << tensor.name;
  }
}

TEST_F(Pth, PythonReadsWhatIsWritten) {
  if (!has_python()) GTEST_SKIP() << "there is no " << RWKVLAB_PYTHON;
  const std::vector<float> values = {1, -2.5, 0.1f, 3};
  const std::vector<std::int64_t> integers = {70000, std::int64_t{1} << 40};
  const std::vector<NamedTensor> tensors = {{"mix", Tensor::from<float>({1, 1, 4}, values)},
                                            {"n", Tensor::from<std::int64_t>({2}, integers)},
                                            {"scalar", Tensor::full({}, 0.5)}};
  write_pth(folder_ / "file.pth", tensors, FloatFormat::float16);
  EXPECT_EQ(python(samples::read_pth),
            "mix HalfStorage (1.0, -2.5, 0.0999755859375, 3.0) 0 (1, 1, 4) (4, 4, 1)\n"
            "n LongStorage (70000, 1099511627776) 0 (2,) (1,)\n"
            "scalar HalfStorage (0.5,) 0 () ()\n");
  write_pth(folder_ / "file.pth", tensors);
  EXPECT_THAT(python(samples::read_pth), HasSubstr("mix FloatStorage (1.0, -2.5, 0.10000000149011612, 3.0) 0"));
}

TEST_F(Pth, WhatPythonPicklesIsReadInEveryProtocol) {
  if (!has_python()) GTEST_SKIP() << "there is no " << RWKVLAB_PYTHON;
  for (const char* const protocol : {"2", "3", "4", "5"}) {
    SCOPED_TRACE(protocol);
    const PthFile file(saved(
        "collections.OrderedDict([('half', T(Storage('HalfStorage', [1.5, -65504.0, 2**-24]), [3], [1])),"
        " ('brain', Parameter(T(Storage('BFloat16Storage', [0x3fc0, 0xc000]), [2, 1], [1, 1]))),"
        " ('int', T(Storage('IntStorage', [-7, 9]), [2], [1])), ('epoch', 3), ('note', 'cpu fp32'), ('rate', 0.5),"
        " ('none', None), ('big', 1 << 40), ('inner', {'list': [T(Storage('DoubleStorage', [2.25]), [], [])]})]), " +
        std::string(protocol)));
    EXPECT_THAT(file.tensor("half").to_doubles(), ElementsAre(1.5, -65504.0, std::ldexp(1.0, -24)));
    EXPECT_THAT(file.require("brain", {2, 1}).to_doubles(), ElementsAre(1.5, -2.0));
    EXPECT_THAT(file.tensor("int").to_doubles(), ElementsAre(-7, 9));
    EXPECT_EQ(file.tensor("inner.list.0").item(), 2.25);
    EXPECT_EQ(file.entry("brain").stored_type, "BF16");
    EXPECT_EQ(file.metadata("note"), "cpu fp32");
    EXPECT_EQ(file.metadata("epoch"), "3");
    EXPECT_EQ(file.metadata("big"), "1099511627776");
    EXPECT_EQ(file.metadata("rate"), "0.5");
  }
}

TEST_F(Pth, ViewsOfAStorageAndStridesAreFollowed) {
  if (!has_python()) GTEST_SKIP() << "there is no " << RWKVLAB_PYTHON;
  const PthFile file(saved(
      "(lambda s: {'all': T(s, [2, 3], [3, 1]), 'turned': T(s, [3, 2], [1, 3]), 'row': T(s, [3], [1], 3),"
      " 'column': T(s, [2], [3], 1), 'none': T(s, [0, 3], [3, 1], 6)})(Storage('FloatStorage', [0, 1, 2, 3, 4, 5]))"));
  EXPECT_THAT(file.tensor("all").to_doubles(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(file.require("turned", {3, 2}).to_doubles(), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(file.tensor("row", DType::f64).to_doubles(), ElementsAre(3, 4, 5));
  EXPECT_THAT(file.tensor("column").to_doubles(), ElementsAre(1, 4));
  EXPECT_EQ(file.tensor("none").elements(), 0);
}

TEST_F(Pth, NothingIsEverCalled) {
  if (!has_python()) GTEST_SKIP() << "there is no " << RWKVLAB_PYTHON;
  EXPECT_THAT(refusal("type('E', (), {'__reduce__': lambda self: (__import__('os').system, ('touch owned',))})()"),
              AllOf(HasSubstr("system"), HasSubstr("refused"), HasSubstr("byte ")));
  EXPECT_THAT(refusal("{'a': complex(1, 2)}"), HasSubstr("complex"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "owned"));
}

TEST_F(Pth, InstructionsThatNoTensorNeedsAreRefused) {
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02(ios\nsystem\n.")), HasSubstr("instruction 0x69"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02"
                                            "cos\nsystem\n)R.")),
              HasSubstr("'os.system'"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x01}.")), HasSubstr("protocol 1"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02]q\x01h\x01"
                                            "a.")),
              HasSubstr("no dictionary"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02}q\x01")), HasSubstr("only 0 follow"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02}X\xff\xff\xff\xff")), HasSubstr("4294967295 bytes are wanted"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02h\x05.")), HasSubstr("before it is remembered"));
  EXPECT_THAT(refusal_of_pickle(std::string("\x80\x02}(K\x01u.")), HasSubstr("a key without a value"));
  // A dictionary that holds itself ends.
  const std::string cycle = std::string("\x80\x02}q\x01X\x01", 7) + std::string(3, '\0') + "ah\x01s.";
  EXPECT_TRUE(detail::parse_pickle(cycle, "file").tensors.empty());
}

TEST_F(Pth, FaultyArchivesAreExplained) {
  if (!has_python()) GTEST_SKIP() << "there is no " << RWKVLAB_PYTHON;
  const std::string storage = "Storage('FloatStorage', [0, 1, 2, 3])";
  const auto one = [&](const std::string& view, const std::string& more = "") {
    return refusal("{'w': T(" + storage + ", " + view + ")}" + more);
  };
  EXPECT_THAT(one("[5], [1]"), AllOf(HasSubstr("'w'"), HasSubstr("[5] spans 5 elements"), HasSubstr("storage has 4")));
  EXPECT_THAT(one("[2], [1], 3"), HasSubstr("from element 3"));
  EXPECT_THAT(one("[1 << 40], [0]"), HasSubstr("repeats elements"));
  EXPECT_THAT(one("[1 << 40, 1 << 40], [1, 1]"), HasSubstr("too large"));
  EXPECT_THAT(one("[-1], [1]"), HasSubstr("negative"));
  EXPECT_THAT(one("[1] * 7, [1] * 7"), HasSubstr("7 dimensions"));
  EXPECT_THAT(one("[4], [1]", ", byteorder='big'"), HasSubstr("'big'"));
  EXPECT_THAT(one("[4], [1]", ", compression=zipfile.ZIP_DEFLATED"), HasSubstr("is compressed"));
  EXPECT_THAT(one("[4], [1]", ", change=lambda b: b.replace(b'K\\x04t', b'K\\x05t')"), HasSubstr("has 16 bytes"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("no dictionary"));
  EXPECT_THAT(refusal("{None: 1}"), HasSubstr("key that is no text"));
  const std::string whole = read_text(saved("{'w': T(" + storage + ", [4], [1])}"));
  const auto path_of = [&](std::string_view bytes) { return folder_.make("cut.pth", bytes); };
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(PthFile(path_of(std::string_view(whole).substr(0, size))), DataError) << size;
  const auto legacy = path_of(std::string(detail::legacy_pth_start) + "more");
  EXPECT_THAT(message_of<DataError>([&] { open_tensor_file(legacy); }), HasSubstr("before version 1.6"));
  const auto text = folder_.make("text.pth", "not an archive");
  EXPECT_THAT(message_of<DataError>([&] { open_tensor_file(text); }), HasSubstr("no .pth file"));
}

TEST_F(Pth, NamesThatAreThereTwiceAreRefused) {
  const auto refused = [&](const std::string& pickle, const std::vector<std::string>& records) {
    write_atomically(folder_ / "twice.pth", [&](AtomicFile& file) {
      detail::ZipWriter zip(file);
      zip.add("archive/data.pkl", pickle);
      for (const std::string& record : records) zip.add(record, "12345678");
      zip.finish();
    });
    return message_of<DataError>([&] { PthFile(folder_ / "twice.pth"); });
  };
  const std::string pickle = detail::write_pickle({{"w", Tensor::zeros({2})}, {"w", Tensor::zeros({2})}}, {});
  EXPECT_THAT(refused(pickle, {"archive/data/0", "archive/data/1"}), HasSubstr("the tensor 'w' is there twice"));
  EXPECT_THAT(refused(pickle, {"archive/data/0", "archive/data/0"}), HasSubstr("the record 'archive/data/0' is there"));
  EXPECT_THAT(refused(pickle, {"archive/data/1"}), HasSubstr("record 'data/0', which is missing"));
}

TEST_F(Pth, LargeArchivesHave64BitPlaces) {
  const std::string body(1000, 'x');
  write_atomically(folder_ / "large.zip", [&](AtomicFile& file) {
    detail::ZipWriter zip(file, 100);  // What is 100 or more is written as if it were 4 GiB.
    zip.add("model/small", "abc");
    zip.add("model/large", body);
    zip.add("model/last", "xyz");
    zip.finish();
  });
  const std::string bytes = read_text(folder_ / "large.zip");
  const auto records = detail::parse_zip(bytes, "large.zip");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(bytes.substr(records[0].begin, records[0].bytes), "abc");
  EXPECT_EQ(bytes.substr(records[1].begin, records[1].bytes), body);
  EXPECT_EQ(bytes.substr(records[2].begin, records[2].bytes), "xyz");
  if (!has_python()) return;
  EXPECT_EQ(python("import zipfile\nz = zipfile.ZipFile('large.zip')\nprint(z.testzip(), len(z.read('model/large')))"),
            "None 1000\n");
}

TEST(HalfFormats, EveryHalfSurvivesAndRoundingIsToTheNearest) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if (std::isnan(from_half(half))) {
      EXPECT_TRUE(std::isnan(from_half(to_half(from_half(half)))));
    } else {
      ASSERT_EQ(to_half(from_half(half)), half);
    }
    ASSERT_TRUE(std::isnan(from_bfloat(half)) || to_bfloat(from_bfloat(half)) == half) << bits;
    // Between two halves the nearer one is taken; in the middle the one with an even last bit.
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const float low = from_half(half), high = from_half(next);
    if (!std::isfinite(low) || !std::isfinite(high) || (bits & 0x7FFF) == 0x7FFF) continue;
    const float middle = (low + high) / 2;
    ASSERT_EQ(to_half(middle), (bits & 1) == 0 ? half : next) << bits;
    ASSERT_EQ(to_half(std::nextafter(middle, low)), half) << bits;
    ASSERT_EQ(to_half(std::nextafter(middle, high)), next) << bits;
  }
  EXPECT_EQ(to_half(65519.9f), 0x7BFF);
  EXPECT_EQ(to_half(65520.0f), 0x7C00);
  EXPECT_EQ(to_bfloat(1.00390625f), 0x3F80);  // 1 + 2^-8, the middle: to even
  EXPECT_EQ(to_bfloat(1.01171875f), 0x3F82);  // 1 + 3 · 2^-8
  EXPECT_TRUE(std::isnan(from_bfloat(to_bfloat(std::nanf("1")))));
}

TEST_F(Pth, SafetensorsAreWrittenInEveryFormat) {
  const std::vector<float> values = {1.5f, -2, 0.1f};
  const std::vector<NamedTensor> tensors = {{"w", Tensor::from<float>({3}, values)},
                                            {"n", Tensor::full({1}, 9, DType::i64)}};
  for (const auto& [format, type, tenth] :
       {std::tuple{FloatFormat::float32, "F32", 0.1f}, std::tuple{FloatFormat::float16, "F16", 0.0999755859375f},
        std::tuple{FloatFormat::bfloat16, "BF16", 0.10009765625f}}) {
    write_safetensors(folder_ / "a.safetensors", tensors, {{"key", "text"}}, format);
    const SafetensorsFile file(folder_ / "a.safetensors");
    EXPECT_EQ(file.entry("w").stored_type, type);
    EXPECT_THAT(file.tensor("w").to_doubles(), ElementsAre(1.5, -2, tenth));
    EXPECT_EQ(file.tensor("n").item(), 9);
    EXPECT_EQ(file.metadata("key"), "text");
  }
  const std::vector<NamedTensor> large = {{"w", Tensor::full({1}, 70000)}};
  EXPECT_THAT(message_of<DataError>([&] { write_pth(folder_ / "b.pth", large, FloatFormat::float16); }),
              AllOf(HasSubstr("'w' holds 70000"), HasSubstr("bfloat16")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "b.pth"));
}

TEST_F(Pth, ReadingTakesNoMemoryBesidesTheTarget) {
  const Tensor values = Tensor::full({300, 500}, 0.5);
  write_pth(folder_ / "a.pth", {{"w", values}}, FloatFormat::bfloat16);
  const TensorFile file = open_tensor_file(folder_ / "a.pth");
  const Tensor target = Tensor::zeros({300, 500});
  reset_peak_memory();
  const std::int64_t before = memory_use().live;
  file.read("w", target);
  EXPECT_EQ(memory_use().peak, before);
  EXPECT_EQ(target.to_doubles(), values.to_doubles());
}

}  // namespace
}  // namespace rwkvlab
