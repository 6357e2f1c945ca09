#include "tests/support/remote_fixture.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "tests/support/test_data.h"
#include "tests/support/tree_fakes.h"

namespace imgbuild::tests {

namespace {

using nlohmann::json;

std::vector<TarSpec> archive_members(const json& list) {
  std::vector<TarSpec> members;
  for (const json& entry : list) {
    TarSpec member;
    member.path = entry.at("path").get<std::string>();
    const std::string type = entry.value("type", "file");
    member.type = type == "dir" ? 'd' : type == "symlink" ? 's' : type == "hardlink" ? 'h' : 'f';
    member.mode =
        static_cast<unsigned>(std::stoul(entry.value("mode", type == "dir" ? "0755" : "0644"), nullptr, 8));
    member.uid = entry.value("uid", 0u);
    member.gid = entry.value("gid", 0u);
    member.content = entry.value("content", "");
    member.target = entry.value("target", "");
    members.push_back(member);
  }
  return members;
}

}  // namespace

RemoteFixture::RemoteFixture()
    : directory_(TempDir::create(std::filesystem::temp_directory_path().string(), "remote-")) {
  path_ = (std::filesystem::temp_directory_path() / directory_.name()).string();
  const json fixture = json::parse(read_test_data("cases/remote.json")).at("fixture");
  for (const json& route : fixture.at("routes")) {
    ServerReply reply{.status = route.at("status").get<int>()};
    for (const auto& [name, value] : route.at("headers").items()) {
      reply.headers.emplace_back(name, value.get<std::string>());
    }
    reply.body = route.contains("archive") ? make_archive(archive_members(fixture.at("archiveT")),
                                                          route.at("compression").get<std::string>())
                                           : route.at("content").get<std::string>();
    routes_[route.at("path").get<std::string>()] = std::move(reply);
  }
  has_git_ = make_repository();
  server_ = std::make_unique<HttpServer>([this](const ServerRequest& request) { return answer(request); });
}

bool RemoteFixture::shell(const std::string& script) const {
  std::ofstream(path_ + "/script") << "set -e\ncd '" << path_ << "'\n" << script;
  return std::system(cat("env -i PATH=/usr/bin:/bin HOME='", path_, "' GIT_CONFIG_NOSYSTEM=1 sh '", path_,
                         "/script' >'", path_, "/log' 2>&1")
                         .c_str()) == 0;
}

bool RemoteFixture::make_repository() const {
  return shell(R"(
git --version
export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE=2010-01-02T03:04:05Z GIT_COMMITTER_DATE=2010-01-02T03:04:05Z
umask 022
git init -q -b main work
cd work
mkdir -p d/s
printf 'r\n' >README
chmod 0600 README
printf 'x\n' >d/x
printf 'y\n' >d/s/y
printf '#!/bin/sh\n' >run.sh
chmod 0755 run.sh
ln -s README link
git add -A
git commit -q -m one
git tag v1
git tag -a -m ann v2
git checkout -q -b dev
printf 'dev\n' >DEV
git add -A
git commit -q -m two
git checkout -q main
cd ..
mkdir git
git clone -q --bare work git/repo.git
cd git/repo.git
git update-server-info
)");
}

ServerReply RemoteFixture::answer(const ServerRequest& request) const {
  const auto route = routes_.find(request.path);
  if (route != routes_.end()) return route->second;
  const bool inside = request.path.starts_with("/git/") && request.path.find("..") == std::string::npos;
  std::ifstream file(path_ + request.path, std::ios::binary);
  if (!inside || !file || std::filesystem::is_directory(path_ + request.path)) return {.status = 404};
  return {.body = {std::istreambuf_iterator<char>(file), {}}};
}

}  // namespace imgbuild::tests
