#include "builder/remote_sources.h"

#include <chrono>

#include "base/error.h"
#include "base/hash.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/build_context.h"
#include "builder/memory_source.h"
#include "oci/registry_auth.h"

namespace imgbuild::builder {

namespace {

std::string secret(const SecretStore& secrets, const std::string& name) {
  const auto found = secrets.values.find(name);
  return found == secrets.values.end() ? std::string() : std::string(trim(found->second->value()));
}

/// ADD-26.
std::string http_authorization(const SecretStore& secrets, const std::string& host) {
  std::string header = secret(secrets, cat("HTTP_AUTH_HEADER_", host));
  if (!header.empty()) return header;
  const std::string token = secret(secrets, cat("HTTP_AUTH_TOKEN_", host));
  return token.empty() ? std::string() : cat("Bearer ", token);
}

/// ADD-48, in its order.
std::string git_authorization(const SecretStore& secrets, const std::string& host) {
  for (const std::string& suffix : {cat(".", host), std::string()}) {
    std::string header = secret(secrets, cat("GIT_AUTH_HEADER", suffix));
    if (!header.empty()) return header;
    const std::string token = secret(secrets, cat("GIT_AUTH_TOKEN", suffix));
    if (!token.empty()) return cat("Basic ", oci::base64_encode(cat("x-access-token:", token)));
  }
  return {};
}

/// A checkout on disk and the tree over it, with one lifetime.
struct CheckoutTree {
  CheckoutTree(GitCheckout from, cache::StatMemo& memo, ThreadPool* pool, std::function<Timestamp()> clock,
               ContextOptions options)
      : checkout(std::move(from)),
        files(RootDir(checkout.tree.duplicate()), {}, memo, pool, std::move(clock), std::move(options)) {}
  GitCheckout checkout;
  BuildContext files;
};

}  // namespace

RemoteFetcher::RemoteFetcher(oci::HttpClient& http, cache::StatMemo& memo, ThreadPool* pool,
                             std::function<Timestamp()> clock, RemoteOptions options)
    : http_(http), memo_(memo), pool_(pool), clock_(std::move(clock)), options_(std::move(options)) {}

RemoteResult RemoteFetcher::fetch(const RemoteRequest& request, const SecretStore& secrets,
                                  std::stop_token stop) {
  const std::string keep = request.keep_git_dir ? cat(*request.keep_git_dir ? 1 : 0) : std::string();
  const std::string name = cat(request.source, "\n", request.checksum, "\n", keep);
  for (;;) {
    std::promise<RemoteResult> promise;
    std::shared_future<RemoteResult> other;
    {
      const std::lock_guard guard(mutex_);
      const auto [known, fresh] = shared_.try_emplace(name);
      if (fresh)
        known->second = promise.get_future().share();
      else
        other = known->second;
    }
    if (other.valid()) {
      while (other.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
        if (stop.stop_requested()) throw Cancelled();
      }
      try {
        return other.get();
      } catch (const std::exception&) {
        continue;  // it failed for reasons of its own; ours are told to our user
      }
    }
    try {
      RemoteResult result = fetch_alone(request, secrets, stop);
      promise.set_value(result);
      return result;
    } catch (...) {
      {
        const std::lock_guard guard(mutex_);
        shared_.erase(name);
      }
      promise.set_exception(std::current_exception());
      throw;
    }
  }
}

RemoteResult RemoteFetcher::fetch_alone(const RemoteRequest& request, const SecretStore& secrets,
                                        std::stop_token stop) {
  const auto git = parser::parse_git_reference(request.source);
  if (git && !git->context_only) return fetch_git_tree(*git, request, false, secrets, stop);
  return fetch_file(request, {}, secrets, stop);
}

RemoteResult RemoteFetcher::fetch_git_tree(const parser::GitReference& reference,
                                           const RemoteRequest& request, bool as_context,
                                           const SecretStore& secrets, std::stop_token stop) {
  if (request.keep_git_dir && reference.keep_git_dir && *request.keep_git_dir != *reference.keep_git_dir) {
    throw SyntaxError("inconsistent keep-git-dir configuration");
  }
  if (!request.checksum.empty() && !reference.checksum.empty() && request.checksum != reference.checksum) {
    throw SyntaxError(cat("checksum mismatch \"", printable(request.checksum), "\" != \"",
                          printable(reference.checksum), "\""));
  }
  GitFetchOptions options{.program = options_.git,
                          .work_directory = cat(options_.store_path, "/work"),
                          .work_prefix = options_.store.work_prefix(),
                          .keep_git_dir = request.keep_git_dir.value_or(false),
                          .checksum = request.checksum};
  const auto agent = secrets.ssh_sockets.find("default");
  if (agent != secrets.ssh_sockets.end()) options.program.ssh_socket = agent->second;
  options.authorization = [&](const std::string& host) { return git_authorization(secrets, host); };
  GitCheckout checkout = fetch_git(reference, options, stop);

  RemoteResult result{.is_git = true, .commit = checkout.commit, .commit_time = checkout.commit_time};
  const bool by_commit = as_context && reference.mtime == "commit";
  const bool keeps = reference.keep_git_dir.value_or(options.keep_git_dir);
  result.key = cat("git ", result.commit, "\nsubdir ", reference.subdir, "\nkeep-git-dir ", keeps ? "1" : "0",
                   "\nsubmodules ", reference.submodules.value_or(true) ? "1" : "0", "\nmtime ",
                   by_commit ? "commit" : "checkout");
  ContextOptions files{.modes = ContextModes::git};
  files.mtime = by_commit ? Timestamp{checkout.commit_time, 0} : request.build_time;
  auto both = std::make_shared<CheckoutTree>(std::move(checkout), memo_, pool_, clock_, std::move(files));
  result.tree = std::shared_ptr<SourceTree>(both, &both->files);
  return result;
}

FetchedFile RemoteFetcher::fetch_in_turn(const std::string& url, const HttpFetchOptions& options,
                                         std::stop_token stop) {
  auto claim = options_.store.claim(
      "fetches", sha256(url),
      options_.store.waiting_for(cat("the download of ", oci::HttpUrl::parse(url).safe()), stop));
  if (claim && claim->owner_failed()) claim.reset();
  try {
    return fetch_http(http_, url, options, stop);
  } catch (const Cancelled&) {
    throw;
  } catch (...) {
    if (claim) claim->fail();
    throw;
  }
}

RemoteResult RemoteFetcher::fetch_file(const RemoteRequest& request, const std::string& name,
                                       const SecretStore& secrets, std::stop_token stop) {
  HttpFetchOptions options{
      .checksum = request.checksum,
      .authorization = http_authorization(secrets, oci::HttpUrl::parse(request.source).host()),
      .global_addresses_only = options_.global_addresses_only,
      .spool_directory = options_.store.work_fd(),
      .memo = options_.http_memo,
      .bodies = options_.http_bodies};
  FetchedFile file = fetch_in_turn(request.source, options, stop);
  if (!name.empty()) file.name = name;
  RemoteResult result{.path = file.name};
  result.key =
      cat("http ", file.name, "\ndigest ", file.digest.str(), "\nlast-modified ", file.mtime.seconds);
  auto tree = std::make_shared<MemorySource>();
  tree->add_file(file.name, {.mode = 0600, .mtime = file.mtime, .size = file.size}, file.open, file.digest);
  result.tree = tree;
  result.file = std::move(file);
  return result;
}

}  // namespace imgbuild::builder
