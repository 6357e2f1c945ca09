#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "tests/support/http_server.h"

namespace imgbuild::tests {

/// A registry in memory on a loopback port. Serves what was put in, as it was put in: the digest of a
/// manifest or blob need not fit its bytes. `intercept` may answer before it does.
class TestRegistry {
 public:
  struct Manifest {
    std::string media_type;
    std::string bytes;
  };

  TestRegistry();

  /// Stores a manifest under its digest and, if not empty, a tag. Returns the digest text.
  std::string put_manifest(const std::string& repository, const std::string& tag,
                           const std::string& media_type, const std::string& bytes);
  std::string put_blob(const std::string& bytes);
  /// Under a digest it may not have.
  void plant_blob(const std::string& digest, const std::string& bytes);
  void plant_manifest(const std::string& repository, const std::string& selector, Manifest manifest);

  /// Asks for a bearer token; tokens come from `/token` of the same server.
  void require_token(const std::string& token) { token_ = token; }
  /// Called first; what it returns is sent. Set before the first request.
  std::function<std::optional<ServerReply>(const ServerRequest&)> intercept;

  HttpServer& server() noexcept { return server_; }
  std::string host() const { return server_.host(); }

 private:
  ServerReply answer(const ServerRequest& request);
  ServerReply serve_content(const ServerRequest& request, const std::string& bytes, ServerReply reply) const;

  std::mutex mutex_;
  std::map<std::string, Manifest> manifests_;  ///< "repository@selector"
  std::map<std::string, std::string> blobs_;
  std::string token_;
  HttpServer server_;
};

}  // namespace imgbuild::tests
