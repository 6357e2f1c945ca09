#include "base/strings.h"

#include <doctest/doctest.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/source_text.h"
#include "base/timestamp.h"

using namespace imgbuild;

TEST_CASE("printable text keeps letters and escapes what a terminal would act on") {
  CHECK(printable("grüße 日本") == "grüße 日本");
  CHECK(printable("a\x1b[31mb\n\t") == "a\\x1b[31mb\\n\\t");
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable("\u202E") == "\\xe2\\x80\\xae");
}

TEST_CASE("the nearest candidate is found only within the limit") {
  CHECK(nearest("RUUN", {"RUN", "USER"}) == "RUN");
  CHECK(nearest("copy", {"COPY"}) == "COPY");
  CHECK_FALSE(nearest("xyzzy", {"RUN", "COPY"}));
}

TEST_CASE("decimal numbers must fill the whole text") {
  CHECK(parse_decimal("0") == 0u);
  CHECK(parse_decimal("18446744073709551615") == 18446744073709551615u);
  CHECK_FALSE(parse_decimal("18446744073709551616"));
  for (const char* bad : {"", "-1", "+1", " 1", "1 ", "0x1", "1e3"}) CHECK_FALSE(parse_decimal(bad));
}

TEST_CASE("sizes are shown with binary units") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(1536) == "1.5 KiB");
  CHECK(human_size(std::uint64_t{512} << 20) == "512 MiB");
}

TEST_CASE("a digest is parsed strictly and printed as it came") {
  const auto digest = sha256("");
  CHECK(digest.str() == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Digest::parse(digest.str()) == digest);
  for (const char* bad : {"", "sha256:", "md5:00", "sha256:../../x",
                          "sha256:E3B0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}) {
    CHECK_THROWS_AS(Digest::parse(bad), IntegrityError);
  }
}

TEST_CASE("times are written without trailing zeros and read with any offset") {
  CHECK(format_rfc3339({1700000000, 0}) == "2023-11-14T22:13:20Z");
  CHECK(format_rfc3339({1700000000, 120000000}) == "2023-11-14T22:13:20.12Z");
  CHECK(parse_rfc3339("2023-11-15T00:13:20.12+02:00") == Timestamp{1700000000, 120000000});
  CHECK(parse_rfc3339(format_rfc3339({-1, 5})) == Timestamp{-1, 5});
  CHECK_THROWS_AS(parse_rfc3339("2023-13-15T00:13:20Z"), Error);
  CHECK_THROWS_AS(parse_rfc3339("yesterday"), Error);
}

TEST_CASE("an excerpt puts the caret under the text it means") {
  const auto text = std::make_shared<SourceText>("Dockerfile", "FROM a\nCOPY \tx /y\n");
  CHECK(render_excerpt({text, 2, 2, 7, 8}) ==
        "  --> Dockerfile:2:7\n"
        "   2 | COPY \\tx /y\n"
        "     |        ^\n");
  CHECK(render_excerpt({text, 1, 1, 0, 0}) ==
        "  --> Dockerfile:1\n"
        "   1 | FROM a\n"
        "     | ^^^^^^\n");
  CHECK(render_excerpt({text, 1, 2, 0, 0}) ==
        "  --> Dockerfile:1\n"
        "   1 > FROM a\n"
        "   2 > COPY \\tx /y\n");
}
