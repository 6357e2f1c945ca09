#include "builder/copy_owner.h"

#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "builder/account_files.h"

namespace imgbuild::builder {

namespace {

/// A user or group: a number, or a name to look up. `root` and an empty one need no looking up (COPY-51).
struct Principal {
  std::optional<std::uint32_t> id;
  std::string_view name;
};

Principal parse_principal(std::string_view text) {
  if (text.empty() || text == "root") return {0U, text};
  const auto number = parse_decimal(text.starts_with('+') ? text.substr(1) : text);
  // Beyond 2^31 - 1 the reference takes the digits for a name (COPY-52).
  if (number && *number <= 0x7fffffff) return {static_cast<std::uint32_t>(*number), text};
  return {std::nullopt, text};
}

struct OwnerText {
  Principal user;
  std::optional<Principal> group;
};

OwnerText parse_owner(std::string_view text) {
  const auto colon = text.find(':');
  OwnerText owner{parse_principal(text.substr(0, colon)), std::nullopt};
  if (colon != std::string_view::npos) owner.group = parse_principal(text.substr(colon + 1));
  return owner;
}

bool needs_target(const OwnerText& owner) { return !owner.user.id || (owner.group && !owner.group->id); }

}  // namespace

bool chown_needs_target(std::string_view text) { return !text.empty() && needs_target(parse_owner(text)); }

Owner resolve_owner(std::string_view text, const oci::FileTree& target, ContentProvider& owner_files) {
  if (text.empty()) return {};
  const OwnerText parsed = parse_owner(text);
  if (needs_target(parsed) && target.root()->children.empty()) {
    throw Error("invalid user index: -1")
        .with_note(
            cat("there are no files yet that could tell who \"", printable(text), "\" is; use numbers"));
  }
  Owner owner;
  if (parsed.user.id) {
    owner = {*parsed.user.id, *parsed.user.id};
  } else if (const auto passwd = read_account_file(target, owner_files, "etc/passwd")) {
    for (const auto& entry : parse_passwd(*passwd)) {
      if (entry.name != parsed.user.name) continue;
      owner = {entry.uid, entry.gid};
      break;
    }
  }
  if (!parsed.group) return owner;
  if (parsed.group->id) {
    owner.gid = *parsed.group->id;
  } else if (const auto groups = read_account_file(target, owner_files, "etc/group")) {
    for (const auto& entry : parse_group(*groups)) {
      if (entry.name != parsed.group->name) continue;
      owner.gid = entry.gid;
      break;
    }
  }
  return owner;
}

std::string canonical_owner(std::string_view text) {
  if (text.empty()) return {};
  const auto write = [](const Principal& who) {
    return who.id ? std::to_string(*who.id) : cat("name ", who.name);
  };
  const OwnerText owner = parse_owner(text);
  return cat(write(owner.user), ':', write(owner.group ? *owner.group : owner.user));
}

void add_owner_files_to_key(cache::CacheKeyBuilder& key, const oci::FileTree& target,
                            ContentProvider& owner_files) {
  for (const std::string_view path : {"etc/passwd", "etc/group"}) {
    const auto text = read_account_file(target, owner_files, path);
    key.add(cat("target /", path), text ? sha256(*text).str() : "missing");
  }
}

}  // namespace imgbuild::builder
