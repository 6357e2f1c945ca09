#include "builder/secret_scan.h"

#include <doctest/doctest.h>

#include "oci/registry_auth.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

const std::string kSecret = "tr0ub4dor&3";

bool finds(const std::string& secret, const std::string& text, std::size_t step = 7) {
  const SecretPatterns patterns({{"id", secret}});
  SecretScanner scanner(patterns);
  for (std::size_t at = 0; at < text.size(); at += step) {
    const std::string* id = scanner.scan(std::string_view(text).substr(at, step));
    if (id == nullptr) continue;
    CHECK(*id == "id");
    return true;
  }
  return false;
}

std::string masked(const std::string& secret, const std::string& text, std::size_t step) {
  const MaskPatterns patterns({{"id", secret}});
  SecretMask mask(patterns);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step)
    out += mask.filter(std::string_view(text).substr(at, step));
  return out + mask.finish();
}

std::string long_secret() {
  std::string out = "-----BEGIN KEY-----\n";
  for (unsigned i = 0; i < 3000; ++i) out += static_cast<char>('!' + i * i % 89);
  return out + "\n-----END KEY-----\n";
}

}  // namespace

TEST_CASE("a secret is found wherever chunks are cut, and nothing else is") {
  for (std::size_t step : {1, 2, 3, 5, 100}) {
    CHECK(finds(kSecret, "x" + kSecret + "y", step));
    CHECK(finds(kSecret + "\r\n", "password=" + kSecret, step));
    CHECK_FALSE(finds(kSecret, "tr0ub4dor&2 and tr0ub4dor&", step));
  }
}

TEST_CASE("base64 of a secret is found at every alignment, in both alphabets, in lines") {
  const std::string secret =
      "\xfb\xff\xfe?"
      "?>>~~secret";  // gives + and /
  for (std::size_t before = 0; before < 6; ++before) {
    std::string encoded = oci::base64_encode(std::string(before, 'p') + secret + "tail");
    CHECK(finds(secret, encoded));
    std::string lines;
    for (std::size_t i = 0; i < encoded.size(); ++i) {
      lines += encoded[i];
      if (i % 4 == 1) lines += "\r\n";
    }
    CHECK(finds(secret, lines));
    for (auto& c : encoded) c = c == '+' ? '-' : c == '/' ? '_' : c;
    CHECK(finds(secret, encoded));
  }
  CHECK(finds("sixsix", oci::base64_encode("ab"
                                           "sixsix"
                                           "cd")));
}

TEST_CASE("secrets under six bytes are left alone") {
  CHECK_FALSE(finds("12345", "12345 12345"));
  CHECK_FALSE(finds("12345\n", "12345\n"));
  CHECK(masked("12345", "12345", 2) == "12345");
}

TEST_CASE("of a long secret its most varied part stands for all of it") {
  const std::string secret = long_secret();
  CHECK(finds(secret, "x" + secret));
  CHECK(finds(secret, secret.substr(1000, 1200)));
  CHECK_FALSE(finds(
      secret, "-----BEGIN KEY-----\nanother key's content that is quite different\n-----END KEY-----\n"));
}

TEST_CASE("output is covered whatever its chunks are") {
  for (std::size_t step : {1, 2, 3, 11, 1000}) {
    CHECK(masked(kSecret, "a " + kSecret + " b", step) == "a *** b");
    CHECK(masked(kSecret, kSecret + kSecret, step) == "***");
    CHECK(masked(kSecret, "tr0ub4dor& tr0ub4dor", step) == "tr0ub4dor& tr0ub4dor");
    const std::string encoded = oci::base64_encode(kSecret + "!");
    CHECK(masked(kSecret, "<" + encoded + ">", step).starts_with("<***"));
    CHECK(masked("line one 1\nshort\nline three 3\n", "line one 1|line three 3|short", step) ==
          "***|***|short");
  }
}

TEST_CASE("what cannot be the beginning of a secret is shown at once") {
  const MaskPatterns patterns({{"id", kSecret}});
  SecretMask mask(patterns);
  CHECK(mask.filter("prompt> ") == "prompt> ");
  CHECK(mask.filter("tr0") == "");
  CHECK(mask.filter("x") == "tr0x");
  CHECK(mask.filter("tr0ub") == "");
  CHECK(mask.finish() == "tr0ub");
  SecretMask lines(patterns);
  CHECK(lines.filter("end d\n") == "end d\n");  // d begins the base64 of the secret
}
