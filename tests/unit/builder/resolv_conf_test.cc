#include "builder/resolv_conf.h"

#include <doctest/doctest.h>

using namespace imgbuild::builder;

TEST_CASE("the builder's file is kept as it is in the builder's network (SBX-53)") {
  const std::string text = "# mine\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
  CHECK(make_resolv_conf({.builder = text}, {}) == text);
}

TEST_CASE("in another namespace systemd's stub gives way to the servers behind it (SBX-53)") {
  const ResolvSources sources{.builder = "nameserver 127.0.0.53\nsearch a.example\n",
                              .upstream = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch b.example\n",
                              .own_network = true};
  CHECK(make_resolv_conf(sources, {}) == "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch a.example\n");
}

TEST_CASE("a private network's forwarder answers instead of the builder's servers") {
  CHECK(make_resolv_conf({.builder = "nameserver 192.0.2.1\n", .forwarder = "10.0.2.3", .own_network = true},
                         {}) == "nameserver 10.0.2.3\n");
  CHECK(make_resolv_conf({.builder = "nameserver 192.0.2.1\n", .forwarder = "10.0.2.3", .own_network = true},
                         {.servers = {"192.0.2.9"}}) == "nameserver 192.0.2.9\n");
}

TEST_CASE("options replace what they name and nothing else; the last search line counts") {
  const ResolvSources sources{
      .builder = "domain old.example\nnameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2\n"};
  CHECK(make_resolv_conf(sources, {.servers = {"192.0.2.7"}}) ==
        "nameserver 192.0.2.7\nsearch a.example b.example\noptions ndots:2\n");
  CHECK(make_resolv_conf(sources, {.searches = {"."}, .options = {"timeout:1"}}) ==
        "nameserver 192.0.2.1\noptions timeout:1\n");
}
