#include "base/timestamp.h"

#include <chrono>
#include <ctime>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

using namespace std::chrono;

std::string padded(std::int64_t number, std::size_t width) {
  std::string digits = cat(number < 0 ? -number : number);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return number < 0 ? "-" + digits : digits;
}

}  // namespace

std::string format_rfc3339(const Timestamp& time) {
  const sys_seconds point{seconds(time.seconds)};
  const auto day = floor<days>(point);
  const year_month_day date(day);
  const hh_mm_ss clock(point - day);
  std::string out =
      cat(padded(static_cast<int>(date.year()), 4), "-", padded(static_cast<unsigned>(date.month()), 2), "-",
          padded(static_cast<unsigned>(date.day()), 2), "T", padded(clock.hours().count(), 2), ":",
          padded(clock.minutes().count(), 2), ":", padded(clock.seconds().count(), 2));
  if (time.nanoseconds != 0) {
    std::string fraction = padded(time.nanoseconds, 9);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    out += "." + fraction;
  }
  return out + "Z";
}

Timestamp parse_rfc3339(std::string_view text) {
  const auto fail = [&]() -> Error {
    return Error(
        cat("\"", printable(text.substr(0, 60)), "\" is not a time of the form 2006-01-02T15:04:05Z"));
  };
  std::string_view rest = text;
  const auto number = [&](std::size_t width) {
    const auto value = rest.size() < width ? std::nullopt : parse_decimal(rest.substr(0, width));
    if (!value) throw fail();
    rest.remove_prefix(width);
    return static_cast<unsigned>(*value);
  };
  const auto expect = [&](std::string_view any_of) {
    if (rest.empty() || any_of.find(rest[0]) == std::string_view::npos) throw fail();
    rest.remove_prefix(1);
  };
  const year y(static_cast<int>(number(4)));
  expect("-");
  const month m(number(2));
  expect("-");
  const day d(number(2));
  expect("Tt ");
  const unsigned h = number(2);
  expect(":");
  const unsigned minute = number(2);
  expect(":");
  const unsigned second = number(2);
  const year_month_day date(y, m, d);
  if (!date.ok() || h > 23 || minute > 59 || second > 60) throw fail();
  std::uint32_t fraction = 0;
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    std::uint32_t scale = 100'000'000;
    std::size_t digits = 0;
    for (; !rest.empty() && rest[0] >= '0' && rest[0] <= '9'; ++digits, rest.remove_prefix(1)) {
      fraction += static_cast<std::uint32_t>(rest[0] - '0') * scale;
      scale /= 10;
    }
    if (digits == 0) throw fail();
  }
  std::int64_t offset = 0;
  if (rest == "Z" || rest == "z") {
    rest = {};
  } else {
    const bool west = !rest.empty() && rest[0] == '-';
    expect("+-");
    const unsigned hours_off = number(2);
    expect(":");
    const unsigned minutes_off = number(2);
    offset = (west ? -1 : 1) * (static_cast<std::int64_t>(hours_off) * 3600 + minutes_off * 60);
  }
  if (!rest.empty()) throw fail();
  const sys_days day_point(date);
  return {
      duration_cast<seconds>(day_point.time_since_epoch()).count() + h * 3600 + minute * 60 + second - offset,
      fraction};
}

Timestamp wall_clock_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
}

}  // namespace imgbuild
