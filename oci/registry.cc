#include "oci/registry.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"
#include "oci/blob_download.h"
#include "oci/image_graph.h"
#include "oci/json_reader.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

constexpr std::uint64_t kResumeProgress = 1u << 20;  // REG-47

/// All four, always, in one header (REG-41).
std::string accepted_types() {
  return cat(kOciIndex, ", ", kOciManifest, ", ", kDockerList, ", ", kDockerManifest);
}

std::string media_type_of(const HttpResponse& response) {
  const std::string text = response.headers.find("Content-Type").value_or("");
  return to_lower(trim(text.substr(0, text.find(';'))));
}

bool is_generic(std::string_view media_type) {
  return media_type.empty() || media_type == "application/json" || media_type == "text/plain" ||
         media_type == "application/octet-stream";
}

std::optional<Digest> digest_hint(const HttpResponse& response) {
  const auto text = response.headers.find("Docker-Content-Digest");
  if (!text) return std::nullopt;
  try {
    return Digest::parse(*text);
  } catch (const Error&) {
    return std::nullopt;  // other algorithms and nonsense: no hint
  }
}

/// What the document is, by its type header or, when that says nothing, by what it calls itself (NET-3).
std::string decide_media_type(const std::string& what, const HttpResponse& response,
                              const std::string& bytes) {
  const std::string header = media_type_of(response);
  if (is_schema1_type(header)) {
    throw UnsupportedError(cat(what, " is stored in image schema 1, which is not supported"));
  }
  const bool known = is_index_type(header) || is_manifest_type(header);
  if (!known && !is_generic(header)) {
    throw IntegrityError(cat(what, " is no image: its type is ", printable(header)));
  }
  const std::string embedded = JsonValue::parse(bytes, "manifest").string_or_empty("mediaType");
  if (known) {
    if (!embedded.empty() && embedded != header) {
      throw IntegrityError(cat(what, ": the registry says ", header, ", the document ", printable(embedded)));
    }
    return header;
  }
  if (!is_index_type(embedded) && !is_manifest_type(embedded)) {
    throw IntegrityError(cat(what, ": neither the registry nor the document tells a known type of image"));
  }
  return embedded;
}

std::string describe(const Reference& name, const std::string& selector) {
  return cat(name.registry(), "/", name.repository(), selector.find(':') == std::string::npos ? ":" : "@",
             selector);
}

}  // namespace

std::optional<Descriptor> Registry::find_manifest(const Reference& name, std::stop_token stop) {
  const std::string selector = name.manifest_selector();
  RegistryRequest request{.method = "HEAD", .path = cat("manifests/", selector)};
  request.headers.add("Accept", accepted_types());
  const HttpResponse response = call(name, request, stop);
  if (response.status == 403 || response.status == 405) return std::nullopt;  // a GET says more, or works
  if (response.status != 200) throw status_error(describe(name, selector), response);
  const auto digest = digest_hint(response);
  const auto size = response.content_length();
  const std::string type = media_type_of(response);
  if (!digest || !size || *size == 0 || *size > kMaxManifestSize) return std::nullopt;
  if (!is_index_type(type) && !is_manifest_type(type)) return std::nullopt;
  if (name.digest() && *name.digest() != *digest) {
    throw IntegrityError(cat(describe(name, selector), ": the registry offers ", digest->str(), " instead"));
  }
  return Descriptor{.media_type = type, .digest = *digest, .size = *size};
}

Registry::Document Registry::load_manifest(const Reference& name, const std::string& selector,
                                           std::optional<std::uint64_t> size, std::stop_token stop) {
  const std::string what = describe(name, selector);
  RegistryRequest request{.path = cat("manifests/", selector), .body_limit = kMaxManifestSize};
  request.headers.add("Accept", accepted_types());
  HttpResponse response = call(name, request, stop);
  const bool by_digest = selector.find(':') != std::string::npos;
  if (response.status == 404 && by_digest) {  // REG-44
    RegistryRequest blob{.path = cat("blobs/", selector), .body_limit = kMaxManifestSize};
    HttpResponse second = call(name, blob, stop);
    if (second.status == 200) response = std::move(second);
  }
  if (response.status != 200) throw status_error(what, response);
  if (size && response.body.size() != *size) {
    throw IntegrityError(cat(what, " has ", response.body.size(), " bytes instead of ", *size));
  }
  const Digest digest = sha256(response.body);
  if (by_digest && digest != Digest::parse(selector)) {
    throw IntegrityError(cat(what, ": the registry sent other content, with digest ", digest.str()));
  }
  const auto hint = digest_hint(response);
  if (hint && *hint != digest) {
    throw IntegrityError(cat(what, ": the registry sent ", digest.str(), " but calls it ", hint->str()));
  }
  const std::string media_type = decide_media_type(what, response, response.body);
  return {{.media_type = media_type, .digest = digest, .size = response.body.size()},
          std::move(response.body)};
}

std::string Registry::load_blob(const Reference& name, const Descriptor& blob, std::uint64_t limit,
                                std::stop_token stop) {
  const std::string what = describe(name, blob.digest.str());
  if (blob.size > limit) {
    throw IntegrityError(
        cat(what, " is declared with ", blob.size, " bytes; at most ", limit, " are allowed"));
  }
  RegistryRequest request{.path = cat("blobs/", blob.digest.str()), .body_limit = limit};
  HttpResponse response = call(name, request, stop);
  if (response.status != 200) throw status_error(what, response);
  if (response.body.size() != blob.size) {
    throw IntegrityError(cat(what, " has ", response.body.size(), " bytes instead of ", blob.size));
  }
  const Digest digest = sha256(response.body);
  if (digest != blob.digest) {
    throw IntegrityError(cat(what, ": the registry sent other content, with digest ", digest.str()));
  }
  return std::move(response.body);
}

void Registry::fetch_blob(const Reference& name, const Descriptor& blob, BlobStore& store,
                          const std::function<void(std::uint64_t)>& progress, std::stop_token stop) {
  BlobDownload download(describe(name, blob.digest.str()), blob, store, progress);
  std::uint64_t resumed_at = 0;
  for (int failures = 0; !download.complete();) {
    try {
      RegistryRequest request{.path = cat("blobs/", blob.digest.str()), .retry = false};
      request.body_limit = blob.size == UINT64_MAX ? blob.size : blob.size + 1;
      if (const auto offset = download.begin_attempt()) {
        request.headers.add("Range", cat("bytes=", *offset, "-"));
      }
      request.sink_for = [&](const HttpResponse& response) { return download.accept(response); };
      const HttpResponse response = call(name, request, stop);
      if (response.status != 200 && response.status != 206) {
        throw status_error(describe(name, blob.digest.str()), response);
      }
      download.end_attempt();
    } catch (const TransferError&) {
      if (download.received() >= resumed_at + kResumeProgress) failures = 0;
      resumed_at = download.received();
      if (++failures >= options_.max_attempts) throw;
      wait_before_retry(failures - 1, nullptr, stop);
    }
  }
  download.commit();
}

}  // namespace imgbuild::oci
