#include "builder/ports.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "builder/signals.h"

using namespace imgbuild;
using namespace imgbuild::builder;

TEST_CASE("ports are read with ranges, protocols and host parts") {
  using Ports = std::vector<std::string>;
  CHECK(parse_exposed_ports("80") == Ports{"80/tcp"});
  CHECK(parse_exposed_ports("080/") == Ports{"80/tcp"});
  CHECK(parse_exposed_ports("1-3/UDP") == Ports{"1/udp", "2/udp", "3/udp"});
  CHECK(parse_exposed_ports("[::1]:1-2:3-4") == Ports{"3/tcp", "4/tcp"});
  CHECK(parse_exposed_ports(":80") == Ports{"80/tcp"});
  CHECK(parse_exposed_ports("0-65535").size() == 65536);
}

TEST_CASE("what is no port is refused") {
  for (const char* text :
       {"", "x", "-1", "80-", "-", "2-1", "65536", "99999999999999999999", "/tcp", "80/icmp", "a:80",
        "1.2.3:1:2", "1.2.3.4.5:1:2", "[::1:1:2", "10:20-22", "80/TCP:81", "+80", "8 0"}) {
    CHECK_THROWS_AS_MESSAGE(parse_exposed_ports(text), SyntaxError, text);
  }
}

TEST_CASE("signals are numbers from one or Linux names in any case") {
  for (const char* text :
       {"9", "65", "SIGTERM", "term", "sigkill", "RTMIN+3", "SIGRTMAX-14", "rtmin", "RTMAX"}) {
    CHECK_MESSAGE(is_signal(text), text);
  }
  for (const char* text :
       {"", "0", "-1", "FOO", "SIG", "RTMIN+0", "RTMIN+16", "RTMAX-15", "RTMIN+", "9 ", "SIGSIGTERM"}) {
    CHECK_MESSAGE(!is_signal(text), text);
  }
}
