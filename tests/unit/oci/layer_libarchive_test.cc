#include <archive.h>
#include <archive_entry.h>
#include <doctest/doctest.h>

#include <memory>

#include "oci/layer_order.h"
#include "oci/layer_writer.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"

// Somebody else's reader must see in our layers what we meant.

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

struct FreeArchive {
  void operator()(archive* a) const noexcept { archive_read_free(a); }
};

std::string text(const char* value) { return value == nullptr ? std::string() : std::string(value); }

/// One line a member.
std::string listing(const std::string& blob) {
  std::unique_ptr<archive, FreeArchive> reader(archive_read_new());
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_format_tar(reader.get());
  REQUIRE(archive_read_open_memory(reader.get(), blob.data(), blob.size()) == ARCHIVE_OK);
  std::string out;
  archive_entry* entry = nullptr;
  int status = 0;
  while ((status = archive_read_next_header(reader.get(), &entry)) == ARCHIVE_OK) {
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    if (archive_entry_hardlink(entry) == nullptr && !content.empty()) {
      REQUIRE(archive_read_data(reader.get(), content.data(), content.size()) ==
              static_cast<la_ssize_t>(content.size()));
    }
    out += text(archive_entry_pathname(entry)) + "|" + text(archive_entry_symlink(entry)) + "|" +
           text(archive_entry_hardlink(entry)) + "|" + std::to_string(archive_entry_perm(entry)) + "|" +
           std::to_string(archive_entry_uid(entry)) + "|" + std::to_string(archive_entry_mtime(entry)) + "|" +
           sha256(content).short_hex() + "\n";
  }
  CHECK(status == ARCHIVE_EOF);
  return out;
}

std::string expected(const std::string& path, const std::string& symlink, const std::string& hard_link,
                     int mode, std::uint32_t uid, long mtime, const std::string& content) {
  return path + "|" + symlink + "|" + hard_link + "|" + std::to_string(mode) + "|" + std::to_string(uid) +
         "|" + std::to_string(mtime) + "|" + sha256(content).short_hex() + "\n";
}

}  // namespace

TEST_CASE("libarchive reads our layers as we meant them") {
  const std::string long_name = "d/" + std::string(120, 'n') + "/" + std::string(120, 'm');
  const std::string big(2'500'000, 'b');
  auto file = pending(file_entry("d/f"), big);
  file.entry.attributes.uid = 3'000'000;
  file.entry.attributes.mtime = {1'700'000'000, 5};
  auto old = pending(file_entry("old"), "x");
  old.entry.attributes.mtime = {-5, 0};
  const auto entries =
      order_entries({pending(dir_entry("d", 01777)), file, pending(hard_link_entry("d/g", "d/f")),
                     pending(symlink_entry("d/l", "../" + std::string(150, 't'))), old,
                     pending(dir_entry("d/" + std::string(120, 'n'))), pending(file_entry(long_name), "long"),
                     pending(whiteout_entry("d/gone"))});
  const std::string want =
      expected("d/", "", "", 01777, 0, 0, "") + expected("d/.wh.gone", "", "", 0, 0, 0, "") +
      expected("d/f", "", "", 0644, 3'000'000, 1'700'000'000, big) +
      expected("d/g", "", "d/f", 0644, 3'000'000, 1'700'000'000, "") +
      expected("d/l", "../" + std::string(150, 't'), "", 0777, 0, 0, "") +
      expected("d/" + std::string(120, 'n') + "/", "", "", 0755, 0, 0, "") +
      expected(long_name, "", "", 0644, 0, 0, "long") + expected("old", "", "", 0644, 0, -5, "x");
  for (const auto kind : {CompressionKind::none, CompressionKind::gzip, CompressionKind::zstd}) {
    MemoryBlobStore store;
    const auto written = write_layer(entries, {kind, {}}, store, nullptr);
    CHECK(listing(store.blob(written.layer.blob.digest)) == want);
  }
}
