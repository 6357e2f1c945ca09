#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/timestamp.h"
#include "cache/http_memo.h"
#include "oci/blob_store.h"
#include "oci/http.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

using cache::HttpMemo;
using cache::HttpMemoEntry;

struct HttpFetchOptions {
  std::string checksum;       ///< "sha256:…", "sha384:…", "sha512:…"; empty: not checked (ADD-25)
  std::string authorization;  ///< complete header value, empty: none (ADD-26)
  std::uint64_t size_limit = std::uint64_t{16} << 30;
  bool global_addresses_only = false;  ///< --block-private-urls (NET-21)
  int spool_directory = -1;            ///< where bytes are set aside; -1: in memory
  HttpMemo* memo = nullptr;            ///< borrowed; none: always downloaded
  oci::BlobStore* bodies =
      nullptr;  ///< borrowed; keeps what the memo names; none: downloaded when it is read
  int attempts = 3;
};

struct FetchedFile {
  std::string name;  ///< ADD-21: from the URL, never from headers
  Timestamp mtime;   ///< Last-Modified, or 1970 (ADD-22)
  std::string last_modified;
  std::string etag;
  Digest digest;
  std::uint64_t size = 0;
  oci::ContentOpener open;  ///< downloads first when the server only said "unchanged"
};

/// The name a download gets in a directory: the last part of the URL's path, decoded, `__unnamed__` when
/// there is none. Throws Error for names that are no file name: `..`, or with `/`, `\`, NUL or control
/// characters (NET-20).
std::string file_name_of_url(std::string_view url);

/// Downloads one file, unless the server says that it is as `memo` knows it, or the checksum says so
/// (ADD-27). The bytes are verified before anybody sees them. `http` outlives what is returned. Throws
/// RegistryError ("invalid response status 404"), IntegrityError ("digest mismatch …"), Error for an unusable
/// checksum.
FetchedFile fetch_http(oci::HttpClient& http, const std::string& url, const HttpFetchOptions& options,
                       std::stop_token stop);

}  // namespace imgbuild::builder
