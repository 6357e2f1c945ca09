#include "builder/processors.h"

#include <doctest/doctest.h>
#include <sched.h>

#include "base/error.h"

using namespace imgbuild;
using namespace imgbuild::builder;

using Numbers = std::vector<unsigned>;

TEST_CASE("parallel commands are spread over the processors, and what one gives back is taken next") {
  Processors processors({0, 1, 2, 5});
  const auto first = processors.lease(2, "");
  CHECK(first.numbers() == Numbers{0, 1});
  {
    const auto second = processors.lease(2, "");
    CHECK(second.numbers() == Numbers{2, 5});
    CHECK(processors.lease(1, "").numbers() == Numbers{0});
  }
  CHECK(processors.lease(1, "").numbers() == Numbers{2});
  CHECK(processors.lease(100, "").numbers().size() == 4);
}

TEST_CASE("a list of processors bounds the choice") {
  Processors processors({0, 1, 2, 5});
  const auto one = processors.lease(1, "1-2");
  CHECK(one.numbers() == Numbers{1});
  CHECK(processors.lease(1, "1-2").numbers() == Numbers{2});
  CHECK(processors.lease(9, "0,5,5").numbers() == Numbers{0, 5});
  CHECK_THROWS_WITH_AS(processors.lease(1, "2-3"), doctest::Contains("processor 3"), UnsupportedError);
  CHECK_THROWS_AS(processors.lease(1, "2-"), UnsupportedError);
  CHECK_THROWS_AS(processors.lease(1, "0-4294967296"), UnsupportedError);
}

TEST_CASE("a mask has a bit for each processor, in whole words") {
  Processors processors({1, 70});
  const auto mask = processors.lease(2, "").mask();
  REQUIRE(mask.size() == 16);
  CHECK(mask[0] == 2);
  CHECK(mask[8] == 64);
}

TEST_CASE("the processors of this process are those the kernel tells") {
  cpu_set_t set;
  REQUIRE(::sched_getaffinity(0, sizeof set, &set) == 0);
  const Numbers own = own_processors();
  CHECK(own.size() == static_cast<std::size_t>(CPU_COUNT(&set)));
  REQUIRE(!own.empty());
  CHECK(CPU_ISSET(own.front(), &set));
}
