#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/store_dir.h"
#include "base/thread_pool.h"
#include "base/timestamp.h"
#include "builder/git_source.h"
#include "builder/http_source.h"
#include "builder/secrets.h"
#include "builder/source_tree.h"
#include "cache/stat_memo.h"
#include "oci/http.h"

namespace imgbuild::builder {

/// One remote source of an ADD, as written after expansion.
struct RemoteRequest {
  std::string source;    ///< URL or git reference
  std::string checksum;  ///< digest for a URL, commit id for git; may be empty
  std::optional<bool> keep_git_dir;
  Timestamp build_time;  ///< modification time of a checkout (ADD-43)
};

/// The files behind a remote source. `tree` keeps what it needs on disk alive.
struct RemoteResult {
  std::string path;  ///< what to copy: the file's name, "" for a whole checkout
  bool is_git = false;
  std::shared_ptr<SourceTree> tree;
  std::string key;     ///< names the content for cache keys (CAC-30, CAC-31); no secrets
  std::string commit;  ///< git: full id
  std::optional<std::int64_t> commit_time;
  std::optional<FetchedFile> file;  ///< downloads
};

struct RemoteOptions {
  GitProgram git;
  std::string store_path;              ///< absolute, of `store`: git takes no descriptors
  StoreDir store = -1;                 ///< for checkouts and downloads; -1: downloads stay in memory
  bool global_addresses_only = false;  ///< --block-private-urls
  HttpMemo* http_memo = nullptr;
  oci::BlobStore* http_bodies = nullptr;
};

/// Gets what ADD and remote contexts name. Thread-safe. Everything given is borrowed.
class RemoteFetcher {
 public:
  RemoteFetcher(oci::HttpClient& http, cache::StatMemo& memo, ThreadPool* pool,
                std::function<Timestamp()> clock, RemoteOptions options);

  /// A URL or a git reference of an ADD. The same request is fetched once; when that fails, everybody who
  /// waited tries again. Throws Cancelled, SyntaxError for a wrong reference, otherwise as fetch_http,
  /// fetch_git.
  RemoteResult fetch(const RemoteRequest& request, const SecretStore& secrets, std::stop_token stop);
  /// A git reference, also those that are only one as a context (CTX-4). `mtime` is given to every file.
  RemoteResult fetch_git_tree(const parser::GitReference& reference, const RemoteRequest& request,
                              bool as_context, const SecretStore& secrets, std::stop_token stop);
  /// A URL as one file 0600 0:0 named `name`, or by ADD-21 when that is empty (CTX-5 names it `context`).
  RemoteResult fetch_file(const RemoteRequest& request, const std::string& name, const SecretStore& secrets,
                          std::stop_token stop);

 private:
  RemoteResult fetch_alone(const RemoteRequest& request, const SecretStore& secrets, std::stop_token stop);
  /// One build after the other for the same URL: the later ones find what the first one remembers.
  FetchedFile fetch_in_turn(const std::string& url, const HttpFetchOptions& options, std::stop_token stop);

  oci::HttpClient& http_;
  cache::StatMemo& memo_;
  ThreadPool* pool_;
  std::function<Timestamp()> clock_;
  RemoteOptions options_;
  std::mutex mutex_;
  /// What was fetched or is under way, by request: two stages that name one source fetch it once.
  std::map<std::string, std::shared_future<RemoteResult>> shared_;
};

}  // namespace imgbuild::builder
