#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "builder/cdi_devices.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

std::string error_of(const std::string& json) {
  try {
    (void)parse_cdi_spec(json);
  } catch (const IntegrityError& error) {
    return error.message();
  }
  return {};
}

/// A directory of CDI files that goes away with the test.
struct Directory {
  explicit Directory(const std::string& name) : path("cdi-test-" + name) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directory(path);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  void add(const std::string& name, const std::string& text) const {
    std::ofstream(path + "/" + name) << text;
  }
  std::string path;
};

std::string spec(const std::string& device, const std::string& variable) {
  return R"({"cdiVersion":"0.6.0","kind":"v.com/c","devices":[{"name":")" + device +
         R"(","containerEdits":{"env":[")" + variable + R"("]}}]})";
}

std::vector<std::string> variables(const CdiDevices& devices, const std::vector<std::string>& wanted) {
  std::vector<std::string> skipped;
  return edits_for(devices, wanted, skipped).env;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a CDI device has the edits of its file, then its own") {
  const CdiSpec read = parse_cdi_spec(R"({"cdiVersion":"1.0.0","kind":"vendor.com/net-card",
    "annotations":{"a":"file","b":"file"},
    "containerEdits":{"env":["ALL=1"]},
    "devices":[{"name":"0","annotations":{"b":"device"},"containerEdits":{"env":["OWN=2"],
      "deviceNodes":[{"path":"/dev/x","type":"c","major":1,"minor":5,"permissions":"rw"}],
      "mounts":[{"hostPath":"/h","containerPath":"/c","options":["ro"]}],
      "additionalGids":[44],"hooks":[],"netDevices":[{"hostInterfaceName":"eth0"}]}}]})");
  REQUIRE(read.devices.size() == 1);
  const CdiEdits& edits = read.devices[0].edits;
  CHECK(read.kind == "vendor.com/net-card");
  CHECK(read.devices[0].annotations == std::map<std::string, std::string>{{"a", "file"}, {"b", "device"}});
  CHECK(edits.env == Lines{"ALL=1", "OWN=2"});
  CHECK(edits.nodes.at(0).host_path == "/dev/x");
  CHECK(edits.nodes.at(0).minor == 5);
  CHECK(edits.mounts.at(0).options == Lines{"ro"});
  CHECK(edits.additional_gids == std::vector<std::uint32_t>{44});
  CHECK(edits.refused == Lines{"netDevices"});
}

TEST_CASE("what is no CDI file is refused with the reason") {
  CHECK(error_of("{") != "");
  CHECK(error_of(R"({"cdiVersion":"2.0","kind":"a/b","devices":[{"name":"x"}]})").find("cdiVersion") == 0);
  CHECK(error_of(R"({"cdiVersion":"0.6.0","kind":"nokind","devices":[{"name":"x"}]})").find("kind") == 0);
  CHECK(error_of(R"({"cdiVersion":"0.6.0","kind":"a/b","devices":[]})") == "it has no devices");
  CHECK(error_of(R"({"cdiVersion":"0.6.0","kind":"a/b","devices":[{"name":"../x"}]})") != "");
  for (const char* edits :
       {R"({"env":["novalue"]})", R"({"env":["=x"]})", R"({"deviceNodes":[{"path":"relative"}]})",
        R"({"deviceNodes":[{"path":"/x","permissions":"rwz"}]})", R"({"mounts":[{"hostPath":"/x"}]})",
        R"({"env":"text"})", R"({"additionalGids":["x"]})"}) {
    CAPTURE(edits);
    CHECK(error_of(
              std::string(R"({"cdiVersion":"0.6.0","kind":"a/b","devices":[{"name":"x","containerEdits":)") +
              edits + "}]}") != "");
  }
}

TEST_CASE("devices are found by name, by kind and by wildcard; a later directory wins") {
  const Directory first("first"), second("second");
  first.add("a.json", spec("one", "FROM=first"));
  first.add("b.json", spec("two", "TWO=2"));
  second.add("c.json", spec("one", "FROM=second"));
  const auto devices = CdiDevices::read({first.path, second.path, "cdi-test-missing"});
  CHECK(devices.problems().empty());
  CHECK(variables(devices, {"v.com/c=one"}) == Lines{"FROM=second"});
  CHECK(variables(devices, {"v.com/c"}) == Lines{"FROM=second"});
  CHECK(variables(devices, {"v.com/c=*"}) == Lines{"FROM=second", "TWO=2"});
  CHECK(variables(devices, {"v.com/c=two", "name=v.com/c=two", "v.com/c=*"}) ==
        Lines{"TWO=2", "FROM=second"});
  CHECK(devices.find("v.com/other=one").empty());
  CHECK(devices.find("").empty());
  CHECK(devices.find("v.com/c=on").empty());
}

TEST_CASE("a name that two files of one directory define is nobody's") {
  const Directory directory("twice");
  directory.add("a.json", spec("one", "A=1"));
  directory.add("b.json", spec("one", "A=2"));
  directory.add("c.yml", "kind: x/y\n");
  directory.add("notes.txt", "not looked at");
  const auto devices = CdiDevices::read({directory.path});
  CHECK(devices.problems().size() == 2);
  std::vector<std::string> skipped;
  CHECK(edits_for(devices, {"v.com/c=one"}, skipped).env.empty());
  CHECK(skipped == Lines{"v.com/c=one"});
  CHECK_THROWS_AS(edits_for(devices, {"v.com/c=one,required"}, skipped), UnsupportedError);
}
