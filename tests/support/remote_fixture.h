#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/temp_dir.h"
#include "tests/support/http_server.h"

namespace imgbuild::tests {

/// The HTTP routes and the git repository that `cases/remote.json` describes, on a loopback port. `@` of a
/// case stands for url(). The repository is made with the git CLI and served as plain files; without git,
/// has_git() is false.
class RemoteFixture {
 public:
  RemoteFixture();

  std::string url() const { return server_->url(); }
  bool has_git() const noexcept { return has_git_; }
  HttpServer& server() noexcept { return *server_; }
  /// An absolute private directory, also for the user of the fixture.
  const std::string& directory() const noexcept { return path_; }
  /// Runs a shell script in the directory with an environment of its own; whether it succeeded.
  bool shell(const std::string& script) const;

 private:
  ServerReply answer(const ServerRequest& request) const;
  bool make_repository() const;

  TempDir directory_;
  std::string path_;
  bool has_git_ = false;
  std::map<std::string, ServerReply> routes_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace imgbuild::tests
