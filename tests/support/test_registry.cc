#include "tests/support/test_registry.h"

#include "base/hash.h"
#include "base/strings.h"

namespace imgbuild::tests {

namespace {

ServerReply registry_error(int status, const std::string& code) {
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = cat("{\"errors\":[{\"code\":\"", code, "\",\"message\":\"scripted\"}]}")};
}

}  // namespace

TestRegistry::TestRegistry() : server_([this](const ServerRequest& request) { return answer(request); }) {}

std::string TestRegistry::put_manifest(const std::string& repository, const std::string& tag,
                                       const std::string& media_type, const std::string& bytes) {
  const std::string digest = sha256(bytes).str();
  plant_manifest(repository, digest, {media_type, bytes});
  if (!tag.empty()) plant_manifest(repository, tag, {media_type, bytes});
  return digest;
}

std::string TestRegistry::put_blob(const std::string& bytes) {
  const std::string digest = sha256(bytes).str();
  plant_blob(digest, bytes);
  return digest;
}

void TestRegistry::plant_blob(const std::string& digest, const std::string& bytes) {
  const std::lock_guard guard(mutex_);
  blobs_[digest] = bytes;
}

void TestRegistry::plant_manifest(const std::string& repository, const std::string& selector,
                                  Manifest manifest) {
  const std::lock_guard guard(mutex_);
  manifests_[cat(repository, "@", selector)] = std::move(manifest);
}

ServerReply TestRegistry::serve_content(const ServerRequest& request, const std::string& bytes,
                                        ServerReply reply) const {
  const std::string range = request.header("range");
  if (!range.starts_with("bytes=") || !range.ends_with("-")) {
    reply.body = bytes;
    return reply;
  }
  const std::uint64_t from = parse_decimal(range.substr(6, range.size() - 7)).value_or(0);
  if (from >= bytes.size()) return {.status = 416};
  reply.status = 206;
  reply.headers.emplace_back("Content-Range", cat("bytes ", from, "-", bytes.size() - 1, "/", bytes.size()));
  reply.body = bytes.substr(from);
  return reply;
}

ServerReply TestRegistry::answer(const ServerRequest& request) {
  if (intercept) {
    if (auto reply = intercept(request)) return *reply;
  }
  if (request.path == "/token") return {.body = cat("{\"token\":\"", token_, "\",\"expires_in\":300}")};
  if (!token_.empty() && request.header("authorization") != cat("Bearer ", token_)) {
    ServerReply reply = registry_error(401, "UNAUTHORIZED");
    reply.headers.emplace_back(
        "WWW-Authenticate", cat("Bearer realm=\"", server_.url(), "/token\",service=\"test\",scope=\"x\""));
    return reply;
  }
  if (!request.path.starts_with("/v2/")) return registry_error(404, "NAME_UNKNOWN");
  const std::string path = request.path.substr(4);
  const std::lock_guard guard(mutex_);
  if (const auto at = path.find("/manifests/"); at != std::string::npos) {
    const auto found = manifests_.find(cat(path.substr(0, at), "@", path.substr(at + 11)));
    if (found == manifests_.end()) return registry_error(404, "MANIFEST_UNKNOWN");
    const Manifest& manifest = found->second;
    return {.headers = {{"Content-Type", manifest.media_type},
                        {"Docker-Content-Digest", sha256(manifest.bytes).str()}},
            .body = manifest.bytes};
  }
  if (const auto at = path.find("/blobs/"); at != std::string::npos) {
    const auto found = blobs_.find(path.substr(at + 7));
    if (found == blobs_.end()) return registry_error(404, "BLOB_UNKNOWN");
    return serve_content(request, found->second, {.headers = {{"Content-Type", "application/octet-stream"}}});
  }
  return registry_error(404, "UNSUPPORTED");
}

}  // namespace imgbuild::tests
