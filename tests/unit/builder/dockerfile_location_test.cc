#include "builder/dockerfile_location.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "tests/support/text.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using tests::mentions;

namespace {

struct Place {
  TempDir dir = TempDir::create("/tmp", "dockerfile-location-");
  std::string path = "/tmp/" + dir.name();

  void write(const std::string& name, std::string_view bytes) const {
    write_all(open_at(dir.fd(), name, O_WRONLY | O_CREAT | O_TRUNC, 0600).get(), bytes);
  }
  void mkdir(const std::string& name) const { REQUIRE(::mkdirat(dir.fd(), name.c_str(), 0700) == 0); }
  void symlink(const std::string& target, const std::string& name) const {
    REQUIRE(::symlinkat(target.c_str(), dir.fd(), name.c_str()) == 0);
  }
  std::string read(const std::string& name, PathTrust trust = PathTrust::trusted) const {
    return read_dockerfile(path, name, trust)->text();
  }
  std::string failure(const std::string& name, PathTrust trust = PathTrust::trusted) const {
    try {
      (void)read_dockerfile(path, name, trust);
    } catch (const Error& error) {
      return error.message() + "\n" + join(error.notes(), "\n");
    }
    return "no error";
  }
};

}  // namespace

TEST_CASE("the Dockerfile is read by name, and dockerfile stands in for a missing Dockerfile only") {
  Place place;
  place.mkdir("sub");
  place.write("dockerfile", "lower");
  place.write("sub/dockerfile", "sub lower");
  place.write("other", "other");
  CHECK(place.read("Dockerfile") == "lower");
  CHECK(place.read("sub/Dockerfile") == "sub lower");
  CHECK(place.read("other") == "other");
  CHECK(place.read(place.path + "/other") == "other");
  CHECK(read_dockerfile(place.path, "Dockerfile", PathTrust::trusted)->name() == "dockerfile");
  place.write("Dockerfile", "upper");
  CHECK(place.read("Dockerfile") == "upper");
  CHECK(mentions(place.failure("DOCKERFILE"),
                 "failed to read dockerfile: open DOCKERFILE: no such file or directory"));
}

TEST_CASE("a missing Dockerfile is answered with similar names") {
  Place place;
  CHECK(mentions(place.failure("Dockerfile"), "name another file with -f"));
  place.write("Dockerfile.prod", "");
  place.write("Dockerfile.prod.dockerignore", "");
  place.write("Dokcerfile", "");
  place.write("readme", "");
  const std::string failure = place.failure("Dockerfile");
  CHECK(mentions(failure, "did you mean Dokcerfile or Dockerfile.prod?"));
  CHECK(mentions(place.failure("none/Dockerfile"), "no such file or directory"));
}

TEST_CASE("only a regular file of a bounded size is a Dockerfile") {
  Place place;
  place.mkdir("directory");
  REQUIRE(::mkfifoat(place.dir.fd(), "fifo", 0600) == 0);
  place.symlink("fifo", "to-fifo");
  place.symlink("loop", "loop");
  place.write("huge", "");
  REQUIRE(::truncate((place.path + "/huge").c_str(), (16 << 20) + 1) == 0);
  CHECK(mentions(place.failure("directory"), "is a directory"));
  CHECK(mentions(place.failure("fifo"), "not a regular file"));
  CHECK(mentions(place.failure("to-fifo"), "not a regular file"));
  CHECK(mentions(place.failure("/dev/null"), "not a regular file"));
  CHECK(mentions(place.failure("huge"), "huge is larger than 16"));
  CHECK(mentions(place.failure("loop"), "loop"));
  CHECK(mentions(place.failure(""), "empty"));
}

TEST_CASE("links are followed, in a foreign context only inside it") {
  Place place;
  place.mkdir("inside");
  place.write("inside/file", "inside");
  place.symlink("inside/file", "good");
  place.symlink("/etc/hostname", "outside");
  place.symlink("../../../../etc/hostname", "upwards");
  CHECK(place.read("good") == "inside");
  CHECK(place.read("good", PathTrust::confined) == "inside");
  CHECK(mentions(place.failure("outside", PathTrust::confined), "no such file"));
  CHECK(mentions(place.failure("upwards", PathTrust::confined), "no such file"));
  CHECK(mentions(place.failure("/etc/hostname", PathTrust::confined), "no such file"));
  Place other;
  other.symlink(place.path + "/inside/file", "outside");
  CHECK(other.read("outside") == "inside");
}

TEST_CASE("the ignore file beside the Dockerfile wins, even when it is empty") {
  Place place;
  place.mkdir("sub");
  const auto find = [&](const std::string& dockerfile) {
    const auto text = find_ignore_file(place.path, dockerfile, PathTrust::trusted);
    return text ? text->name() + "=" + text->text() : std::string("none");
  };
  CHECK(find("Dockerfile") == "none");
  place.write(".dockerignore", "root");
  CHECK(find("Dockerfile") == ".dockerignore=root");
  CHECK(find("sub/Dockerfile") == ".dockerignore=root");
  CHECK(find("") == ".dockerignore=root");
  place.write("sub/Dockerfile.dockerignore", "");
  CHECK(find("sub/Dockerfile") == "sub/Dockerfile.dockerignore=");
  CHECK(find("Dockerfile") == ".dockerignore=root");
}

TEST_CASE("an ignore file that cannot be used is an error, never ignored") {
  Place place;
  const auto find = [&] { return find_ignore_file(place.path, "Dockerfile", PathTrust::trusted); };
  SUBCASE("a directory") { place.mkdir(".dockerignore"); }
  SUBCASE("a FIFO") { REQUIRE(::mkfifoat(place.dir.fd(), ".dockerignore", 0600) == 0); }
  SUBCASE("too long") {
    place.write(".dockerignore", "");
    REQUIRE(::truncate((place.path + "/.dockerignore").c_str(), (4 << 20) + 1) == 0);
  }
  CHECK_THROWS_AS(find(), Error);
}
