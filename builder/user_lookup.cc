#include "builder/user_lookup.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "builder/account_files.h"

namespace imgbuild::builder {

namespace {

/// The number `text` is, nothing for a name. All digits but out of range is neither: it must not become a
/// name that wraps to root in some other program.
std::optional<std::uint32_t> parse_number(std::string_view text, std::string_view what) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto number = parse_decimal(text);
  if (!number || *number >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(cat(what, " ", text, " is out of range: the largest number is 4294967294"));
  }
  return static_cast<std::uint32_t>(*number);
}

class UserLookup {
 public:
  UserLookup(const oci::FileTree& tree, ContentProvider& content) : tree_(tree), content_(content) {}

  UserIds resolve(std::string_view text) {
    const auto colon = text.find(':');
    const std::string_view user = text.substr(0, colon);
    const std::string_view group =
        colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    UserIds ids;
    const auto entry = find_user(user, ids.uid);
    if (entry) {
      ids.uid = entry->uid;
      ids.gid = entry->gid;
      ids.home = entry->home;
    }
    if (!group.empty()) ids.gid = find_group(group);
    ids.extra_gids.push_back(ids.gid);
    if (group.empty() && entry) add_memberships(entry->name, ids.extra_gids);
    return ids;
  }

 private:
  /// The passwd entry; nothing for a number without one, which is then left in `uid`.
  std::optional<PasswdEntry> find_user(std::string_view user, std::uint32_t& uid) {
    const auto number = user.empty() ? std::optional<std::uint32_t>(0) : parse_number(user, "the user");
    const auto entries = parse_passwd(read_account_file(tree_, content_, "etc/passwd").value_or(""));
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const PasswdEntry& entry) {
      return number ? entry.uid == *number : entry.name == user;
    });
    if (found != entries.end()) return *found;
    if (number) {
      uid = *number;
      return std::nullopt;
    }
    if (user == "root") return std::nullopt;  // known without any file
    throw Error(cat("unable to find user ", printable(user), ": no matching entries in passwd file"));
  }

  std::uint32_t find_group(std::string_view group) {
    if (const auto number = parse_number(group, "the group")) return *number;
    for (const auto& entry : groups()) {
      if (entry.name == group) return entry.gid;
    }
    if (group == "root") return 0;
    throw Error(cat("unable to find group ", printable(group), ": no matching entries in group file"));
  }

  void add_memberships(const std::string& user, std::vector<std::uint32_t>& gids) {
    for (const auto& entry : groups()) {
      if (std::find(entry.members.begin(), entry.members.end(), user) == entry.members.end()) continue;
      if (std::find(gids.begin(), gids.end(), entry.gid) == gids.end()) gids.push_back(entry.gid);
    }
  }

  std::vector<GroupEntry> groups() {
    return parse_group(read_account_file(tree_, content_, "etc/group").value_or(""));
  }

  const oci::FileTree& tree_;
  ContentProvider& content_;
};

}  // namespace

UserIds resolve_user(std::string_view text, const oci::FileTree& tree, ContentProvider& content) {
  return UserLookup(tree, content).resolve(text);
}

}  // namespace imgbuild::builder
