#include "builder/store/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/hash.h"
#include "base/root_dir.h"
#include "base/stream.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/work_claim.h"
#include "builder/layer_dirs.h"
#include "builder/store/inventory.h"
#include "cache/record_files.h"
#include "oci/disk_blob_store.h"
#include "oci/disk_image_store.h"
#include "oci/image_graph.h"
#include "oci/layer_index.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxIndexSize = std::uint64_t{4} << 30;

class Checker {
 public:
  Checker(StoreRoot& store, const CheckRequest& request, std::stop_token stop)
      : store_(store),
        root_(store.dir.get()),
        request_(request),
        stop_(std::move(stop)),
        blobs_(root_, {.epoch = store.epoch, .look_only = !request.repair}) {}

  CheckReport run() {
    inventory_ = take_inventory(root_);
    for (const StoreItem& item : inventory_.items) {
      if (stop_.stop_requested()) throw Cancelled();
      check(item);
    }
    check_records();
    check_names();
    return std::move(report_);
  }

 private:
  void check(const StoreItem& item) {
    switch (item.kind) {
      case ItemKind::layer:
      case ItemKind::document:
        return check_blob(item);
      case ItemKind::layer_index:
        return check_index(item);
      case ItemKind::extracted:
        return check_extracted(item);
      case ItemKind::leftover:
        return check_leftover(item);
      default:
        return;
    }
  }

  void add(const std::string& path, std::string what, bool repaired = false) {
    report_.problems.push_back({path, std::move(what), repaired});
  }

  /// Out of everybody's way, but still there for whoever wants to look (FLT-16).
  bool set_aside(const std::string& path) {
    if (!request_.repair) return false;
    ensure_dir_at(root_, "corrupt", 0700);
    const std::string name = path.substr(path.rfind('/') + 1);
    return ::renameat(root_, path.c_str(), root_, cat("corrupt/", name).c_str()) == 0;
  }

  void check_blob(const StoreItem& item) {
    ++report_.blobs;
    report_.bytes += item.disk_bytes;
    const bool was_there = ::faccessat(root_, item.path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (!was_there || blobs_.check_blob(*item.digest, request_.repair)) return;
    add(item.path, "its bytes do not match its digest", request_.repair);
  }

  std::optional<oci::LayerIndex> read_index(const Digest& diff_id) const {
    const UniqueFd file = open_at_if_exists(root_, cat("indexes/", diff_id.hex()), O_RDONLY | O_NONBLOCK);
    if (!file) return std::nullopt;
    return oci::LayerIndex::parse(read_file(file.get(), kMaxIndexSize, "layer index"));
  }

  void check_index(const StoreItem& item) {
    ++report_.indexes;
    try {
      (void)read_index(*item.digest);
    } catch (const Error& error) {
      add(item.path, error.message(), set_aside(item.path));
    }
  }

  void check_leftover(const StoreItem& item) {
    if (item.path == "trash" || item.path == "steps" || item.path == "ingest" ||
        store_.locks.is_held_by_others(kStoreLock))
      return;  // may be of a build that runs
    if (item.path.starts_with("cache/") || item.path.starts_with("tags/")) {
      const bool unfinished = item.path.ends_with(".tmp") || item.path.find("/.") != std::string::npos;
      if (!unfinished) return add(item.path, "is damaged and counts as missing", set_aside(item.path));
    }
    bool gone = false;
    if (request_.repair) {
      remove_tree_at(root_, item.path);
      gone = true;
    }
    add(item.path, "belongs to nothing", gone);
  }

  // ---- what refers to what

  void check_records() {
    for (const RecordLinks& record : inventory_.records) {
      ++report_.records;
      if (blobs_.find_blob(record.blob)) continue;
      const std::string& path = inventory_.items[record.item].path;
      add(path, cat("its layer ", record.blob.str(), " is not stored"), set_aside(path));
    }
  }

  void check_names() {
    for (const auto& image : oci::DiskImageStore(root_).list()) {
      ++report_.names;
      const std::string path = cat("tags/", sha256(image.name.str()).hex());
      try {
        // A base image that was pulled gets its layers when a step needs their files.
        if (blobs_.find_blob(image.target.digest)) {
          if (!image.pulled) (void)oci::reach(blobs_, image.target, oci::Children::at_least_one);
          continue;
        }
        add(path, cat(image.name.familiar(), ": its manifest is not stored"), set_aside(path));
      } catch (const Error& error) {
        add(path, cat(image.name.familiar(), ": ", error.message()), set_aside(path));
      }
    }
  }

  // ---- extracted layers

  void check_extracted(const StoreItem& item) {
    ++report_.extracted;
    const std::string problem = problem_of_extracted(item);
    if (!problem.empty()) add(item.path, problem, remove_extracted(item));
  }

  std::string problem_of_extracted(const StoreItem& item) {
    const UniqueFd dir = open_at_if_exists(root_, item.path, O_RDONLY | O_DIRECTORY);
    if (!dir) return {};
    const UniqueFd meta = open_at_if_exists(dir.get(), "meta", O_RDONLY | O_NONBLOCK);
    if (!meta) return "has no meta, so nobody uses it";
    const std::string text = read_file(meta.get(), 4096, "meta");
    const auto end = text.rfind("end ");
    if (end == std::string::npos || text.substr(end) != cat("end ", sha256(text.substr(0, end)).hex(), "\n"))
      return "its meta is damaged";
    const UniqueFd fs = open_at_if_exists(dir.get(), "fs", O_RDONLY | O_DIRECTORY);
    if (!fs) return "its files are missing";
    if (!request_.deep) return {};
    const auto at = text.find("\ndiff_id ");
    if (at == std::string::npos) return "its meta names no layer";
    try {
      const std::string rest = text.substr(at + 9);
      const auto index = read_index(Digest::parse(rest.substr(0, rest.find('\n'))));
      return index ? compare(*index, RootDir(fs.duplicate()), is_content_path(item.path)) : std::string();
    } catch (const Error& error) {
      return error.message();
    }
  }

  /// The first difference between the files and what the layer says; empty: none. `content_only`: only files
  /// that have bytes are there.
  std::string compare(const oci::LayerIndex& index, const RootDir& files, bool content_only) {
    using oci::FileType;
    using Kind = oci::LayerEntry::Kind;
    for (const auto& entry : index.entries) {
      if (stop_.stop_requested()) throw Cancelled();
      if (entry.kind != Kind::node && entry.kind != Kind::hard_link) continue;
      if (content_only && !oci::has_bytes(entry)) continue;
      const std::string shown = printable(entry.path);
      const UniqueFd file = open_entry(files, entry.path);
      struct stat info {};
      if (!file || ::fstat(file.get(), &info) != 0) return cat("\"", shown, "\" is missing");
      ++report_.files;
      if (entry.kind != Kind::node) continue;
      if (!has_type(info.st_mode, entry.attributes.type)) return cat("\"", shown, "\" is of another type");
      if (entry.attributes.type != FileType::regular) continue;
      if (static_cast<std::uint64_t>(info.st_size) != entry.attributes.size)
        return cat("\"", shown, "\" has another size");
      if (entry.content && hash_of(files, entry.path) != *entry.content)
        return cat("\"", shown, "\" has other bytes");
    }
    return {};
  }

  static UniqueFd open_entry(const RootDir& files, const std::string& path) {
    try {
      return files.open_beneath(path, O_PATH | O_NOFOLLOW);
    } catch (const SystemError&) {
      return {};
    }
  }

  static bool has_type(mode_t mode, oci::FileType type) {
    switch (type) {
      case oci::FileType::regular:
        return S_ISREG(mode);
      case oci::FileType::directory:
        return S_ISDIR(mode);
      case oci::FileType::symlink:
        return S_ISLNK(mode);
      default:
        return !S_ISDIR(mode) && !S_ISLNK(mode);  // without privileges, devices are stood in for by files
    }
  }

  static Digest hash_of(const RootDir& files, const std::string& path) {
    FileSource bytes(files.open_beneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), path);
    Sha256 hash;
    std::vector<char> buffer(kChunkSize);
    while (const std::size_t got = bytes.read(buffer)) hash.update({buffer.data(), got});
    return hash.finish();
  }

  bool remove_extracted(const StoreItem& item) {
    if (!request_.repair) return false;
    const UniqueFd locks = open_at(root_, "locks", O_RDONLY | O_DIRECTORY);
    const auto making = WorkClaim::try_acquire(locks.get(), claim_of_layer_path(item.path), *item.digest);
    if (!making) return false;
    const UniqueFd dir = open_at_if_exists(root_, item.path, O_RDONLY | O_DIRECTORY);
    if (dir && open_at_if_exists(dir.get(), "meta", O_RDONLY | O_NONBLOCK) &&
        !FileLock::try_acquire(dir.get(), "meta", FileLock::Kind::exclusive)) {
      return false;
    }
    ensure_dir_at(root_, "trash", 0700);
    const UniqueFd trash = open_at(root_, "trash", O_RDONLY | O_DIRECTORY);
    const std::string name = random_name();
    if (::renameat(root_, item.path.c_str(), trash.get(), name.c_str()) != 0) return false;
    remove_tree_at(trash.get(), name);
    return true;
  }

  StoreRoot& store_;
  int root_;
  const CheckRequest& request_;
  std::stop_token stop_;
  oci::DiskBlobStore blobs_;
  Inventory inventory_;
  CheckReport report_;
};

}  // namespace

CheckReport check_store(StoreRoot& store, const CheckRequest& request, std::stop_token stop) {
  if (store.read_only && request.repair)
    throw Error(cat("the store ", printable(store.path), " is read-only: nothing can be repaired"),
                ExitCode::system);
  return Checker(store, request, std::move(stop)).run();
}

}  // namespace imgbuild::builder
