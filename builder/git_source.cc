#include "builder/git_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "oci/registry_auth.h"

namespace imgbuild::builder {

namespace {

constexpr int kSubmoduleDepth = 4;  // NET-24
constexpr int kSubmoduleCount = 64;

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
bool is_commit_id(std::string_view text) { return (text.size() == 40 || text.size() == 64) && is_hex(text); }

/// `https://user:secret@host/…` split so that the secret is on no command line.
struct Remote {
  std::string url;  ///< without userinfo for http(s)
  std::string host;
  std::string user_info;
  bool is_web = false;
};

Remote split_remote(const std::string& text) {
  Remote remote{.url = text};
  const auto scheme = text.find("://");
  remote.is_web = text.starts_with("http://") || text.starts_with("https://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const auto end = std::min(text.find(scheme == std::string::npos ? ':' : '/', begin), text.size());
  std::string authority = text.substr(begin, end - begin);
  if (const auto at = authority.rfind('@'); at != std::string::npos) {
    if (remote.is_web) {
      remote.user_info = authority.substr(0, at);
      remote.url = cat(text.substr(0, begin), text.substr(begin + at + 1));
    }
    authority.erase(0, at + 1);
  }
  remote.host = authority.starts_with('[') ? authority : authority.substr(0, authority.find(':'));
  return remote;
}

class Fetch {
 public:
  Fetch(const parser::GitReference& reference, const GitFetchOptions& options, std::stop_token stop)
      : reference_(reference),
        options_(options),
        program_(options.program),
        stop_(stop),
        directory_(TempDir::create(options.work_directory, options.work_prefix)) {
    std::string text = reference.remote;
    if (text.starts_with("github.com/")) text = cat("https://", text);
    check_git_remote(text);
    if (!reference.ref.empty()) check_git_ref(reference.ref);
    if (has_control(reference.subdir)) throw Error(cat("invalid subdir ", printable(reference.subdir)));
    if (!wanted_checksum().empty() && !is_hex(wanted_checksum())) {
      throw Error(cat("invalid commit checksum \"", printable(wanted_checksum()), "\""));
    }
    remote_ = split_remote(text);
    base_ = cat(options.work_directory, "/", directory_.name());
    repository_ = cat(base_, "/tree");
    home_ = cat(base_, "/home");
    ensure_dir_at(directory_.fd(), "tree", 0700);
    ensure_dir_at(directory_.fd(), "home", 0700);
    if (!program_.ca_pem.empty()) write_certificates();
    add_authorization();
  }

  GitCheckout run() {
    must({"init", "-q", "."}, "preparing a repository");
    resolve();
    check_commit();
    must({"checkout", "-q", "--force", "--detach", commit_}, cat("checking out ", commit_));
    // Submodules may have addresses relative to where this repository came from.
    must({"remote", "add", "--", "origin", remote_.url}, "naming the remote");
    if (reference_.submodules.value_or(true)) update_submodules(repository_, "", 1);
    const std::string time = must({"show", "-s", "--format=%ct", commit_, "--"}, "reading the commit");
    if (!keep_git_dir()) remove_git_dirs();
    UniqueFd tree = open_tree();
    return {std::move(directory_), std::move(tree), commit_,
            static_cast<std::int64_t>(parse_decimal(trim(time)).value_or(0))};
  }

 private:
  const std::string& wanted_checksum() const {
    return options_.checksum.empty() ? reference_.checksum : options_.checksum;
  }
  bool keep_git_dir() const { return reference_.keep_git_dir.value_or(options_.keep_git_dir); }

  /// Scoped to the remote's origin, so that neither submodules elsewhere nor redirects get it.
  void add_authorization() {
    if (!remote_.is_web) return;
    std::string value = options_.authorization ? options_.authorization(remote_.host) : std::string();
    if (value.empty() && !remote_.user_info.empty()) {
      value = cat("Basic ", oci::base64_encode(remote_.user_info));
    }
    if (value.empty()) return;
    if (has_control(value)) throw Error("the authorization for a git remote contains control characters");
    const auto end = std::min(remote_.url.find('/', remote_.url.find("://") + 3), remote_.url.size());
    settings_.push_back(
        {cat("http.", remote_.url.substr(0, end), "/.extraHeader"), cat("Authorization: ", value)});
  }

  /// git takes them from a file only.
  void write_certificates() {
    const UniqueFd file = open_at(directory_.fd(), "certificates", O_WRONLY | O_CREAT | O_EXCL, 0600);
    write_all(file.get(), program_.ca_pem, "certificates for git");
    program_.ca_file = cat(base_, "/certificates");
  }

  GitOutcome git_in(const std::string& directory, const std::vector<std::string>& arguments) {
    return run_git(program_, directory, home_, settings_, arguments, stop_);
  }
  GitOutcome git(const std::vector<std::string>& arguments) { return git_in(repository_, arguments); }

  std::string must(const std::vector<std::string>& arguments, const std::string& doing) {
    GitOutcome outcome = git(arguments);
    if (outcome.exit_code != 0) throw failure(doing, outcome);
    return std::move(outcome.output);
  }

  static Error failure(const std::string& doing, const GitOutcome& outcome) {
    Error error(cat(doing, ": git stderr: ", printable(trim(outcome.errors))), ExitCode::network);
    if (outcome.errors.find("Host key verification failed") != std::string::npos)
      error.add_note(
          "the server's host key is not known: add it to ~/.ssh/known_hosts, or name a file with "
          "IMGBUILD_SSH_KNOWN_HOSTS");
    if (outcome.errors.find("Permission denied (publickey") != std::string::npos)
      error.add_note("keys come from an ssh agent only: forward one with --ssh default");
    return error;
  }

  /// Fills commit_ and object_ from what the remote has.
  void resolve() {
    const std::string& checksum = wanted_checksum();
    if (reference_.fetch_by_commit && is_commit_id(checksum)) return fetch_commit(checksum);
    if (is_commit_id(reference_.ref)) return fetch_commit(reference_.ref);
    const std::string ref = reference_.ref.empty() ? default_branch() : find_ref();
    fetch(ref);
    object_ = trim(must({"rev-parse", "--verify", "-q", "FETCH_HEAD"}, "reading what was fetched"));
    commit_ = trim(must({"rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}"}, "reading what was fetched"));
  }

  std::string default_branch() {
    const GitOutcome outcome = git({"ls-remote", "--symref", "--", remote_.url, "HEAD"});
    if (outcome.exit_code != 0) {
      throw failure(cat("error fetching default branch for repository ", printable(remote_.url)), outcome);
    }
    for (const std::string_view line : split(outcome.output, '\n')) {
      if (!line.starts_with("ref: ") || !line.ends_with("\tHEAD")) continue;
      const std::string name(line.substr(5, line.size() - 10));
      check_git_ref(name);  // chosen by the server, so as hostile as anything
      return name;
    }
    if (outcome.output.find("\tHEAD") != std::string::npos) return "HEAD";
    throw Error(cat("error fetching default branch for repository ", printable(remote_.url),
                    ": git stderr: the remote names none"),
                ExitCode::network);
  }

  /// The full name of the wanted ref: exact, then branch, then tag.
  std::string find_ref() {
    const std::string& ref = reference_.ref;
    const GitOutcome outcome = git({"ls-remote", "--", remote_.url, ref});
    if (outcome.exit_code != 0) throw failure(cat("reading the refs of ", printable(remote_.url)), outcome);
    const std::string exact = ref.starts_with("refs/") ? ref : cat("refs/", ref);
    for (const std::string& name : {exact, cat("refs/heads/", ref), cat("refs/tags/", ref)}) {
      for (const std::string_view line : split(outcome.output, '\n')) {
        if (line.substr(line.find('\t') + 1) == name) return name;
      }
    }
    throw Error(cat("repository does not contain ref ", printable(ref)), ExitCode::network);
  }

  bool try_fetch(bool shallow, const std::vector<std::string>& what, GitOutcome& outcome) {
    std::vector<std::string> words = {"fetch", "-q", "--force", "--no-tags", "--no-recurse-submodules"};
    if (shallow) words.push_back("--depth=1");
    words.push_back("--");
    words.push_back(remote_.url);
    words.insert(words.end(), what.begin(), what.end());
    outcome = git(words);
    return outcome.exit_code == 0;
  }

  void fetch(const std::string& ref) {
    GitOutcome outcome;
    // Servers of plain files know no shallow fetch.
    if (try_fetch(true, {ref}, outcome) || try_fetch(false, {ref}, outcome)) return;
    throw failure(cat("fetching ", printable(ref), " from ", printable(remote_.url)), outcome);
  }

  void fetch_commit(const std::string& commit) {
    GitOutcome outcome;
    if (!try_fetch(true, {commit}, outcome)) {
      // Not every server gives a commit that no ref names; then everything is fetched and searched.
      const std::vector<std::string> all = {"+refs/heads/*:refs/remotes/origin/*",
                                            "+refs/tags/*:refs/tags/*"};
      if (!try_fetch(false, all, outcome)) {
        throw failure(cat("fetching ", commit, " from ", printable(remote_.url)), outcome);
      }
    }
    const GitOutcome found = git({"rev-parse", "--verify", "-q", cat(commit, "^{commit}")});
    if (found.exit_code != 0) throw Error(cat("repository does not contain ref ", commit), ExitCode::network);
    object_ = commit;
    commit_ = trim(found.output);
  }

  void check_commit() const {
    for (const std::string& wanted : {options_.checksum, reference_.checksum}) {
      if (wanted.empty() || commit_.starts_with(wanted) || object_.starts_with(wanted)) continue;
      throw IntegrityError(cat("expected checksum to match ", wanted, ", got ", commit_));
    }
  }

  /// One level at a time, so that each `.gitmodules` is judged before git acts on it.
  void update_submodules(const std::string& directory, const std::string& prefix, int depth) {
    const RootDir root = RootDir::open(directory);
    struct stat info {};
    if (::fstatat(root.fd(), ".gitmodules", &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (!S_ISREG(info.st_mode)) throw Error(".gitmodules is not a regular file");
    const GitOutcome listed = git_in(directory, {"config", "-f", ".gitmodules", "-z", "--list"});
    if (listed.exit_code != 0) throw failure("reading .gitmodules", listed);
    std::vector<std::string> paths;
    for (const std::string_view entry : split(listed.output, '\0')) {
      const std::string_view key = entry.substr(0, entry.find('\n'));
      const std::string value(entry.size() > key.size() ? entry.substr(key.size() + 1) : "");
      if (!key.starts_with("submodule.")) continue;
      if (key.ends_with(".url")) check_submodule_url(value);
      if (key.ends_with(".path")) paths.push_back(checked_path(root, value));
    }
    if (paths.empty()) return;
    if (depth > kSubmoduleDepth) throw Error("submodules are nested too deep");
    if (paths.size() + submodules_.size() > kSubmoduleCount) throw Error("there are too many submodules");
    const std::vector<std::string> update = {"submodule", "-q", "update", "--init", "--force", "--checkout"};
    std::vector<std::string> shallow = update;
    shallow.push_back("--depth=1");
    if (git_in(directory, shallow).exit_code != 0) {
      const GitOutcome outcome = git_in(directory, update);
      if (outcome.exit_code != 0) throw failure("updating submodules", outcome);
    }
    for (const std::string& path : paths) {
      const UniqueFd there = root.open_in_root_if_exists(path, O_PATH | O_DIRECTORY);
      if (!there) continue;  // listed, but no submodule of this commit
      submodules_.push_back(cat(prefix, path));
      update_submodules(cat(directory, "/", path), cat(prefix, path, "/"), depth + 1);
    }
  }

  static void check_submodule_url(const std::string& url) {
    if (url.starts_with("./") || url.starts_with("../")) {
      if (!has_control(url)) return;
    }
    check_git_remote(url);
  }

  static std::string checked_path(const RootDir& root, const std::string& path) {
    const auto parts = split(path, '/');
    const bool plain =
        !path.empty() && !path.starts_with('-') && !has_control(path) &&
        std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
          return part.empty() || part == "." || part == ".." || equal_ignoring_case(part, ".git");
        });
    if (!plain) throw Error(cat("invalid path of a submodule: \"", printable(path), "\""));
    try {
      (void)root.open_beneath(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    } catch (const SystemError& error) {
      if (error.error_number() != ENOENT) {
        throw Error(cat("the submodule path \"", printable(path), "\" leads through a link or file"));
      }
    }
    return path;
  }

  void remove_git_dirs() {
    const RootDir root = RootDir::open(repository_);
    remove_tree_at(root.fd(), ".git");
    for (const std::string& path : submodules_) {
      const UniqueFd inside = root.open_beneath(path, O_PATH | O_DIRECTORY);
      remove_tree_at(inside.get(), ".git");
    }
  }

  UniqueFd open_tree() const {
    const RootDir root = RootDir::open(repository_);
    if (reference_.subdir.empty()) return root.open_beneath(".", O_PATH | O_DIRECTORY);
    try {
      return root.open_beneath(reference_.subdir, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    } catch (const SystemError& error) {
      throw Error(
          cat("invalid subdir ", printable(reference_.subdir), ": ",
              error.error_number() == ENOENT ? "there is no such directory" : "it is no plain directory"));
    }
  }

  const parser::GitReference& reference_;
  const GitFetchOptions& options_;
  GitProgram program_;
  std::stop_token stop_;
  TempDir directory_;
  Remote remote_;
  std::string base_, repository_, home_;
  std::vector<GitSetting> settings_;
  std::string object_;  ///< what the ref names: the commit, or an annotated tag
  std::string commit_;
  std::vector<std::string> submodules_;
};

}  // namespace

GitCheckout fetch_git(const parser::GitReference& reference, const GitFetchOptions& options,
                      std::stop_token stop) {
  return Fetch(reference, options, stop).run();
}

void check_git_remote(const std::string& remote) {
  const auto refuse = [&](const char* why) {
    throw Error(cat("git remote \"", printable(remote), "\" ", why));
  };
  if (remote.empty() || has_control(remote) || remote.find(' ') != std::string::npos) refuse("is not usable");
  if (remote.starts_with('-')) refuse("starts with a dash");
  if (remote.find("::") != std::string::npos && remote.find('[') == std::string::npos)
    refuse("names a helper program");
  const auto scheme = remote.find("://");
  if (scheme != std::string::npos) {
    const std::string name = remote.substr(0, scheme);
    if (name != "https" && name != "http" && name != "ssh" && name != "git")
      refuse("has a scheme that is not allowed");
  } else if (remote.find(':') == std::string::npos || remote.find('/') < remote.find(':')) {
    refuse("is a local path, which is not allowed");
  }
  const std::string host = split_remote(remote).host;
  if (host.empty() || host.starts_with('-')) refuse("has no valid host");
}

void check_git_ref(const std::string& ref) {
  const bool odd = ref.empty() || ref.size() > 1024 || ref.starts_with('-') || ref.starts_with('/') ||
                   ref.ends_with('/') || ref.ends_with('.') || ref.ends_with(".lock") || has_control(ref) ||
                   ref.find_first_of(" ~^:?*[\\") != std::string::npos ||
                   ref.find("..") != std::string::npos || ref.find("@{") != std::string::npos ||
                   ref.find("//") != std::string::npos || ref.find("/-") != std::string::npos ||
                   ref.find("/.") != std::string::npos;
  if (odd) throw Error(cat("invalid git ref \"", printable(ref), "\""));
}

}  // namespace imgbuild::builder
