#include "parser/git_reference.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "parser/paths.h"
#include "parser/url_query.h"
#include "parser/values.h"

namespace imgbuild::parser {

namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// A git source cut at its `?` and `#`, still encoded.
struct Parts {
  std::string remote;
  std::string query;
  std::string fragment;
  bool decode_fragment = false;
};

Parts cut(std::string_view text) {
  Parts parts;
  if (const auto hash = text.find('#'); hash != std::string_view::npos) {
    parts.fragment = text.substr(hash + 1);
    text = text.substr(0, hash);
  }
  if (const auto mark = text.find('?'); mark != std::string_view::npos) {
    parts.query = text.substr(mark + 1);
    text = text.substr(0, mark);
  }
  parts.remote = text;
  return parts;
}

/// `scheme://…` with a scheme that can be git (ADD-40).
std::optional<Parts> cut_url(std::string_view text) {
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string scheme = to_lower(text.substr(0, colon));
  if (scheme != "http" && scheme != "https" && scheme != "ssh" && scheme != "git") return std::nullopt;
  Parts parts = cut(text);
  if (parts.remote.size() < colon + 3) return std::nullopt;  // the scheme itself holds a `?` or `#`
  parts.remote.replace(0, colon, scheme);
  parts.decode_fragment = true;
  const bool is_web = scheme == "http" || scheme == "https";
  const auto path = parts.remote.find('/', colon + 3);
  const bool names_repository = path != std::string::npos && parts.remote.ends_with(".git");
  return is_web && !names_repository ? std::nullopt : std::optional(std::move(parts));
}

/// `user@host:path`.
bool is_scp_like(std::string_view remote) {
  const auto at = remote.find('@');
  const auto colon = remote.find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon < at) return false;
  const std::string_view user = remote.substr(0, at);
  const std::string_view host = remote.substr(at + 1, colon - at - 1);
  const auto is_user = [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; };
  const auto is_host = [](char c) { return is_letter_or_digit(c) || c == '-' || c == '.'; };
  return !user.empty() && !host.empty() && std::all_of(user.begin(), user.end(), is_user) &&
         std::all_of(host.begin(), host.end(), is_host);
}

/// `#REF[:SUBDIR]` (ADD-41).
void read_fragment(const std::string& fragment, GitReference& git) {
  const auto colon = fragment.find(':');
  git.ref = fragment.substr(0, colon);
  if (colon == std::string::npos) return;
  git.subdir = clean_path("/" + fragment.substr(colon + 1)).substr(1);
}

/// Reads the query keys of ADD-42.
class QueryReader {
 public:
  QueryReader(std::string_view query, GitReference& git) : git_(git), pairs_(parse_query(query)) {}

  void run() {
    for (const auto& [key, values] : pairs_) {
      if (values.size() > 1) throw SyntaxError(cat("query \"", printable(key), "\" has multiple values"));
      read(key, values.front());
    }
    if (pairs_.contains("tag") && pairs_.contains("branch")) throw SyntaxError("branch conflicts with tag");
    for (const char* key : {"ref", "tag", "branch"}) merge_ref(key);
  }

 private:
  void read(const std::string& key, const std::string& value) {
    if (key == "keep-git-dir") {
      git_.keep_git_dir = boolean(key, value);
    } else if (key == "submodules") {
      git_.submodules = boolean(key, value);
    } else if (key == "fetch-by-commit") {
      git_.fetch_by_commit = boolean(key, value);
    } else {
      read_text(key, value);
    }
  }

  void read_text(const std::string& key, const std::string& value) {
    const bool is_ref = key == "ref" || key == "tag" || key == "branch";  // merged when all keys are known
    const bool known = is_ref || key == "subdir" || key == "checksum" || key == "commit" || key == "mtime";
    if (!known) throw unknown(key);
    if (value.empty()) throw SyntaxError(cat("query \"", key, "\" has no value"));
    if (key == "subdir") {
      set("subdir", git_.subdir, value);
    } else if (key == "checksum" || key == "commit") {
      set("checksum", git_.checksum, value);
    } else if (key == "mtime") {
      if (value != "checkout" && value != "commit") {
        throw SyntaxError(
            cat("invalid mtime value: \"", printable(value), "\" (must be \"checkout\" or \"commit\")"));
      }
      git_.mtime = value;
    }
  }

  static SyntaxError unknown(const std::string& key) {
    SyntaxError error(cat("unexpected query \"", printable(key), "\""));
    const auto close = nearest(key, {"ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir",
                                     "submodules", "mtime", "fetch-by-commit"});
    if (close) error.add_note(cat("did you mean ", *close, "?"));
    return error;
  }

  void merge_ref(const std::string& key) {
    const auto found = pairs_.find(key);
    if (found == pairs_.end()) return;
    const std::string prefix = key == "tag" ? "refs/tags/" : key == "branch" ? "refs/heads/" : "";
    const std::string& value = found->second.front();
    set("ref", git_.ref, value.starts_with(prefix) ? value : prefix + value);
  }

  static bool boolean(std::string_view key, const std::string& value) {
    const auto parsed = value.empty() ? std::optional(true) : parse_boolean(value);
    if (!parsed) throw SyntaxError(cat("invalid ", key, " value: \"", printable(value), "\""));
    return *parsed;
  }

  /// The same thing may be said twice, but not two things.
  static void set(std::string_view what, std::string& target, const std::string& value) {
    if (!target.empty() && target != value) {
      throw SyntaxError(cat(what, " conflicts: \"", printable(target), "\" vs \"", printable(value), "\""));
    }
    target = value;
  }

  GitReference& git_;
  std::map<std::string, std::vector<std::string>> pairs_;
};

}  // namespace

std::optional<GitReference> parse_git_reference(std::string_view text) {
  if (text.starts_with("./") || text.starts_with("../")) return std::nullopt;
  GitReference git;
  Parts parts;
  if (auto url = cut_url(text)) {
    parts = std::move(*url);
  } else {
    parts = cut(text);
    git.context_only = parts.remote.starts_with("github.com/");
    if (!git.context_only && !is_scp_like(parts.remote)) return std::nullopt;
  }
  git.remote = parts.remote;
  git.unencrypted = git.remote.starts_with("http://") || git.remote.starts_with("git://");
  read_fragment(parts.decode_fragment ? percent_decode(parts.fragment) : parts.fragment, git);
  QueryReader(parts.query, git).run();
  return git;
}

}  // namespace imgbuild::parser
