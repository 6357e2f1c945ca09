#include "builder/build_context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/digesting_source.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/quiet_open.h"
#include "base/strings.h"
#include "builder/work_crew.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kFilesPerTask = 32;

[[noreturn]] void fail_changed(const std::string& path) {
  throw Error(cat("file changed while it was read: ", printable(path)))
      .with_note("something writes to the build context during the build; stop it and build again");
}

cache::FileIdentity identity_of(const struct stat& info) {
  return {info.st_dev,
          info.st_ino,
          static_cast<std::uint64_t>(info.st_size),
          {info.st_mtim.tv_sec, static_cast<std::uint32_t>(info.st_mtim.tv_nsec)},
          {info.st_ctim.tv_sec, static_cast<std::uint32_t>(info.st_ctim.tv_nsec)}};
}

cache::FileIdentity identity_of(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw SystemError(errno, "stat", printable(path));
  if (!S_ISREG(info.st_mode)) fail_changed(path);
  return identity_of(info);
}

/// A new link or mode changes the ctime, but not the bytes.
bool same_bytes(const cache::FileIdentity& a, const cache::FileIdentity& b) {
  return a.device == b.device && a.inode == b.inode && a.size == b.size && a.mtime == b.mtime;
}

std::size_t read_some(int fd, std::span<char> buffer, const std::string& path) {
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throw SystemError(errno, "read", printable(path));
  }
}

}  // namespace

/// The bytes of one file, which must stay what was listed until its end. What nobody has hashed yet is hashed
/// on the way.
class BuildContext::FileReader final : public DigestingSource {
 public:
  FileReader(BuildContext& context, std::string path, const cache::FileIdentity& listed)
      : context_(context), path_(std::move(path)), listed_(listed) {
    digest_ = context_.known_digest(path_, listed_);
    if (!digest_) hash_.emplace(listed_.size);
    if (!digest_ && context_.clock_) read_at_ = context_.clock_();
    fd_ = context_.open_unchanged(path_, listed_);
  }

  std::size_t read(std::span<char> buffer) override {
    context_.require_going();
    const std::size_t got = read_some(fd_.get(), buffer, path_);
    seen_ += got;
    context_.bytes_read_ += got;
    if (seen_ > listed_.size || (got == 0 && !buffer.empty() && seen_ < listed_.size)) fail_changed(path_);
    if (hash_) hash_->update({buffer.data(), got});
    // Checked with the last byte, since nobody has to ask for the end behind it.
    if (got > 0 && seen_ == listed_.size) check_unchanged();
    return got;
  }

  std::optional<Digest> digest() const override { return digest_; }

  bool leave_hashing() override {
    const bool would_hash = hash_.has_value();
    hash_.reset();
    return would_hash;
  }

  void set_digest(const Digest& digest) override {
    digest_ = digest;
    if (at_end_) context_.learn(path_, listed_, *at_end_, digest, read_at_);
  }

 private:
  void check_unchanged() {
    at_end_ = identity_of(fd_.get(), path_);
    if (!same_bytes(*at_end_, listed_)) fail_changed(path_);
    if (!hash_) return;
    const Digest digest = hash_->finish();
    hash_.reset();
    set_digest(digest);
  }

  BuildContext& context_;
  UniqueFd fd_;
  std::string path_;
  cache::FileIdentity listed_;
  std::optional<Digest> digest_;
  std::optional<Sha256> hash_;  ///< none: the digest is known, or left to the caller
  std::optional<cache::FileIdentity> at_end_;
  std::optional<Timestamp> read_at_;
  std::uint64_t seen_ = 0;
};

BuildContext::BuildContext(RootDir root, parser::IgnoreMatcher ignore, cache::StatMemo& memo,
                           ThreadPool* pool, std::function<Timestamp()> clock, ContextOptions options)
    : stop_(options.stop),
      walk_(std::move(root), std::move(ignore), std::move(options)),
      memo_(memo),
      pool_(pool),
      clock_(std::move(clock)) {}

BuildContext::~BuildContext() = default;

void BuildContext::require_going() const {
  if (stop_.stop_requested()) throw Cancelled();
}

std::optional<SourceNode> BuildContext::find(const std::string& path) {
  auto entry = walk_.find(path);
  if (!entry) return std::nullopt;
  return std::move(entry->node);
}

SourceListing BuildContext::list(const std::string& path) { return walk_.list(path); }

ContextEntry BuildContext::regular_file(const std::string& path) {
  auto entry = walk_.find(path);
  if (!entry) throw Error(cat("no such file in the build context: ", printable(path)));
  if (entry->special == ContextEntry::Special::device) {
    throw Error(cat("cannot copy a device node from the build context: ", printable(path)))
        .with_note("leave it out with a .dockerignore rule, or create the device where it is needed");
  }
  if (entry->node.attributes.type != oci::FileType::regular) {
    throw Error(cat("not a regular file: ", printable(path)));
  }
  return std::move(*entry);
}

UniqueFd BuildContext::open_unchanged(const std::string& path, const cache::FileIdentity& listed) const {
  UniqueFd fd;
  try {
    fd = open_without_atime([&](int flags) { return walk_.open(path, flags | O_NONBLOCK | O_NOCTTY); });
  } catch (const SystemError& error) {
    const int number = error.error_number();
    if (number == ENOENT || number == ENOTDIR || number == ELOOP || number == ENXIO || number == EXDEV) {
      fail_changed(path);
    }
    throw;
  }
  if (!same_bytes(identity_of(fd.get(), path), listed)) fail_changed(path);
  return fd;
}

oci::ContentOpener BuildContext::open(const std::string& path) {
  const ContextEntry entry = regular_file(path);
  if (entry.special == ContextEntry::Special::socket) {
    return [] { return std::make_unique<StringSource>(std::string()); };
  }
  return [this, path, listed = *entry.node.identity]() -> std::unique_ptr<Source> {
    return std::make_unique<FileReader>(*this, path, listed);
  };
}

std::optional<Digest> BuildContext::known_digest(const std::string& path, const cache::FileIdentity& listed) {
  {
    const std::lock_guard guard(digests_mutex_);
    if (const auto found = digests_.find(path); found != digests_.end()) return found->second;
  }
  return memo_.find(listed);
}

Digest BuildContext::hash_file(const std::string& path, const cache::FileIdentity& listed) {
  const std::optional<Timestamp> read_at = clock_ ? std::optional(clock_()) : std::nullopt;
  const UniqueFd fd = open_unchanged(path, listed);
  // Room for one byte more than the file has: a read that does not fill the buffer of a small file was its
  // end.
  const auto room = static_cast<std::size_t>(std::min<std::uint64_t>(listed.size + 1, kChunkSize));
  thread_local std::vector<char> buffer(kChunkSize);
  Sha256 hash(listed.size);
  std::uint64_t seen = 0;
  for (;;) {
    require_going();
    const std::size_t got = read_some(fd.get(), std::span(buffer).first(room), path);
    hash.update({buffer.data(), got});
    seen += got;
    if (got == 0 || seen >= listed.size) break;
  }
  bytes_read_ += seen;
  const cache::FileIdentity after = identity_of(fd.get(), path);
  if (seen != listed.size || !same_bytes(after, listed)) fail_changed(path);

  const Digest digest = hash.finish();
  learn(path, listed, after, digest, read_at);
  return digest;
}

void BuildContext::learn(const std::string& path, const cache::FileIdentity& listed,
                         const cache::FileIdentity& after, const Digest& digest,
                         const std::optional<Timestamp>& read_at) {
  ++computed_;
  // With another ctime the file was touched since it was listed; then the memo has nothing safe to remember.
  if (read_at && after == listed) memo_.remember(listed, digest, *read_at);
  const std::lock_guard guard(digests_mutex_);
  digests_.insert_or_assign(path, digest);
}

bool BuildContext::digest_is_known(const std::string& path) {
  const auto entry = walk_.find(path);
  return entry && entry->node.identity && known_digest(path, *entry->node.identity);
}

Digest BuildContext::content_digest(const std::string& path) {
  const ContextEntry entry = regular_file(path);
  if (entry.special == ContextEntry::Special::socket) return sha256({});
  {
    const std::lock_guard guard(digests_mutex_);
    if (const auto found = digests_.find(path); found != digests_.end()) return found->second;
  }
  if (const auto remembered = memo_.find(*entry.node.identity)) {
    ++remembered_;
    return *remembered;
  }
  return hash_file(path, *entry.node.identity);
}

void BuildContext::prefetch_digests(const std::vector<std::string>& paths) {
  using Range = std::span<const std::string>;
  std::vector<Range> ranges;
  for (std::size_t at = 0; at < paths.size(); at += kFilesPerTask) {
    ranges.push_back(Range(paths).subspan(at, std::min(kFilesPerTask, paths.size() - at)));
  }
  WorkCrew<Range>::run(pool_, std::move(ranges), [this](const Range& range, WorkCrew<Range>&) {
    for (const std::string& path : range) {
      try {
        const ContextEntry entry = regular_file(path);
        if (entry.special == ContextEntry::Special::none && !known_digest(path, *entry.node.identity)) {
          hash_file(path, *entry.node.identity);
        }
      } catch (const Error&) {
        // content_digest() meets the same error and has a place to report it.
      }
    }
  });
}

std::vector<Digest> BuildContext::content_digests(const std::vector<ListedFile>& files) {
  std::vector<Digest> digests(files.size(), Digest::from_bytes({}));
  std::vector<std::size_t> unknown;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& identity = files[i].node->identity;
    if (const auto remembered = identity ? memo_.find(*identity) : std::nullopt)
      digests[i] = *remembered;
    else
      unknown.push_back(i);
  }
  remembered_ += files.size() - unknown.size();
  if (unknown.size() > 1) {
    std::vector<std::string> paths;
    for (const std::size_t i : unknown) paths.push_back(files[i].path);
    prefetch_digests(paths);
  }
  // In order, so that the first file that cannot be read is the one that is reported.
  for (const std::size_t i : unknown) digests[i] = content_digest(files[i].path);
  return digests;
}

std::optional<std::string> BuildContext::explain_absence(const std::string& path) {
  if (!walk_.exists_on_disk(path)) return std::nullopt;
  return walk_.hiding_rule(path);
}

void BuildContext::prefetch(const std::string& directory) { walk_.prefetch(directory, pool_); }

ContextStats BuildContext::stats() const {
  return {.entries_listed = walk_.entries_listed(),
          .directories_opened = walk_.directories_opened(),
          .bytes_read = bytes_read_,
          .digests_computed = computed_,
          .digests_remembered = remembered_};
}

std::unique_ptr<BuildContext> open_build_context(const std::string& path, parser::IgnoreMatcher ignore,
                                                 cache::StatMemo& memo, ThreadPool* pool,
                                                 std::function<Timestamp()> clock, ContextOptions options) {
  return std::make_unique<BuildContext>(RootDir::open(path), std::move(ignore), memo, pool, std::move(clock),
                                        std::move(options));
}

}  // namespace imgbuild::builder
