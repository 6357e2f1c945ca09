#include "builder/history.h"

#include <doctest/doctest.h>

using namespace imgbuild::builder;

TEST_CASE("words are quoted with escapes for what a terminal cannot show") {
  CHECK(quote_word("") == "\"\"");
  CHECK(quote_word("a b") == "\"a b\"");
  CHECK(quote_word("a\"b\\c") == "\"a\\\"b\\\\c\"");
  CHECK(quote_word("\a\b\f\n\r\t\v") == "\"\\a\\b\\f\\n\\r\\t\\v\"");
  CHECK(quote_word(std::string_view("\0\x1b\x7f", 3)) == "\"\\x00\\x1b\\x7f\"");
}

TEST_CASE("text in UTF-8 stays, what is no UTF-8 and what is invisible is escaped") {
  CHECK(quote_word("\u00fc\u65e5") == "\"\u00fc\u65e5\"");
  CHECK(quote_word("\xff") == "\"\\xff\"");
  CHECK(quote_word("\xe2\x82") == "\"\\xe2\\x82\"");           // cut off
  CHECK(quote_word("\xc0\xaf") == "\"\\xc0\\xaf\"");           // too long a form
  CHECK(quote_word("\xed\xa0\x80") == "\"\\xed\\xa0\\x80\"");  // a surrogate
  CHECK(quote_word("\u200b\u2028\ufeff") == "\"\\u200b\\u2028\\ufeff\"");
}

TEST_CASE("the history of RUN lists the arguments in front of the command") {
  CHECK(history_of_run({}, {"/bin/sh", "-c", "true"}) == "RUN /bin/sh -c true # buildkit");
  CHECK(history_of_run({{"A", "1"}, {"B", ""}}, {"x"}) == "RUN |2 A=1 B= x # buildkit");
}

TEST_CASE("the history of COPY shows owner and mode, then sources, here-documents and destination") {
  CopyOp op;
  op.sources = {"a", "b"};
  op.inline_files = {{"EOF", "text"}};
  op.chown = "1:2";
  op.chmod = "600";
  op.parents = true;
  op.link = true;
  CHECK(history_of_copy(op, "/d/") == "COPY --parents --chown=1:2 --chmod=600 a b <<EOF /d/ # buildkit");
}
