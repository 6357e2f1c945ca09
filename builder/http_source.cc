#include "builder/http_source.h"

#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "builder/spool.h"

namespace imgbuild::builder {

namespace {

/// The checksum a user asked for, computed on the way.
class ChecksumCheck {
 public:
  /// Throws Error unless `wanted` is empty or a known algorithm with hex digits of its length.
  explicit ChecksumCheck(const std::string& wanted) : wanted_(wanted) {
    if (wanted.empty()) return;
    const auto colon = wanted.find(':');
    if (colon == std::string::npos)
      throw Error(cat("invalid checksum digest format: \"", printable(wanted), "\""));
    algorithm_ = wanted.substr(0, colon);
    kind_ = algorithm_ == "sha256"   ? &nettle_sha256
            : algorithm_ == "sha384" ? &nettle_sha384
            : algorithm_ == "sha512" ? &nettle_sha512
                                     : nullptr;
    if (kind_ == nullptr) throw Error(cat("unsupported digest algorithm \"", printable(algorithm_), "\""));
    const std::string_view hex = std::string_view(wanted).substr(colon + 1);
    const bool is_hex = hex.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    if (!is_hex || hex.size() != std::size_t{kind_->digest_size} * 2) {
      throw Error(cat("invalid checksum digest format: \"", printable(wanted), "\""));
    }
    context_.resize((kind_->context_size + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t));
    kind_->init(context_.data());
  }

  void update(std::string_view bytes) {
    if (kind_ != nullptr)
      kind_->update(context_.data(), bytes.size(), reinterpret_cast<const std::uint8_t*>(bytes.data()));
  }

  void finish() {
    if (kind_ == nullptr) return;
    std::array<std::uint8_t, SHA512_DIGEST_SIZE> raw{};
    kind_->digest(context_.data(), kind_->digest_size, raw.data());
    const std::string actual =
        cat(algorithm_, ":", to_hex({reinterpret_cast<const char*>(raw.data()), kind_->digest_size}));
    if (actual != wanted_) throw IntegrityError(cat("digest mismatch ", actual, ": ", wanted_));
  }

 private:
  std::string wanted_;
  std::string algorithm_;
  const nettle_hash* kind_ = nullptr;   ///< none: nothing was asked for
  std::vector<std::uint64_t> context_;  ///< of that kind; words, because it must be aligned
};

/// Takes the digests of a body and sets it aside: as a blob where bodies are kept, else in a spool.
class BodySink final : public Sink {
 public:
  explicit BodySink(const HttpFetchOptions& options) : bodies_(options.bodies), check_(options.checksum) {
    if (bodies_ != nullptr)
      blob_ = bodies_->create();
    else
      spool_.emplace(options.spool_directory);
  }
  void write(std::string_view bytes) override {
    hash_.update(bytes);
    check_.update(bytes);
    if (blob_)
      blob_->write(bytes);
    else
      spool_->write(spool_->reserve(bytes.size()), bytes);
    size_ += bytes.size();
  }
  /// Throws IntegrityError when the checksum is another; then nobody sees the bytes.
  Digest verified_digest() {
    check_.finish();
    const Digest digest = hash_.finish();
    if (!blob_) {
      open_ = spool_->opener(0, size_);
      return digest;
    }
    blob_->commit(digest);
    open_ = [bodies = bodies_, digest] { return bodies->open_blob(digest); };
    return digest;
  }
  std::uint64_t size() const noexcept { return size_; }
  /// After verified_digest().
  oci::ContentOpener opener() const { return open_; }

 private:
  oci::BlobStore* bodies_;
  ChecksumCheck check_;
  Sha256 hash_;
  std::unique_ptr<oci::BlobWriter> blob_;
  std::optional<Spool> spool_;
  oci::ContentOpener open_;
  std::uint64_t size_ = 0;
};

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0;
    if (!escape) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    i += 2;
  }
  return out;
}

oci::HttpRequest request_for(const std::string& url, const HttpFetchOptions& options) {
  oci::HttpRequest request{.url = url, .authorization = options.authorization};
  request.body_limit = options.size_limit;
  request.global_addresses_only = options.global_addresses_only;
  request.decode_content =
      false;  // the file as the server keeps it: published checksums are those of a .tgz itself
  return request;
}

oci::HttpResponse send_with_retries(oci::HttpClient& http, const oci::HttpRequest& request, int attempts,
                                    std::stop_token stop) {
  for (int left = attempts;; --left) {
    try {
      return http.send(request, stop);
    } catch (const oci::TransferError&) {
      if (left <= 1) throw;
    }
  }
}

/// One GET into a spool, unless the server says that `known` is still right.
struct Download {
  oci::HttpResponse response;
  std::unique_ptr<BodySink> content;  ///< none: not modified
};

Download download(oci::HttpClient& http, const std::string& url, const HttpFetchOptions& options,
                  const std::optional<HttpMemoEntry>& known, std::stop_token stop) {
  Download result;
  oci::HttpRequest request = request_for(url, options);
  if (known && !known->etag.empty())
    request.headers.add("If-None-Match", known->etag);
  else if (known && !known->last_modified.empty())
    request.headers.add("If-Modified-Since", known->last_modified);
  request.sink_for = [&](const oci::HttpResponse& response) -> Sink* {
    if (response.status != 200) return nullptr;
    result.content = std::make_unique<BodySink>(options);
    return result.content.get();
  };
  result.response = send_with_retries(http, request, options.attempts, stop);
  if (result.response.status == 304 && known) return result;
  if (result.response.status != 200) {
    throw RegistryError(
        cat("invalid response status ", result.response.status, " from ", oci::HttpUrl::parse(url).safe()));
  }
  return result;
}

/// Bytes that are only looked for when somebody reads them, since it is known already what they are.
class LazyContent {
 public:
  LazyContent(oci::HttpClient& http, std::string url, HttpFetchOptions options, HttpMemoEntry known)
      : http_(http), url_(std::move(url)), options_(std::move(options)), known_(std::move(known)) {}

  std::unique_ptr<Source> open() {
    const std::lock_guard guard(mutex_);
    if (!open_ && options_.bodies != nullptr && options_.bodies->find_blob(known_.digest) == known_.size) {
      open_ = [bodies = options_.bodies, digest = known_.digest] { return bodies->open_blob(digest); };
    }
    if (!open_) {
      Download again = download(http_, url_, options_, std::nullopt, {});
      if (again.content->verified_digest() != known_.digest) {
        throw IntegrityError(cat(oci::HttpUrl::parse(url_).safe(), " changed during the build"));
      }
      open_ = again.content->opener();
    }
    return open_();
  }

 private:
  oci::HttpClient& http_;
  const std::string url_;
  const HttpFetchOptions options_;
  const HttpMemoEntry known_;
  std::mutex mutex_;
  oci::ContentOpener open_;
};

Timestamp time_of(const std::string& last_modified) {
  return Timestamp{oci::parse_http_date(last_modified).value_or(0), 0};
}

}  // namespace

std::string file_name_of_url(std::string_view url) {
  const std::string path = oci::HttpUrl::parse(url).path();
  std::string_view last = path;
  while (last.ends_with('/')) last.remove_suffix(1);
  last = last.substr(last.rfind('/') + 1);
  if (last.empty()) return "__unnamed__";
  const std::string name = decode(last);
  const bool plain = std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (!plain || name == "." || name == ".." || name.size() > 255) {
    throw Error(cat("the last part of ", oci::HttpUrl::parse(url).safe(), " cannot be used as a file name"));
  }
  return name;
}

namespace {

/// What is known already: with a checksum only if it is the digest of these bytes, since then no server is to
/// be believed.
std::optional<HttpMemoEntry> find_known(const std::string& url, const HttpFetchOptions& options) {
  auto known = options.memo != nullptr ? options.memo->find(url) : std::nullopt;
  if (known && !options.checksum.empty() && options.checksum != known->digest.str()) known.reset();
  return known;
}

void take_known(FetchedFile& file, oci::HttpClient& http, const std::string& url,
                const HttpFetchOptions& options, const HttpMemoEntry& known) {
  file.last_modified = known.last_modified;
  file.etag = known.etag;
  file.digest = known.digest;
  file.size = known.size;
  const auto lazy = std::make_shared<LazyContent>(http, url, options, known);
  file.open = [lazy] { return lazy->open(); };
}

void take_download(FetchedFile& file, const std::string& url, const HttpFetchOptions& options, Download got) {
  if (!got.content)
    got.content = std::make_unique<BodySink>(options);  // an empty body never came to the sink
  file.last_modified = got.response.headers.find("Last-Modified").value_or("");
  file.etag = got.response.headers.find("ETag").value_or("");
  file.digest = got.content->verified_digest();
  file.size = got.content->size();
  file.open = got.content->opener();
  const bool worth_keeping = !file.etag.empty() || !file.last_modified.empty() || !options.checksum.empty();
  if (options.memo != nullptr && worth_keeping)
    options.memo->remember(url, {file.etag, file.last_modified, file.digest, file.size});
}

}  // namespace

FetchedFile fetch_http(oci::HttpClient& http, const std::string& url, const HttpFetchOptions& options,
                       std::stop_token stop) {
  (void)ChecksumCheck(options.checksum);  // wrong ones are refused before anything is asked for
  FetchedFile file{.name = file_name_of_url(url), .digest = sha256("")};
  const auto known = find_known(url, options);
  if (known && !options.checksum.empty()) {
    take_known(file, http, url, options, *known);
  } else {
    Download got = download(http, url, options, known, stop);
    if (!got.content && known && got.response.status == 304)
      take_known(file, http, url, options, *known);
    else
      take_download(file, url, options, std::move(got));
  }
  file.mtime = time_of(file.last_modified);
  return file;
}

}  // namespace imgbuild::builder
