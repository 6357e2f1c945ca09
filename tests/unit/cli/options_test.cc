#include "cli/options.h"

#include <doctest/doctest.h>

#include <fstream>

#include "base/error.h"
#include "base/temp_dir.h"

using namespace imgbuild;
using namespace imgbuild::cli;
using Kind = builder::OutputSpec::Kind;

namespace {

const Environment kEnvironment{{{"HOME", "/home/u"}, {"TOKEN", "t0ken"}, {"HTTPS_PROXY", "http://proxy"}}};

builder::BuildRequest request_of(BuildOptions options) { return make_request(options, kEnvironment); }

}  // namespace

TEST_CASE("a path alone says what kind of output it is") {
  CHECK(parse_output("app.tar").kind == Kind::docker);
  CHECK(parse_output("folder").kind == Kind::local);
  CHECK(parse_output("-").kind == Kind::tar);
  CHECK(parse_output("-").destination == "-");
}

TEST_CASE("an output is a record of keys, and quotes protect commas") {
  const auto spec = parse_output("type=oci,\"name=a:1,b:2\",dest=x.tar,tar=true");
  CHECK(spec.kind == Kind::oci);
  CHECK(spec.destination == "x.tar");
  REQUIRE(spec.names.size() == 2);
  CHECK(spec.names[1].familiar() == "b:2");
  CHECK(parse_output("TYPE=oci,tar=false,dest=d").as_directory);
}

TEST_CASE("a wrong output says what was meant") {
  CHECK_THROWS_WITH_AS(parse_output(""), doctest::Contains("empty"), Error);
  CHECK_THROWS_WITH_AS(parse_output("type=oci"), doctest::Contains("dest"), Error);
  CHECK_THROWS_WITH_AS(parse_output("type=nothing,dest=x"), doctest::Contains("unknown type"), Error);
  CHECK_THROWS_WITH_AS(parse_output("type=oci,dest=x,push=true"), doctest::Contains("unknown key"), Error);
  CHECK_THROWS_WITH_AS(parse_output("type=oci,dest=x,tar=maybe"), doctest::Contains("true or false"), Error);
  CHECK_THROWS_WITH_AS(parse_output("type=oci,\"dest=x"), doctest::Contains("not closed"), Error);
  CHECK_THROWS_AS(parse_output("type=oci,x"), Error);
  CHECK_THROWS_AS(parse_output("type=oci,tar=false,dest=-"), Error);
  CHECK_THROWS_AS(parse_output("type=image,dest=x"), Error);
  try {
    parse_output("type=dokcer,dest=x");
    FAIL("an unknown type was accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::usage);
    REQUIRE(error.notes().size() == 1);
    CHECK(error.notes()[0] == "did you mean docker?");
  }
}

TEST_CASE("a build argument without a value comes from the environment or not at all") {
  CHECK(parse_build_arg("A=b=c", kEnvironment) == std::pair<std::string, std::string>("A", "b=c"));
  CHECK(parse_build_arg("TOKEN", kEnvironment)->second == "t0ken");
  CHECK_FALSE(parse_build_arg("MISSING", kEnvironment));
  CHECK_THROWS_AS(parse_build_arg("=x", kEnvironment), Error);
}

TEST_CASE("sizes take binary units and refuse what would overflow") {
  CHECK(parse_size("64m", "--shm-size") == 64u << 20);
  CHECK(parse_size("1GiB", "--shm-size") == 1u << 30);
  CHECK(parse_size("512", "--shm-size") == 512);
  for (const std::string bad : {"", "m", "1x", "-1", "1.5g", "99999999999g"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(parse_size(bad, "--shm-size"), doctest::Contains("--shm-size"), Error);
  }
}

TEST_CASE("secrets come from files or variables, and a missing one is an error that names it") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "options-");
  const std::string path = "/proc/self/fd/" + std::to_string(dir.fd()) + "/file";
  std::ofstream(path) << "from file";
  BuildOptions options;
  options.secrets = {"id=a,src=" + path, "id=b,env=TOKEN", "id=TOKEN", "id=c,type=env,env=TOKEN"};
  const auto request = request_of(options);
  CHECK(request.secrets.values.at("a")->value() == "from file");
  CHECK(request.secrets.values.at("b")->value() == "t0ken");
  CHECK(request.secrets.values.at("TOKEN")->value() == "t0ken");
  CHECK(request.secrets.values.at("c")->value() == "t0ken");
  for (const std::string bad : {"src=x", "id=a,src=/nonexistent", "id=a,env=MISSING", "id=a,src=x,env=y",
                                "id=a,kind=x", "id=a,type=x"}) {
    CAPTURE(bad);
    options.secrets = {bad};
    CHECK_THROWS_AS(request_of(options), Error);
  }
}

TEST_CASE("the caller's proxies reach RUN unless they were given as build arguments") {
  const auto find = [](const builder::BuildRequest& request, const std::string& name) {
    for (const auto& [key, value] : request.build_args) {
      if (key == name) return value;
    }
    return std::string();
  };
  CHECK(find(request_of({}), "HTTPS_PROXY") == "http://proxy");
  BuildOptions options;
  options.build_args = {"https_proxy=http://mine"};
  CHECK(find(request_of(options), "HTTPS_PROXY").empty());
}

TEST_CASE("options that only name a choice refuse others") {
  const auto refused = [](auto change) {
    BuildOptions options;
    change(options);
    CHECK_THROWS_AS(request_of(options), Error);
  };
  refused([](BuildOptions& o) { o.network = "bridge"; });
  refused([](BuildOptions& o) { o.compression = "lz4"; });
  refused([](BuildOptions& o) { o.compression_level = 10; });
  refused([](BuildOptions& o) { o.context_modes = "svn"; });
  refused([](BuildOptions& o) { o.allow = {"everything"}; });
  refused([](BuildOptions& o) { o.platform = "linux/amd64,linux/arm64"; });
  refused([](BuildOptions& o) { o.labels = {"novalue"}; });
  refused([](BuildOptions& o) { o.tags = {"UPPER"}; });
  refused([](BuildOptions& o) { o.add_hosts = {"x"}; });
}

TEST_CASE("RUN --network=host asks for nothing new unless RUN has no network by default") {
  BuildOptions options;
  CHECK(request_of(options).allow_network_host);
  options.network = "none";
  CHECK_FALSE(request_of(options).allow_network_host);
  options.allow = {"network.host"};
  CHECK(request_of(options).allow_network_host);
}
