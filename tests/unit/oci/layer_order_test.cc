#include "oci/layer_order.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/hash.h"
#include "tests/support/layer_entries.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

std::string names(const std::vector<PendingEntry>& entries) {
  std::string out;
  for (const auto& [entry, open] : entries) {
    if (!out.empty()) out += ' ';
    if (entry.kind == LayerEntry::Kind::whiteout) out += '-';
    out += entry.path;
    if (entry.kind == LayerEntry::Kind::hard_link) out += "=" + entry.hard_link_target;
  }
  return out;
}

std::vector<PendingEntry> all(std::vector<LayerEntry> entries) {
  std::vector<PendingEntry> out;
  for (auto& entry : entries) out.push_back({std::move(entry), {}});
  return out;
}

}  // namespace

TEST_CASE("a directory comes first, then its whiteouts, then its children by bytes") {
  CHECK(names(order_entries(all({file_entry("a/z"), file_entry("a-b"), dir_entry("a"), whiteout_entry("a/y"),
                                 whiteout_entry("z"), file_entry("a/b/c"), dir_entry("a/b"), file_entry("B"),
                                 file_entry("a/\xff"), whiteout_entry("a/b")}))) ==
        "-z B a -a/b -a/y a/b a/b/c a/z a/\xff a-b");
}

TEST_CASE("a whiteout comes before a new entry of its name") {
  CHECK(names(order_entries(all({file_entry("d/x/y"), dir_entry("d/x"), whiteout_entry("d/x"),
                                 dir_entry("d")}))) == "d -d/x d/x d/x/y");
}

TEST_CASE("the first name of an inode gets the bytes") {
  auto file = pending(file_entry("z"), "bytes");
  file.entry.attributes.mode = 0600;
  auto entries = order_entries({file, pending(hard_link_entry("m", "z")), pending(hard_link_entry("a", "m")),
                                pending(file_entry("b"))});
  CHECK(names(entries) == "a b m=a z=a");
  CHECK(entries[0].entry.attributes.size == 5);
  CHECK(entries[0].open);
  CHECK_FALSE(entries[3].open);
  CHECK(entries[2].entry.attributes.mode == 0600);
}

TEST_CASE("a hard link to nothing of the layer, to a directory or in a circle is refused") {
  CHECK_THROWS_AS((void)order_entries(all({hard_link_entry("a", "b")})), Error);
  CHECK_THROWS_AS((void)order_entries(all({dir_entry("b"), hard_link_entry("a", "b")})), Error);
  CHECK_THROWS_AS((void)order_entries(all({hard_link_entry("a", "b"), hard_link_entry("b", "a")})), Error);
}

TEST_CASE("missing parents are added with the attributes of the image") {
  const FileTree tree = FileTree().apply(
      LayerIndex{{dir_entry("a", 0700), dir_entry("a/b", 01777), file_entry("f")}}, DiffId{sha256("x")});
  const auto entries =
      order_entries(add_parents(all({file_entry("a/b/c"), whiteout_entry("a/b/d"), file_entry("g")}), tree));
  CHECK(names(entries) == "a a/b -a/b/d a/b/c g");
  CHECK(entries[0].entry.attributes.mode == 0700);
  CHECK(entries[1].entry.attributes.mode == 01777);

  CHECK(names(add_parents(all({dir_entry("a", 0711), file_entry("a/x")}), tree)) == "a a/x");
  CHECK(names(order_entries(add_parents(all({dir_entry("a/b/n"), file_entry("a/b/n/x")}), tree))) ==
        "a a/b a/b/n a/b/n/x");
  CHECK_THROWS_AS((void)add_parents(all({file_entry("f/x")}), tree), Error);
  CHECK_THROWS_AS((void)add_parents(all({file_entry("new/x")}), tree), Error);
}
