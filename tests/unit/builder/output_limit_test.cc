#include "builder/output_limit.h"

#include <doctest/doctest.h>

#include <string>

using namespace imgbuild::builder;
using namespace std::chrono_literals;

namespace {

/// A limit with a clock that is set by hand.
class Output {
 public:
  explicit Output(const OutputLimits& limits) : limit_(limits, now) {}
  void write(const std::string& bytes, int stream = 1) {
    limit_.write(stream, bytes, now, [this](int to, std::string_view part) {
      text += part;
      streams += std::to_string(to);
    });
  }
  OutputLimit::Clock::time_point now{};
  std::string text, streams;

 private:
  OutputLimit limit_;
};

std::string lines(std::size_t count, std::size_t width = 100) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += std::string(width - 1, 'x') + "\n";
  return out;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("what stays within the limits passes unchanged, with its streams") {
  Output output({});
  output.write("one\n");
  output.write("two", 2);
  CHECK(output.text == "one\ntwo");
  CHECK(output.streams == "12");
}

TEST_CASE("a burst passes whole: a failing compiler's errors are not lost (SBX-84)") {
  Output output({});
  const std::string burst = lines(9000);  // 900 KB in no time
  output.write(burst);
  CHECK(output.text == burst);
}

TEST_CASE("beyond the size one marker line is all that comes, at a line's end (ATK-21)") {
  Output output({.max_bytes = 1000, .bytes_per_second = 0});
  output.write(lines(9));
  output.write(lines(5));
  output.write(lines(50));
  output.now += 1h;
  output.write(lines(50), 2);
  CHECK(output.text == lines(10) + "[output clipped, log limit 1000 B reached]\n");
}

TEST_CASE("exactly the size is not clipped, one byte more is") {
  Output output({.max_bytes = 1000, .bytes_per_second = 0});
  output.write(lines(10));
  CHECK(output.text == lines(10));
  output.write("x");
  CHECK(output.text == lines(10) + "[output clipped, log limit 1000 B reached]\n");
}

TEST_CASE("an endless line is cut, and the marker still has a line of its own (ATK-21)") {
  Output output({.max_bytes = 10, .bytes_per_second = 0});
  output.write("0123456789abcdef");
  CHECK(output.text == "0123456789\n[output clipped, log limit 10 B reached]\n");
}

TEST_CASE("a flood is clipped to the rate, with one marker for each gap, and goes on at a line's start") {
  Output output({.max_bytes = 0, .bytes_per_second = 1000});
  output.write(lines(50));  // five seconds' worth
  output.write("first\n");
  output.write("second\n");
  CHECK(output.text == lines(50) + "[output clipped, log limit 1000 B/s reached]\n");
  output.now += 999ms;
  output.write("third\n");
  CHECK(count(output.text, "third") == 0);
  output.now += 500ms;
  output.write("fourth\nfifth\n");
  CHECK(output.text == lines(50) + "[output clipped, log limit 1000 B/s reached]\nfifth\n");
}

TEST_CASE("over a long time a flood shows its rate and no more") {
  Output output({.max_bytes = 0, .bytes_per_second = 1000});
  for (int i = 0; i < 6000; ++i) {  // a minute of ten times the rate
    output.write(lines(1));
    output.now += 10ms;
  }
  CHECK(output.text.size() > 55'000);
  CHECK(output.text.size() < 70'000);
}

TEST_CASE("no limit at all shows everything") {
  Output output({.max_bytes = 0, .bytes_per_second = 0});
  const std::string flood = lines(100'000);
  output.write(flood);
  CHECK(output.text == flood);
}

TEST_CASE("a rate beyond every number does not overflow") {
  Output output({.max_bytes = 0, .bytes_per_second = ~std::uint64_t{0}});
  output.now += 10000h;
  output.write(lines(1000));
  CHECK(output.text == lines(1000));
}
