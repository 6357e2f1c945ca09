#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::parser {

/// One evaluated `RUN --mount` (MNT-1…51). Strings are expanded, the target is as written (joining it to
/// WORKDIR is the planner's).
struct MountOptions {
  enum class Type { bind, cache, tmpfs, secret, ssh };
  enum class Sharing { shared, private_, locked };
  Type type = Type::bind;
  std::string target;
  std::string source;
  std::optional<std::string> from;
  bool read_only = true;           ///< already the default of the type when nothing was written
  std::string id;                  ///< as written; see effective_id()
  std::optional<Sharing> sharing;  ///< nothing: not written
  std::uint64_t size_bytes = 0;    ///< tmpfs; 0: unlimited
  std::optional<std::uint32_t> mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  bool required = false;
  std::optional<std::string> env;  ///< secret

  /// The id with its default (MNT-6): a cache's cleaned target, a secret's source or the last element of its
  /// target, `default` for ssh. Empty for other types.
  std::string effective_id() const;
};

/// Parses and expands the value of one --mount. `expand` may throw; it is applied to every value but
/// `from`'s. Throws SyntaxError without a range.
MountOptions parse_mount(std::string_view value, const std::function<std::string(std::string_view)>& expand);
/// Only the `from` of a mount, for the stage graph, before anything can be expanded (VAR-7). Nothing when
/// absent or when the mount is malformed (that error comes when the step is evaluated).
std::optional<std::string> mount_from(std::string_view value);
/// What can be checked of a mount before anything is expanded: that it is a list of fields, and that `from`
/// holds no variable (VAR-7). Throws SyntaxError without a range. The parser does this for every RUN.
void check_mount_syntax(std::string_view value);

}  // namespace imgbuild::parser
