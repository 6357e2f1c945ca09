#include "parser/mount_options.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "parser/csv.h"
#include "parser/paths.h"
#include "parser/values.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

namespace {

using Type = MountOptions::Type;
using Sharing = MountOptions::Sharing;

constexpr std::array<std::pair<std::string_view, Type>, 5> kTypes = {{{"bind", Type::bind},
                                                                      {"cache", Type::cache},
                                                                      {"tmpfs", Type::tmpfs},
                                                                      {"secret", Type::secret},
                                                                      {"ssh", Type::ssh}}};
constexpr std::array<std::pair<std::string_view, Sharing>, 3> kSharings = {
    {{"shared", Sharing::shared}, {"private", Sharing::private_}, {"locked", Sharing::locked}}};

const std::vector<std::string> kKeys = {
    "type",      "from", "source",  "src",      "target", "dst",  "destination", "readonly", "ro", "rw",
    "readwrite", "id",   "sharing", "required", "size",   "mode", "uid",         "gid",      "env"};

std::string_view name_of(Type type) { return kTypes[static_cast<std::size_t>(type)].first; }

SyntaxError with_suggestion(std::string message, std::string_view word,
                            const std::vector<std::string>& candidates) {
  SyntaxError error(std::move(message));
  if (const auto close = nearest(word, candidates)) error.add_note(cat("did you mean ", *close, "?"));
  return error;
}

template <typename Names>
std::vector<std::string> names_of(const Names& names) {
  std::vector<std::string> out;
  for (const auto& entry : names) out.emplace_back(entry.first);
  return out;
}

/// One comma-separated field.
struct Field {
  std::string text;
  std::string key;  // lower-cased
  std::string value;
  bool has_value = false;
};

Field split_field(std::string text) {
  Field field;
  const auto equals = text.find('=');
  field.has_value = equals != std::string::npos;
  field.key = to_lower(std::string_view(text).substr(0, equals));
  if (field.has_value) field.value = text.substr(equals + 1);
  field.text = std::move(text);
  return field;
}

/// `$` with anything behind it (VAR-7).
bool has_variable(std::string_view value) {
  const auto dollar = value.find('$');
  return dollar != std::string_view::npos && dollar + 1 < value.size() && value[dollar + 1] != '\n';
}

std::vector<std::string> read_fields(std::string_view value) {
  try {
    return read_csv_record(value);
  } catch (const SyntaxError& error) {
    throw SyntaxError(cat("failed to parse csv mounts: ", error.message()));
  }
}

/// Reads the fields of one mount from left to right (MNT-12).
class Reader {
 public:
  void read(const Field& field) {
    if (!field.has_value) return read_bare(field);
    const std::string& key = field.key;
    if (key == "type") {
      read_type(field.value);
    } else if (key == "from") {
      mount_.from = field.value;
    } else if (key == "source" || key == "src") {
      mount_.source = field.value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      mount_.target = field.value;
    } else if (key == "id") {
      mount_.id = field.value;
    } else if (key == "env") {
      mount_.env = field.value;
    } else if (key == "sharing") {
      read_sharing(field.value);
    } else if (key == "readonly" || key == "ro") {
      read_only_ = boolean(field);
    } else if (key == "readwrite" || key == "rw") {
      read_only_ = !boolean(field);
    } else {
      read_typed(field);
    }
  }

  /// Checks what depends on several fields and fills in defaults.
  MountOptions finish() {
    check_owner();
    if (mount_.type == Type::secret) check_secret();
    if (mount_.type == Type::ssh && !mount_.source.empty()) throw SyntaxError("ssh does not support source");
    if (mount_.sharing && mount_.type != Type::cache) {
      throw SyntaxError(cat("invalid cache sharing set for ", name_of(mount_.type), " mount"));
    }
    const bool writable_type = mount_.type == Type::cache || mount_.type == Type::tmpfs;
    const bool always_read_only = mount_.type == Type::secret || mount_.type == Type::ssh;  // MNT-5
    mount_.read_only = always_read_only || read_only_.value_or(!writable_type);
    return std::move(mount_);
  }

 private:
  void read_bare(const Field& field) {
    const std::string& key = field.key;
    if (key == "readonly" || key == "ro") {
      read_only_ = true;
    } else if (key == "readwrite" || key == "rw") {
      read_only_ = false;
    } else if (key == "required") {
      require_type(key, takes_required());
      mount_.required = true;
    } else {
      throw SyntaxError(cat("invalid field '", printable(field.text), "' must be a key=value pair"));
    }
  }

  /// Keys whose value is checked against the type so far, and numbers.
  void read_typed(const Field& field) {
    const std::string& key = field.key;
    if (key == "required") {
      require_type(key, takes_required());
      mount_.required = boolean(field);
    } else if (key == "size") {
      require_type(key, mount_.type == Type::tmpfs);
      const auto size = parse_memory_size(field.value);
      if (!size) throw SyntaxError(cat("invalid value for size: ", printable(field.value)));
      mount_.size_bytes = *size;
    } else if (key == "mode") {
      mount_.mode = number(field, 8);
    } else if (key == "uid") {
      mount_.uid = number(field, 10);
    } else if (key == "gid") {
      mount_.gid = number(field, 10);
    } else {
      throw with_suggestion(cat("unexpected key '", printable(key), "' in '", printable(field.text), "'"),
                            key, kKeys);
    }
  }

  void read_type(const std::string& value) {
    const std::string lower = to_lower(value);
    for (const auto& [name, type] : kTypes) {
      if (lower == name) {
        mount_.type = type;
        return;
      }
    }
    throw with_suggestion(cat("unsupported mount type \"", printable(value), "\""), value, names_of(kTypes));
  }

  void read_sharing(const std::string& value) {
    const std::string lower = to_lower(value);
    for (const auto& [name, sharing] : kSharings) {
      if (lower == name) {
        mount_.sharing = sharing;
        return;
      }
    }
    throw with_suggestion(cat("unsupported sharing value \"", printable(value), "\""), value,
                          names_of(kSharings));
  }

  bool takes_required() const { return mount_.type == Type::secret || mount_.type == Type::ssh; }

  void require_type(std::string_view key, bool allowed) const {
    if (!allowed)
      throw SyntaxError(cat("unexpected key '", key, "' for mount type '", name_of(mount_.type), "'"));
  }

  static bool boolean(const Field& field) {
    const auto value = parse_boolean(field.value);
    if (!value) throw SyntaxError(cat("invalid value for ", field.key, ": ", printable(field.value)));
    return *value;
  }

  static std::uint32_t number(const Field& field, int base) {
    const auto value = parse_unsigned(field.value, base);
    if (!value) throw SyntaxError(cat("invalid value ", printable(field.value), " for ", field.key));
    return *value;
  }

  void check_owner() const {
    if (mount_.type != Type::bind && mount_.type != Type::tmpfs) return;
    const char* key = mount_.mode ? "mode" : mount_.uid ? "uid" : mount_.gid ? "gid" : nullptr;
    if (key) throw SyntaxError(cat(key, " not allowed for \"", name_of(mount_.type), "\" type mounts"));
  }

  void check_secret() const {
    if (mount_.from && !mount_.from->empty()) throw SyntaxError("secret mount should not have a from");
    if (mount_.sharing) throw SyntaxError("secret mount should not define sharing");
    if (mount_.source.empty() && mount_.target.empty() && mount_.id.empty()) {
      throw SyntaxError("invalid secret mount. one of source, target required");
    }
    if (!mount_.source.empty() && !mount_.id.empty()) throw SyntaxError("both source and id can't be set");
  }

  MountOptions mount_;
  std::optional<bool> read_only_;
};

}  // namespace

std::string MountOptions::effective_id() const {
  if (!id.empty()) return id;
  switch (type) {
    case Type::cache:
      return clean_path(target);
    case Type::secret: {
      if (!source.empty()) return source;
      const std::string path = clean_path(target);
      return path.substr(path.rfind('/') + 1);
    }
    case Type::ssh:
      return "default";
    default:
      return {};
  }
}

MountOptions parse_mount(std::string_view value, const std::function<std::string(std::string_view)>& expand) {
  Reader reader;
  for (auto& text : read_fields(value)) {
    Field field = split_field(std::move(text));
    try {
      if (field.has_value && field.key != "from") field.value = expand(field.value);
      reader.read(field);
    } catch (const WordError&) {
      throw;
    } catch (const SyntaxError& error) {
      throw WordError(error, field.text);
    }
  }
  return reader.finish();
}

std::optional<std::string> mount_from(std::string_view value) {
  std::optional<std::string> from;
  try {
    for (auto& text : read_csv_record(value)) {
      Field field = split_field(std::move(text));
      if (field.key == "from" && field.has_value) from = std::move(field.value);
    }
  } catch (const SyntaxError&) {
    return std::nullopt;
  }
  return from;
}

void check_mount_syntax(std::string_view value) {
  for (auto& text : read_fields(value)) {
    const Field field = split_field(std::move(text));
    if (field.key == "from" && has_variable(field.value)) {
      WordError error("'from' doesn't support variable expansion, define alias stage instead", field.text);
      error.add_note("write FROM … AS name with the variable, and name that stage here");
      throw error;
    }
  }
}

}  // namespace imgbuild::parser
