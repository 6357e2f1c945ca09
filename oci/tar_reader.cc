#include "oci/tar_reader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "oci/layer_xattr.h"
#include "oci/tar_path.h"

namespace imgbuild::oci {

namespace {

using tar::Block;
using tar::Field;

constexpr std::uint64_t kMaxPaxSize = 1 << 20;
constexpr std::uint64_t kMaxLongName = 64 << 10;
constexpr std::size_t kMaxLinkTarget = 4095;
constexpr std::size_t kMaxSparseLine = 20;

// The variant of ustar that Schilling's tar writes keeps times behind a shorter prefix.
constexpr Field kStarMark{508, 4};
constexpr Field kStarPrefix{345, 131};

[[noreturn]] void fail(std::string_view why) {
  throw IntegrityError(cat("the layer is not a valid tar: ", why));
}

bool is_posix(const Block& block) {
  return tar::get(block, tar::kMagic) == tar::kUstarMagic && tar::get(block, tar::kVersion) == "00";
}
bool is_gnu(const Block& block) { return tar::get(block, tar::kMagic) == tar::kGnuMagic; }

std::uint64_t size_field(const Block& block, Field field) {
  const auto size = tar::parse_number(tar::get(block, field));
  if (!size || *size < 0) fail("a size is malformed");
  return static_cast<std::uint64_t>(*size);
}

std::uint32_t device_field(const Block& block, Field field) {
  const auto number = tar::parse_number(tar::get(block, field));
  if (!number || *number < 0 || *number > 0xFFFF'FFFF) fail("a device number is malformed");
  return static_cast<std::uint32_t>(*number);
}

std::uint32_t id_field(const Block& block, Field field) {
  const auto number = tar::parse_number(tar::get(block, field));
  if (!number) fail("an owner is malformed");
  return tar::checked_id(*number);
}

std::optional<FileType> file_type(char type) {
  switch (type) {
    case '\0':
    case '0':
    case '7':
    case 'S':
      return FileType::regular;
    case '2':
      return FileType::symlink;
    case '3':
      return FileType::char_device;
    case '4':
      return FileType::block_device;
    case '5':
      return FileType::directory;
    case '6':
      return FileType::fifo;
    default:
      return std::nullopt;
  }
}

}  // namespace

TarReader::TarReader(Source& from, const TarLimits& limits) : in_(from, kChunkSize), limits_(limits) {}

const TarMember* TarReader::next() {
  Block block;
  while (!ended_) {
    skip_stored();
    if (!read_header(block)) {
      end_archive();
      break;
    }
    const char type = block[tar::kTypeFlag.offset];
    if (take_extension(block, type)) continue;
    if (++members_ > limits_.entries) fail(cat("it has more than ", limits_.entries, " entries"));
    const bool wanted = make_member(block, type);
    pax_.reset();
    long_name_.reset();
    long_link_.reset();
    if (wanted) return &member_;
  }
  return nullptr;
}

/// False at the end of the stream, which may come at the border of a block only.
bool TarReader::read_block(Block& block) {
  const std::string_view bytes = in_.look(tar::kBlockSize);
  if (bytes.empty()) return false;
  if (bytes.size() < tar::kBlockSize) fail("it ends inside a block");
  std::memcpy(block.data(), bytes.data(), block.size());
  in_.consume(block.size());
  return true;
}

void TarReader::require_block(Block& block) {
  if (!read_block(block)) fail("it ends inside a member");
}

/// False at the end of the archive: two zero blocks, or simply no more bytes.
bool TarReader::read_header(Block& block) {
  if (!read_block(block)) return false;
  if (tar::is_zero(block)) {
    if (!read_block(block) || tar::is_zero(block)) return false;
    fail("members follow a single zero block");
  }
  if (!tar::checksum_matches(block)) fail("a header's checksum does not match");
  return true;
}

void TarReader::end_archive() {
  ended_ = true;
  if (pax_ || long_name_ || long_link_) fail("its last header announces a member that does not come");
}

void TarReader::drain() {
  for (;;) {
    const std::size_t count = in_.look(1).size();
    if (count == 0) return;
    in_.consume(count);
  }
}

std::string TarReader::read_payload(const Block& block, std::uint64_t limit, std::string_view what) {
  const std::uint64_t size = size_field(block, tar::kSize);
  if (size > limit) fail(cat(what, " is larger than ", human_size(limit)));
  std::string payload(static_cast<std::size_t>(size), '\0');
  stored_left_ = size;
  padding_left_ = tar::padding(size);
  for (std::size_t used = 0; used < payload.size();)
    used += read_stored({payload.data() + used, payload.size() - used});
  skip_stored();
  return payload;
}

void TarReader::skip_exactly(std::uint64_t count) {
  while (count > 0) {
    const std::size_t there = in_.look(1).size();
    if (there == 0) fail("it ends inside a member");
    const std::size_t now = static_cast<std::size_t>(std::min<std::uint64_t>(count, there));
    in_.consume(now);
    count -= now;
  }
}

void TarReader::skip_stored() {
  skip_exactly(std::exchange(stored_left_, 0));
  skip_exactly(std::exchange(padding_left_, 0));
}

/// Handles headers that are no members themselves; false for others.
bool TarReader::take_extension(const Block& block, char type) {
  const auto long_text = [&](std::optional<std::string>& to) {
    if (to) fail("a member has two long names");
    std::string text = read_payload(block, kMaxLongName, "a long name");
    text.resize(std::min(text.find('\0'), text.size()));
    to = std::move(text);
  };
  switch (type) {
    case 'x':
      if (pax_) fail("a member has two PAX headers");
      pax_ = tar::parse_pax(read_payload(block, kMaxPaxSize, "a PAX header"));
      return true;
    case 'g':
      tar::check_global_pax(read_payload(block, kMaxPaxSize, "a PAX header"));
      return true;
    case 'L':
      long_text(long_name_);
      return true;
    case 'K':
      long_text(long_link_);
      return true;
    default:
      return false;
  }
}

std::string TarReader::member_name(const Block& block) const {
  if (pax_ && pax_->sparse_name) return *pax_->sparse_name;
  if (pax_ && pax_->path) {
    if (long_name_ && *long_name_ != *pax_->path) fail("a member has two different names");
    return *pax_->path;
  }
  if (long_name_) return *long_name_;
  std::string name(tar::get_text(block, tar::kName));
  if (!is_posix(block)) return name;
  const bool star = tar::get(block, kStarMark) == std::string_view("tar\0", 4);
  const std::string_view prefix = tar::get_text(block, star ? kStarPrefix : tar::kPrefix);
  return prefix.empty() ? name : cat(prefix, "/", name);
}

std::string TarReader::member_link(const Block& block) const {
  if (pax_ && pax_->link_path) {
    if (long_link_ && *long_link_ != *pax_->link_path) fail("a member has two different link targets");
    return *pax_->link_path;
  }
  return long_link_ ? *long_link_ : std::string(tar::get_text(block, tar::kLinkName));
}

std::uint64_t TarReader::stored_size(const Block& block) const {
  return pax_ && pax_->size ? *pax_->size : size_field(block, tar::kSize);
}

/// Fills in `member_`; false when it is one nobody wants.
bool TarReader::make_member(const Block& block, char type) {
  member_ = TarMember();
  LayerEntry& entry = member_.entry;
  const std::string name = member_name(block);
  const bool slash = name.ends_with('/');
  const bool old = !is_posix(block) && !is_gnu(block);
  if (slash && old && (type == '0' || type == '\0')) type = '5';  // how v7 marks directories (FS-34)
  const bool hard_link = type == '1';
  const auto file = file_type(type);
  if (!file && !hard_link)
    fail(cat("a member has the unsupported type \"", printable(std::string(1, type)), "\""));

  const tar::MarkedPath path = tar::parse_member_path(name);
  entry.path = path.path;
  if (path.mark != tar::MarkedPath::Mark::none) {
    stored_left_ = hard_link ? 0 : stored_size(block);
    padding_left_ = tar::padding(stored_left_);
    if (path.mark == tar::MarkedPath::Mark::ignored) return false;
    entry.kind =
        path.mark == tar::MarkedPath::Mark::opaque ? LayerEntry::Kind::opaque : LayerEntry::Kind::whiteout;
    return true;
  }
  if (slash && file != FileType::directory) fail("a name that is no directory's ends with a slash");
  if (entry.path.empty() && file != FileType::directory) fail("the root is not a directory");
  if (hard_link) {
    entry.kind = LayerEntry::Kind::hard_link;
    const tar::MarkedPath target = tar::parse_member_path(member_link(block));
    if (target.path.empty() || target.mark != tar::MarkedPath::Mark::none) fail("a hard link has no target");
    entry.hard_link_target = target.path;
    return true;  // some writers leave the file's size in the header, but no bytes follow (LAY-39)
  }
  set_attributes(block, *file);
  set_content(block, type);
  return true;
}

void TarReader::set_attributes(const Block& block, FileType type) {
  FileAttributes& a = member_.entry.attributes;
  a.type = type;
  const auto mode = tar::parse_number(tar::get(block, tar::kMode));
  if (!mode || *mode < 0) fail("a mode is malformed");
  a.mode = type == FileType::symlink ? 0777 : static_cast<std::uint32_t>(*mode & 07777);
  a.uid = pax_ && pax_->uid ? *pax_->uid : id_field(block, tar::kUid);
  a.gid = pax_ && pax_->gid ? *pax_->gid : id_field(block, tar::kGid);
  if (pax_ && pax_->mtime) {
    a.mtime = *pax_->mtime;
  } else {
    const auto mtime = tar::parse_number(tar::get(block, tar::kMtime));
    if (!mtime) fail("a time is malformed");
    a.mtime = {*mtime, 0};
  }
  if (type == FileType::symlink) {
    a.link_target = member_link(block);
    if (a.link_target.empty()) fail("a symlink has no target");
    if (a.link_target.size() > kMaxLinkTarget) fail("a symlink's target is longer than 4095 bytes");
  }
  if (type == FileType::char_device || type == FileType::block_device) {
    a.device_major = device_field(block, tar::kDevMajor);
    a.device_minor = device_field(block, tar::kDevMinor);
  }
  if (!pax_) return;
  for (auto& [name, value] : pax_->xattrs) {
    if (layer_keeps_xattr(name)) a.xattrs.add(name, std::move(value));
  }
}

void TarReader::set_content(const Block& block, char type) {
  FileAttributes& a = member_.entry.attributes;
  const std::uint64_t stored = stored_size(block);
  const bool sparse = type == 'S' || (pax_ && pax_->sparse);
  if (a.type != FileType::regular) {
    if (stored != 0 || sparse) fail("a member that is no regular file has content");
    return;
  }
  if (stored > limits_.file_size) fail(cat("a file is larger than ", human_size(limits_.file_size)));
  stored_left_ = stored;
  padding_left_ = tar::padding(stored);
  a.size = stored;
  if (sparse) read_sparse_map(block, type);
  if (a.size > limits_.file_size) fail(cat("a file is larger than ", human_size(limits_.file_size)));
  total_size_ += a.size;
  if (total_size_ > limits_.total_size) {
    fail(cat("its files are larger than ", human_size(limits_.total_size), " together"));
  }
}

void TarReader::read_sparse_map(const Block& block, char type) {
  tar::SparseMap map;
  std::uint64_t real_size = 0;
  if (type == 'S') {
    if (pax_ && pax_->sparse) fail("a sparse file has two maps");
    real_size = size_field(block, tar::kSparseRealSize);
    map.add_header_pairs(tar::get(block, tar::kSparsePairs));
    Block more = block;
    for (bool extended = block[tar::kSparseExtended.offset] != '\0'; extended;
         extended = more[tar::kMoreExtended.offset] != '\0') {
      // Blocks without a single piece would make the list endless.
      require_block(more);
      if (more[0] == '\0') fail("a sparse file's map has an empty block");
      map.add_header_pairs(tar::get(more, tar::kMorePairs));
    }
  } else {
    if (!pax_->sparse_real_size) fail("a sparse file has no size");
    real_size = *pax_->sparse_real_size;
    map = std::move(pax_->sparse_map);
    if (pax_->sparse_map_in_data) read_map_from_data(map);
  }
  member_.extents = map.take(real_size, stored_left_);
  member_.sparse = true;
  member_.entry.attributes.size = real_size;
  position_ = 0;
  extent_ = 0;
}

/// The map of PAX format 1.0: lines in whole blocks before the data, counted in its size.
void TarReader::read_map_from_data(tar::SparseMap& map) {
  std::uint64_t used = 0;
  const auto number = [&] {
    const auto value = parse_decimal(sparse_line(used));
    if (!value || *value >> 63 != 0) fail("a sparse file's map is malformed");
    return *value;
  };
  for (std::uint64_t count = number(); count > 0; --count) {
    const std::uint64_t offset = number();
    map.add(offset, number());
  }
  const std::uint64_t rest = tar::padding(used);
  if (used + rest > stored_left_) fail("a sparse file's map is longer than the file");
  skip_exactly(rest);
  stored_left_ -= used + rest;
}

/// A line of the map that precedes a sparse file's data, without its newline.
std::string TarReader::sparse_line(std::uint64_t& used) {
  std::string line;
  for (;;) {
    const std::string_view byte = in_.look(1).substr(0, 1);
    if (byte.empty() || used >= std::min<std::uint64_t>(stored_left_, tar::kMaxSparseMap)) {
      fail("a sparse file's map is too long");
    }
    in_.consume(1);
    ++used;
    if (byte == "\n") return line;
    line += byte;
    if (line.size() > kMaxSparseLine) fail("a sparse file's map is malformed");
  }
}

std::size_t TarReader::read_stored(std::span<char> buffer) {
  if (stored_left_ == 0 || buffer.empty()) return 0;
  const std::string_view bytes = in_.look(1);
  if (bytes.empty()) fail("it ends inside a member");
  const std::size_t count =
      static_cast<std::size_t>(std::min<std::uint64_t>({stored_left_, bytes.size(), buffer.size()}));
  std::memcpy(buffer.data(), bytes.data(), count);
  in_.consume(count);
  stored_left_ -= count;
  return count;
}

std::size_t TarReader::read(std::span<char> buffer) {
  if (!member_.sparse) return read_stored(buffer);
  const auto& extents = member_.extents;
  while (extent_ < extents.size() && position_ >= extents[extent_].offset + extents[extent_].size) ++extent_;
  const bool in_extent = extent_ < extents.size() && position_ >= extents[extent_].offset;
  const std::uint64_t end = extent_ >= extents.size() ? member_.entry.attributes.size
                            : in_extent               ? extents[extent_].offset + extents[extent_].size
                                                      : extents[extent_].offset;
  std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(end - position_, buffer.size()));
  if (in_extent) {
    count = read_stored(buffer.first(count));
  } else {
    std::memset(buffer.data(), 0, count);
  }
  position_ += count;
  return count;
}

}  // namespace imgbuild::oci
