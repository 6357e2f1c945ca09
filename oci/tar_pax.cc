#include "oci/tar_pax.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci::tar {

namespace {

constexpr std::string_view kXattrPrefix = "SCHILY.xattr.";
constexpr std::string_view kSparsePrefix = "GNU.sparse.";
constexpr std::size_t kMaxXattrName = 255;  // FS-30
constexpr std::size_t kMaxXattrValue = 64 << 10;
constexpr std::size_t kMaxXattrsTotal = 1 << 20;

[[noreturn]] void bad_pax(std::string_view key) {
  throw IntegrityError(cat("a PAX header has a bad value for ", printable(key)));
}

std::uint64_t number(std::string_view key, std::string_view value) {
  const auto parsed = parse_decimal(value);
  if (!parsed || *parsed >> 63 != 0) bad_pax(key);
  return *parsed;
}

/// Decimal seconds with sign and fraction, rounded down to nanoseconds.
Timestamp time(std::string_view key, std::string_view value) {
  const bool negative = value.starts_with('-');
  if (negative) value.remove_prefix(1);
  const std::size_t dot = std::min(value.find('.'), value.size());
  const std::uint64_t whole = number(key, value.substr(0, dot));
  std::string_view fraction = value.substr(std::min(dot + 1, value.size()));
  std::uint32_t nanoseconds = 0;
  bool finer = false;
  for (std::size_t i = 0; i < std::max<std::size_t>(9, fraction.size()); ++i) {
    const char digit = i < fraction.size() ? fraction[i] : '0';
    if (digit < '0' || digit > '9') bad_pax(key);
    if (i < 9) nanoseconds = nanoseconds * 10 + static_cast<std::uint32_t>(digit - '0');
    finer = finer || (i >= 9 && digit != '0');
  }
  Timestamp result{static_cast<std::int64_t>(whole), nanoseconds};
  if (!negative) return result;
  if (finer && ++nanoseconds == 1'000'000'000) return {-static_cast<std::int64_t>(whole) - 1, 0};
  if (nanoseconds == 0) return {-static_cast<std::int64_t>(whole), 0};
  return {-static_cast<std::int64_t>(whole) - 1, 1'000'000'000 - nanoseconds};
}

std::string text(std::string_view key, std::string_view value) {
  if (value.find('\0') != std::string_view::npos) bad_pax(key);
  return std::string(value);
}

class Collector {
 public:
  void add(std::string_view key, std::string_view value) {
    if (key.starts_with(kXattrPrefix)) return add_xattr(key, key.substr(kXattrPrefix.size()), value);
    if (key.starts_with(kSparsePrefix)) return add_sparse(key, key.substr(kSparsePrefix.size()), value);
    const bool empty = value.empty();
    if (key == "path") values_.path = empty ? std::nullopt : std::optional(text(key, value));
    if (key == "linkpath") values_.link_path = empty ? std::nullopt : std::optional(text(key, value));
    if (key == "size") values_.size = empty ? std::nullopt : std::optional(number(key, value));
    if (key == "uid") values_.uid = empty ? std::nullopt : std::optional(id(key, value));
    if (key == "gid") values_.gid = empty ? std::nullopt : std::optional(id(key, value));
    if (key == "mtime") values_.mtime = empty ? std::nullopt : std::optional(time(key, value));
  }

  PaxValues finish() {
    if (offset_) bad_pax("GNU.sparse.offset");
    std::size_t total = 0;
    for (const auto& [name, value] : values_.xattrs) total += name.size() + value.size();
    if (total > kMaxXattrsTotal) throw IntegrityError("a file has more than 1 MiB of extended attributes");
    if (major_) {
      values_.sparse_map_in_data = *major_ == 1;
      if (*major_ > 1 || minor_.value_or(0) > (*major_ == 0 ? 1u : 0u)) {
        throw IntegrityError("a sparse file has an unknown format");
      }
    }
    return std::move(values_);
  }

 private:
  static std::uint32_t id(std::string_view key, std::string_view value) {
    return checked_id(static_cast<std::int64_t>(number(key, value)));
  }

  void add_xattr(std::string_view key, std::string_view name, std::string_view value) {
    if (name.empty() || name.size() > kMaxXattrName || name.find('\0') != std::string_view::npos)
      bad_pax(key);
    if (value.size() > kMaxXattrValue) {
      throw IntegrityError(cat("the extended attribute ", printable(name), " is larger than 64 KiB"));
    }
    values_.xattrs.insert_or_assign(std::string(name), std::string(value));
  }

  void add_sparse(std::string_view key, std::string_view name, std::string_view value) {
    values_.sparse = true;
    if (name == "major") major_ = number(key, value);
    if (name == "minor") minor_ = number(key, value);
    if (name == "name") values_.sparse_name = text(key, value);
    if (name == "realsize" || name == "size") values_.sparse_real_size = number(key, value);
    if (name == "offset") {
      if (offset_) bad_pax(key);
      offset_ = number(key, value);
    }
    if (name == "numbytes") {
      if (!offset_) bad_pax(key);
      values_.sparse_map.add(*offset_, number(key, value));
      offset_.reset();
    }
    if (name == "map") {
      values_.sparse_map = SparseMap();
      values_.sparse_map.add_text(value);
    }
  }

  PaxValues values_;
  std::optional<std::uint64_t> major_;
  std::optional<std::uint64_t> minor_;
  std::optional<std::uint64_t> offset_;  ///< of format 0.0, until its size comes
};

[[noreturn]] void fail_records() { throw IntegrityError("a PAX header is not a list of records"); }

}  // namespace

std::uint32_t checked_id(std::int64_t number) {
  if (number < 0 || number > 0xFFFF'FFFE)
    throw IntegrityError(cat("the owner number ", number, " is out of range"));
  return static_cast<std::uint32_t>(number);
}

PaxValues parse_pax(std::string_view text) {
  Collector collector;
  if (!for_each_pax_record(text, [&](auto key, auto value) { collector.add(key, value); })) fail_records();
  return collector.finish();
}

void check_global_pax(std::string_view text) {
  static constexpr std::array<std::string_view, 8> kChanging = {"path", "linkpath", "size",  "uid",
                                                                "gid",  "mtime",    "uname", "gname"};
  const bool well_formed = for_each_pax_record(text, [](std::string_view key, std::string_view) {
    if (std::find(kChanging.begin(), kChanging.end(), key) != kChanging.end() ||
        key.starts_with(kXattrPrefix) || key.starts_with(kSparsePrefix)) {
      throw IntegrityError(
          cat("a global PAX header would change the ", printable(key), " of all files that follow"));
    }
  });
  if (!well_formed) fail_records();
}

}  // namespace imgbuild::oci::tar
