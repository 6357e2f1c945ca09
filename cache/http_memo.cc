#include "cache/http_memo.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::cache {

namespace {

constexpr std::string_view kFirstLine = "imgbuild-http-memo 1";
constexpr std::size_t kMaxHeader = 2048;  ///< a longer ETag is none worth keeping

bool is_line(std::string_view text) {
  return text.size() <= kMaxHeader && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

std::string encode(const HttpMemoEntry& entry) {
  return cat(kFirstLine, "\netag ", entry.etag, "\nlast-modified ", entry.last_modified, "\ndigest ",
             entry.digest.str(), "\nsize ", entry.size, "\n");
}

/// The rest of a line that starts with `name` and a blank.
std::optional<std::string> field(std::string_view line, std::string_view name) {
  if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') return std::nullopt;
  return std::string(line.substr(name.size() + 1));
}

std::optional<HttpMemoEntry> decode(std::string_view text) {
  const auto lines = split(text, '\n');
  if (lines.size() != 6 || lines[0] != kFirstLine || !lines[5].empty()) return std::nullopt;
  const auto etag = field(lines[1], "etag");
  const auto last_modified = field(lines[2], "last-modified");
  const auto digest = field(lines[3], "digest");
  const auto size = field(lines[4], "size");
  if (!etag || !last_modified || !digest || !size || !is_line(*etag) || !is_line(*last_modified))
    return std::nullopt;
  const auto bytes = parse_decimal(*size);
  if (!bytes) return std::nullopt;
  try {
    return HttpMemoEntry{*etag, *last_modified, Digest::parse(*digest), *bytes};
  } catch (const Error&) {
    return std::nullopt;
  }
}

class DiskHttpMemo final : public HttpMemo {
 public:
  explicit DiskHttpMemo(const StoreDir& store) : store_(store) {}

  std::optional<HttpMemoEntry> find(const std::string& url) const override {
    try {
      const UniqueFd file = open_at_if_exists(store_.fd(), name_of(url), O_RDONLY | O_NONBLOCK);
      if (!file) return std::nullopt;
      return decode(read_file(file.get(), 3 * kMaxHeader, "http memo"));
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  void remember(const std::string& url, const HttpMemoEntry& entry) override {
    if (!is_line(entry.etag) || !is_line(entry.last_modified)) return;
    try {
      ensure_dir_at(store_.fd(), "http", 0700);
      store_.publish(store_.fd(), name_of(url), encode(entry));
    } catch (const SystemError&) {
      // A full disk or the like will tell the build itself, where it matters.
    }
  }

 private:
  /// URLs may hold user names and signed queries, so only their digest is kept.
  static std::string name_of(const std::string& url) { return cat("http/", sha256(url).hex()); }

  StoreDir store_;
};

}  // namespace

std::unique_ptr<HttpMemo> open_http_memo(const StoreDir& store) {
  return std::make_unique<DiskHttpMemo>(store);
}

}  // namespace imgbuild::cache
