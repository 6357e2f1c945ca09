// No Dockerfile makes checking it take longer than its length accounts for (ATK-128, NET-26).
#include <doctest/doctest.h>

#include <functional>
#include <optional>
#include <string>

#include "builder/check_call.h"
#include "parser/ignore_file.h"
#include "tests/support/text.h"
#include "tests/support/work_meter.h"
#include "tests/unit/builder/plan_cases.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;

namespace {

/// Six times the input may be twelve times the work; with a square in it, it would be 36 times.
constexpr int kTimes = 6;
constexpr double kAllowed = 12;

CheckResult check(const std::string& text) {
  TableResolver bases;
  EvaluateOptions options;
  options.build_platform = oci::Platform::parse("linux/amd64");
  options.target_platform = options.build_platform;
  return check_dockerfile(std::make_shared<const SourceText>("Dockerfile", text), options, bases);
}

std::string lines(int count, const std::function<std::string(int)>& line) {
  std::string out;
  for (int i = 0; i < count; ++i) out += line(i) + "\n";
  return out;
}

struct Input {
  const char* name;
  int size;  ///< of the small one
  std::function<std::string(int)> make;
  bool is_accepted = true;
};

const Input kInputs[] = {
    {"RUN lines", 600,
     [](int n) { return "FROM scratch\n" + lines(n, [](int i) { return cat("RUN make part-", i); }); }},
    {"ENV lines", 1000,
     [](int n) { return "FROM scratch\n" + lines(n, [](int i) { return cat("ENV V", i, "=$PATH"); }); }},
    {"variables of one ENV", 1500,
     [](int n) {
       return "FROM scratch\nENV" + lines(n, [](int i) { return cat(" V", i, "=1 \\"); }) + " LAST=1\n";
     }},
    {"ARG lines", 1000,
     [](int n) { return "FROM scratch\n" + lines(n, [](int i) { return cat("ARG A", i, "=1"); }); }},
    {"ARG lines before FROM that lead to each other", 1000,
     [](int n) {
       return "ARG A0=x\n" + lines(n, [](int i) { return cat("ARG A", i + 1, "=$A", i); }) +
              cat("FROM scratch\nARG A", n, "\n");
     }},
    {"ARG and RUN in turn", 500,
     [](int n) { return "FROM scratch\n" + lines(n, [](int i) { return cat("ARG A", i, "=1\nRUN x"); }); }},
    {"undefined variables among many", 500,
     [](int n) {
       return "FROM scratch\n" + lines(n, [](int i) { return cat("ENV V", i, "=1\nLABEL l=$U", i); });
     }},
    {"LABEL, EXPOSE, VOLUME", 300,
     [](int n) {
       return "FROM scratch\n" +
              lines(n, [](int i) { return cat("LABEL l", i, "=1\nEXPOSE ", i + 1, "\nVOLUME /v", i); });
     }},
    {"here-documents", 200,
     [](int n) {
       return "FROM scratch\n" + lines(n, [](int i) { return cat("COPY <<E", i, " /f\n$PATH\nE", i); });
     }},
    {"here-documents of one line", 1000,
     [](int n) {
       const auto marker = [](int i) { return cat("<<E", i, " \\"); };
       return "FROM scratch\nCOPY " + lines(n, marker) + " /d/\n" +
              lines(n, [](int i) { return cat("E", i); });
     }},
    {"a long here-document", 3000,
     [](int n) {
       return "FROM scratch\nCOPY <<E /f\n" + lines(n, [](int) { return "text $PATH"; }) + "E\n";
     }},
    {"stages", 100,
     [](int n) {
       return lines(n, [](int i) { return cat("FROM scratch AS s", i, "\nCOPY --from=s", i - 1, " /a /a"); })
           .replace(0, 40, "FROM scratch AS s0\nENV A=1            ");
     }},
    {"references to later stages", 100,
     [](int n) { return lines(n, [n](int) { return cat("FROM scratch\nCOPY --from=", n - 1, " /a /a"); }); },
     false},
    {"continuation lines", 5000,
     [](int n) { return "FROM scratch\nRUN x" + lines(n, [](int) { return " y \\"; }) + "\n"; }},
    {"comments and empty lines in a continuation", 5000,
     [](int n) { return "FROM scratch\nRUN x \\\n" + lines(n, [](int) { return "# c\n"; }) + "y\n"; }},
    {"comments", 5000,
     [](int n) { return lines(n, [](int i) { return cat("# c", i); }) + "FROM scratch\n"; }},
    {"mounts of one RUN", 500,
     [](int n) {
       const auto mount = [](int i) { return cat(" --mount=type=cache,target=/c", i, " \\"); };
       return "FROM scratch\nRUN" + lines(n, mount) + " x\n";
     }},
    {"words of a JSON array", 5000,
     [](int n) { return "FROM scratch\nCMD [\"x\"" + repeated(", \\\n\"y\"", n) + "]\n"; }},
    {"an array that is no JSON", 5000,
     [](int n) { return "FROM scratch\nRUN [\"x\"" + repeated(", \\\n\"y\"", n) + "\n"; }},
    {"sources of one COPY", 2000,
     [](int n) { return "FROM scratch\nCOPY " + repeated("a \\\n", n) + "/d/\n"; }},
    {"nested variables", 400,
     [](int n) {
       const std::string word = repeated("${A:-", 30) + "x" + repeated("}", 30);
       return "FROM scratch\n" + lines(n / 10, [&](int) { return "LABEL l=" + word; });
     }},
    {"variables nested too deeply", 2000,
     [](int n) { return "FROM scratch\nENV A=" + repeated("${A:-", n) + repeated("}", n) + "\n"; }, false},
    // Long enough to reach the limit at both sizes: below it the output doubles with every line, as it has
    // to.
    {"values that double", 40,
     [](int n) { return "FROM scratch\nARG a=xx\n" + lines(n, [](int) { return "ARG a=${a}${a}"; }); },
     false},
    {"ONBUILD lines", 300,
     [](int n) {
       return "FROM scratch AS a\n" + lines(n, [](int i) { return cat("ONBUILD LABEL l", i, "=1"); }) +
              "FROM a\n";
     }},
    {"words that are no instruction", 8000, [](int n) { return repeated("x", n) + "\n"; }, false},
    {"long names that are close to each other", 2000,
     [](int n) {
       return "FROM scratch\nENV " + std::string(n, 'A') + "=1\nLABEL l=$" +
              std::string(static_cast<std::size_t>(n - 1), 'A') + "B\n";
     }},
};

}  // namespace

TEST_CASE("a Dockerfile six times as long takes about six times the work (ATK-128)") {
  for (const auto& input : kInputs) {
    const std::string name = input.name;
    CAPTURE(name);
    const std::string small = input.make(input.size);
    const std::string large = input.make(input.size * kTimes);
    std::optional<CheckError> error;
    const double growth = growth_of([&] { check(small); }, [&] { error = check(large).error; }, kAllowed);
    CHECK_MESSAGE(input.is_accepted == !error, (error ? error->message : "no error"));
    CHECK_MESSAGE(growth <= kAllowed, growth, " times the work");
  }
}

TEST_CASE("findings are printed in proportion to their number (ATK-128)") {
  const auto text = [](int n) {
    return "FROM scratch\n" + lines(n, [](int i) { return cat("LABEL l=$U", i); });
  };
  const auto few = check(text(500));
  const auto many = check(text(500 * kTimes));
  REQUIRE(many.warnings.size() == 500 * kTimes);
  CHECK(growth_of([&] { render_check_text(few); }, [&] { render_check_text(many); }, kAllowed) <= kAllowed);
  // One long instruction with many findings is not repeated in full for each.
  const auto long_one =
      check("FROM scratch\nCOPY <<E /f\n" + lines(2000, [](int i) { return cat("$U", i); }) + "E\n");
  REQUIRE(long_one.warnings.size() == 2000);
  CHECK(render_check_text(long_one).size() < 2000 * 4000);
}

TEST_CASE("what expands without end is refused with its line (ATK-128)") {
  /// Line 0: any line but the first.
  const auto refused = [](const std::string& text, const std::string& why, int line) {
    const auto result = check(text);
    REQUIRE(result.error);
    CHECK_MESSAGE(result.error->message.find(why) != std::string::npos, result.error->message);
    REQUIRE(result.error->where);
    CHECK((line == 0 ? result.error->where->first_line > 1 : result.error->where->first_line == line));
  };
  const std::string big = "FROM scratch\nARG B=" + std::string(60000, 'x') + "\n";
  refused(big + "LABEL a=" + repeated("$B", 17) + " b=" + repeated("$B", 17) + "\n", "labels", 3);
  refused(big + "EXPOSE" + repeated(" ${B:+}", 9000) + "\n", "16 MiB", 3);
  refused(big + "ARG A=" + repeated("$B", 17) + "\n", "variables of the stage", 3);
  refused(big + lines(3000, [](int) { return "USER $B\nRUN x"; }), "128 MiB", 0);
  refused("FROM scratch\n" + lines(300, [](int) { return "EXPOSE 1-65535"; }), "128 MiB", 0);
  refused("FROM scratch\nWORKDIR /" + repeated("a/", 2100) + "\n", "longer than 4096", 2);
  refused(repeated("ARG a\n", 1'000'000), "more than 100000 instructions", 100'001);
  refused(repeated("FROM scratch\n", 1'001), "more than 1000 build stages", 1'001);
  refused("FROM scratch\nCOPY " + repeated("<<E \\\n", 300) + "/d/\n" + repeated("E\n", 299) +
              lines(1000, [](int) { return std::string(60, 'x'); }) + "E\n",
          "16 MiB together", 2);
}

TEST_CASE("patterns and paths are matched without going back (ATK-111, ATK-128)") {
  const auto matching = [](int stars, int parts) {
    const auto matcher =
        parser::IgnoreMatcher::from_patterns({repeated("**/a*a*", stars) + "b", repeated("*a", stars)});
    return [matcher, path = repeated("aaaa/", parts) + "a"] { static_cast<void>(matcher.ignores(path)); };
  };
  CHECK(growth_of(matching(10, 20), matching(10 * kTimes, 20), kAllowed) <= kAllowed);
  const auto ignoring = [](int patterns) {
    std::vector<std::string> all;
    for (int i = 0; i < patterns; ++i) all.push_back(cat("**/node_", i, "/**/*.o"));
    return [matcher = parser::IgnoreMatcher::from_patterns(all)] {
      for (int i = 0; i < 20; ++i) static_cast<void>(matcher.ignores(cat("src/deep/path/file", i, ".o")));
    };
  };
  CHECK(growth_of(ignoring(500), ignoring(500 * kTimes), kAllowed) <= kAllowed);
}
