#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/store_dir.h"

namespace imgbuild::cache {

/// What an earlier build learned about a URL.
struct HttpMemoEntry {
  std::string etag;
  std::string last_modified;  ///< as the server wrote it
  Digest digest;
  std::uint64_t size = 0;
};

/// Remembers URLs between builds, so that an unchanged file is not sent again (ADD-27). Thread-safe. What is
/// kept holds no credentials.
class HttpMemo {
 public:
  virtual ~HttpMemo() = default;
  virtual std::optional<HttpMemoEntry> find(const std::string& url) const = 0;
  /// Replaces what was known. A memo that cannot be written is no error: the file is sent again next time.
  virtual void remember(const std::string& url, const HttpMemoEntry& entry) = 0;
};

/// The memo below `http/` of the store, which is made
/// when something is first remembered. A file that cannot be understood is an entry that is not there. Safe
/// for any number of processes: an entry appears by one rename. Format: docs/formats/http-memo.md.
std::unique_ptr<HttpMemo> open_http_memo(const StoreDir& store);

}  // namespace imgbuild::cache
