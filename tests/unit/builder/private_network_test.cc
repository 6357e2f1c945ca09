#include "builder/private_network.h"

#include <doctest/doctest.h>

using namespace imgbuild::builder;

TEST_CASE("the default gateway is read from the route table") {
  const std::string head =
      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
  CHECK(parse_default_gateway(head + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
                                     "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n") ==
        "192.0.2.1");
  CHECK_FALSE(parse_default_gateway(head));
  CHECK_FALSE(parse_default_gateway(""));
  // On-link routes have no gateway; nonsense is none.
  CHECK_FALSE(parse_default_gateway(head + "eth0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"));
  CHECK_FALSE(parse_default_gateway(head + "eth0\t00000000\tXYZ\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"));
}
