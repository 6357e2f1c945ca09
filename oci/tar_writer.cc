#include "oci/tar_writer.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash_chain.h"
#include "base/strings.h"
#include "oci/layer_path.h"

namespace imgbuild::oci {

namespace {

using tar::Block;

constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxComponent = 255;
constexpr std::size_t kBufferSize = 256 << 10;
constexpr std::size_t kWorthSharing = 32 << 10;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string only_ascii(std::string_view text) {
  std::string out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out),
               [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return out;
}

[[noreturn]] void refuse(const LayerEntry& entry, std::string_view why) {
  throw Error(cat("a layer cannot hold \"", printable(entry.path), "\": ", why));
}

void check_name(const LayerEntry& entry) {
  if (entry.path.empty()) refuse(entry, "the root directory is never an entry");
  if (entry.path.size() > kMaxPath) refuse(entry, "the path is longer than 4096 bytes");
  if (entry.path.find('\0') != std::string::npos) refuse(entry, "the name has a NUL byte");
  const std::string_view path = entry.path;
  for (std::size_t begin = 0, end = 0; end < path.size(); begin = end + 1) {
    end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    if (name.empty() || name == "." || name == "..")
      refuse(entry, "the path is not in its simplest relative form");
    if (name.size() > kMaxComponent) refuse(entry, "a component is longer than 255 bytes");
    if (name.starts_with(tar::kWhiteoutPrefix)) {
      refuse(entry, "a file name starts with \".wh.\", which marks deletions in layers");
    }
  }
}

/// Where a long name is cut into prefix and name (LAY-3); nothing when it cannot be.
std::optional<std::size_t> split_name(std::string_view name) {
  std::size_t length = name.size();
  if (length > tar::kPrefix.size + 1) {
    length = tar::kPrefix.size + 1;
  } else if (name.back() == '/') {
    --length;
  }
  const std::size_t slash = name.substr(0, length).rfind('/');
  if (slash == std::string_view::npos || slash == 0) return std::nullopt;
  const std::size_t suffix = name.size() - slash - 1;
  if (suffix == 0 || suffix > tar::kName.size || slash > tar::kPrefix.size) return std::nullopt;
  return slash;
}

std::string pax_header_name(std::string_view name) {
  const std::size_t base = name.rfind('/') + 1;  // npos + 1 is 0
  std::string out = only_ascii(cat(name.substr(0, base), "PaxHeaders.0/", name.substr(base)));
  out.resize(std::min(out.size(), tar::kName.size));
  while (out.ends_with('/')) out.pop_back();
  return out;
}

char type_flag(const LayerEntry& entry) {
  if (entry.kind == LayerEntry::Kind::hard_link) return '1';
  switch (entry.attributes.type) {
    case FileType::regular:
      return '0';
    case FileType::symlink:
      return '2';
    case FileType::char_device:
      return '3';
    case FileType::block_device:
      return '4';
    case FileType::directory:
      return '5';
    case FileType::fifo:
      return '6';
  }
  return '0';
}

/// The values of one header before they are laid out.
struct Header {
  std::string name;
  std::string link_name;
  char type = '0';
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  std::int64_t mtime = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  Xattrs xattrs;
};

Header make_header(const LayerEntry& entry, const FileAttributes& a) {
  if (entry.kind == LayerEntry::Kind::whiteout) {
    const std::string_view parent = parent_of(entry.path);
    return {.name = cat(parent, parent.empty() ? "" : "/", tar::kWhiteoutPrefix, base_name(entry.path))};
  }
  Header header;
  const bool link = entry.kind == LayerEntry::Kind::hard_link;
  header.name = entry.path;
  if (!link && a.type == FileType::directory) header.name += '/';
  header.link_name = link                          ? entry.hard_link_target
                     : a.type == FileType::symlink ? a.link_target
                                                   : std::string();
  header.type = type_flag(entry);
  header.mode = a.mode;
  header.uid = a.uid;
  header.gid = a.gid;
  header.size = !link && a.type == FileType::regular ? a.size : 0;
  header.mtime = a.mtime.seconds;
  if (is_device(a.type)) {
    header.device_major = a.device_major;
    header.device_minor = a.device_minor;
  }
  header.xattrs = a.xattrs;
  return header;
}

bool fits_number(tar::Field field, std::int64_t number) {
  return number >= 0 && tar::fits_octal(field, static_cast<std::uint64_t>(number));
}

/// The records needed (LAY-4), empty when plain ustar does.
std::map<std::string, std::string> pax_records(const Header& header) {
  std::map<std::string, std::string> records;
  for (const auto& [name, value] : header.xattrs) records["SCHILY.xattr." + name] = value;
  if (header.link_name.size() > tar::kLinkName.size || !is_ascii(header.link_name)) {
    records["linkpath"] = header.link_name;
  }
  if (!tar::fits_octal(tar::kUid, header.uid)) records["uid"] = cat(header.uid);
  if (!tar::fits_octal(tar::kGid, header.gid)) records["gid"] = cat(header.gid);
  if (!tar::fits_octal(tar::kSize, header.size)) records["size"] = cat(header.size);
  if (!fits_number(tar::kMtime, header.mtime)) records["mtime"] = cat(header.mtime);
  const bool ascii = is_ascii(header.name);
  const bool too_long = header.name.size() > tar::kName.size;
  if (!ascii || (too_long && (!records.empty() || !split_name(header.name)))) records["path"] = header.name;
  return records;
}

void put_number(Block& block, tar::Field field, std::int64_t number) {
  tar::put_octal(block, field, fits_number(field, number) ? static_cast<std::uint64_t>(number) : 0);
}

void put_common(Block& block, char type) {
  block[tar::kTypeFlag.offset] = type;
  tar::put_text(block, tar::kMagic, tar::kUstarMagic);
  tar::put_text(block, tar::kVersion, "00");
}

Block pax_block(const Header& header, std::size_t payload) {
  Block block{};
  tar::put_text(block, tar::kName, pax_header_name(header.name));
  for (const tar::Field field : {tar::kMode, tar::kUid, tar::kGid, tar::kMtime})
    tar::put_octal(block, field, 0);
  tar::put_octal(block, tar::kSize, payload);
  put_common(block, 'x');
  tar::seal(block);
  return block;
}

Block main_block(const Header& header, bool with_pax) {
  Block block{};
  std::string name = is_ascii(header.name) ? header.name : only_ascii(header.name);
  if (!with_pax && name.size() > tar::kName.size) {
    const std::size_t slash = *split_name(name);
    tar::put_text(block, tar::kPrefix, name.substr(0, slash));
    name.erase(0, slash + 1);
  }
  tar::put_text(block, tar::kName, name);
  tar::put_octal(block, tar::kMode, header.mode);
  put_number(block, tar::kUid, header.uid);
  put_number(block, tar::kGid, header.gid);
  put_number(block, tar::kSize, static_cast<std::int64_t>(header.size));
  put_number(block, tar::kMtime, header.mtime);
  tar::put_text(block, tar::kLinkName, only_ascii(header.link_name));
  tar::put_octal(block, tar::kDevMajor, header.device_major);
  tar::put_octal(block, tar::kDevMinor, header.device_minor);
  put_common(block, header.type);
  tar::seal(block);
  return block;
}

std::string_view view(const Block& block) { return {block.data(), block.size()}; }

}  // namespace

Timestamp written_mtime(const Timestamp& mtime, const TarOptions& options) {
  if (options.force_mtime) return {*options.force_mtime, 0};
  if (options.clamp_mtime && mtime.seconds >= *options.clamp_mtime) return {*options.clamp_mtime, 0};
  return {mtime.seconds, 0};
}

TarWriter::TarWriter(Sink& out, TarOptions options) : out_(out), options_(options), buffers_(kBufferSize) {}

void TarWriter::add(const LayerEntry& entry, Source* content, HashChain* hash) {
  check(entry);
  const FileAttributes attributes = attributes_of(entry);
  remember(entry, attributes);
  write_headers(entry, attributes);
  if (entry.kind == LayerEntry::Kind::node && attributes.type == FileType::regular)
    write_content(entry, content, hash);
  out_.boundary();
}

void TarWriter::finish() {
  constexpr Block kZeros{};
  out_.write(view(kZeros));
  out_.write(view(kZeros));
  out_.finish();
}

void TarWriter::check(const LayerEntry& entry) {
  check_name(entry);
  check_parent(entry);
  switch (entry.kind) {
    case LayerEntry::Kind::opaque:
      refuse(entry, "opaque markers are never written");
    case LayerEntry::Kind::whiteout:
      if (whiteouts_of_ != parent_of(entry.path))
        refuse(entry, "a whiteout must directly follow its directory");
      break;
    case LayerEntry::Kind::hard_link: {
      const auto* const target = written_.find(entry.hard_link_target);
      if (target == nullptr || target->type == FileType::directory) {
        refuse(entry, cat("it is a hard link to \"", printable(entry.hard_link_target),
                          "\", which is no earlier file of the layer"));
      }
      break;
    }
    case LayerEntry::Kind::node:
      check_attributes(entry);
      break;
  }
}

void TarWriter::check_parent(const LayerEntry& entry) {
  const std::string_view parent = parent_of(entry.path);
  if (parent.empty() || parent == checked_parent_) return;
  if (!written_.is_directory(parent)) {
    refuse(entry, written_.find(parent) == nullptr ? "its parent directory is no earlier entry"
                                                   : "its parent is not a directory");
  }
  checked_parent_ = parent;
}

void TarWriter::check_attributes(const LayerEntry& entry) const {
  const FileAttributes& a = entry.attributes;
  if (a.mode > 07777) refuse(entry, "the mode has more than permission bits");
  if (a.uid == 0xFFFF'FFFFu || a.gid == 0xFFFF'FFFFu)
    refuse(entry, "its owner has no number inside the image");
  if (a.type == FileType::symlink && (a.link_target.empty() || a.link_target.size() >= kMaxPath ||
                                      a.link_target.find('\0') != std::string::npos)) {
    refuse(entry, "the symlink's target is empty, longer than 4095 bytes or has a NUL byte");
  }
  if (a.type == FileType::char_device && a.device_major == 0 && a.device_minor == 0) {
    refuse(entry, "the character device 0:0 is how overlay file systems mark a deletion");
  }
  if (is_device(a.type) && (!tar::fits_octal(tar::kDevMajor, a.device_major) ||
                            !tar::fits_octal(tar::kDevMinor, a.device_minor))) {
    refuse(entry, "a device number is too large");
  }
  if (a.size >> 63 != 0) refuse(entry, "the size is too large");
  for (const auto& [name, value] : a.xattrs) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos) {
      refuse(entry, cat("the name of its extended attribute \"", printable(name), "\" cannot be written"));
    }
  }
}

FileAttributes TarWriter::attributes_of(const LayerEntry& entry) {
  FileAttributes attributes;
  if (entry.kind == LayerEntry::Kind::whiteout) return attributes;
  if (entry.kind == LayerEntry::Kind::node) {
    attributes = entry.attributes;
    attributes.mtime = written_mtime(attributes.mtime, options_);
    if (attributes.type == FileType::symlink) attributes.mode = 0777;  // LAY-15
    return attributes;
  }
  // Every consumer applies a hard link's attributes to the inode, so they must be the inode's (LAY-15).
  const auto& target = *written_.find(entry.hard_link_target);
  attributes.mode = target.mode;
  attributes.uid = target.uid;
  attributes.gid = target.gid;
  attributes.mtime = target.mtime;
  const auto xattrs = seen_xattrs_.find(entry.hard_link_target);
  if (xattrs != seen_xattrs_.end()) attributes.xattrs = xattrs->second;
  return attributes;
}

void TarWriter::remember(const LayerEntry& entry, const FileAttributes& attributes) {
  if (entry.kind == LayerEntry::Kind::whiteout) {
    if (!whiteouts_.insert(entry.path).second) refuse(entry, "the whiteout is there twice");
    return;
  }
  const bool node = entry.kind == LayerEntry::Kind::node;
  const FileType type = node ? attributes.type : FileType::regular;
  if (!written_.add(entry.path, {type, attributes.mode, attributes.uid, attributes.gid, attributes.mtime}))
    refuse(entry, "the name is there twice");
  if (!attributes.xattrs.empty()) seen_xattrs_.emplace(entry.path, attributes.xattrs);
  whiteouts_of_ = type == FileType::directory ? std::optional(entry.path) : std::nullopt;
  if (!whiteouts_.empty()) whiteouts_ = {};
}

void TarWriter::write_headers(const LayerEntry& entry, const FileAttributes& attributes) {
  const Header header = make_header(entry, attributes);
  std::string payload;
  for (const auto& [key, value] : pax_records(header)) tar::append_pax_record(payload, key, value);
  if (!payload.empty()) {
    out_.write(view(pax_block(header, payload.size())));
    out_.write(payload);
    write_padding(payload.size());
  }
  out_.write(view(main_block(header, !payload.empty())));
}

void TarWriter::write_content(const LayerEntry& entry, Source* content, HashChain* hash) {
  const auto changed = [&] {
    return Error(cat("\"", printable(entry.path), "\" changed while it was read: it had ",
                     entry.attributes.size, " bytes before"));
  };
  std::uint64_t left = entry.attributes.size;
  while (left > 0) {
    const auto buffer = buffers_.take();
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffers_.size()));
    const std::size_t got = content == nullptr ? 0 : content->read({buffer.get(), wanted});
    if (got == 0) throw changed();
    const std::string_view bytes(buffer.get(), got);
    if (hash != nullptr) hash->add(bytes, buffer);
    // What is small is sooner copied into a larger buffer than hashed by itself.
    if (got >= kWorthSharing)
      out_.write_shared(bytes, buffer);
    else
      out_.write(bytes);
    left -= got;
  }
  char more = 0;
  if (content != nullptr && content->read({&more, 1}) != 0) throw changed();
  write_padding(entry.attributes.size);
}

void TarWriter::write_padding(std::uint64_t size) {
  constexpr Block kZeros{};
  if (const auto count = tar::padding(size))
    out_.write(view(kZeros).substr(0, static_cast<std::size_t>(count)));
}

}  // namespace imgbuild::oci
