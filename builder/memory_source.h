#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "builder/source_tree.h"

namespace imgbuild::builder {

/// A tree put together by hand: nothing at all, a downloaded file, a few files in memory. Fill it first, then
/// share it; reading is thread-safe.
class MemorySource final : public SourceTree {
 public:
  /// Only an empty root directory, 0755 0:0.
  MemorySource();
  ~MemorySource() override;

  /// Adds an entry at a clean relative path or replaces what is there; "" changes the root's attributes.
  /// Missing parents are made, 0755 0:0, with the entry's time.
  void add(const std::string& path, SourceNode node);
  /// A regular file whose bytes are here; its size is set.
  void add_file(const std::string& path, oci::FileAttributes attributes, std::string data,
                std::uint64_t link_group = 0);
  /// A regular file whose bytes are elsewhere, with the digest somebody computed on the way.
  void add_file(const std::string& path, oci::FileAttributes attributes, oci::ContentOpener open,
                const Digest& content);

  std::optional<SourceNode> find(const std::string& path) override;
  SourceListing list(const std::string& path) override;
  oci::ContentOpener open(const std::string& path) override;
  Digest content_digest(const std::string& path) override;

 private:
  struct Item;
  Item& make(const std::string& path, SourceNode node);
  const Item* look(const std::string& path) const;
  const Item& regular_file(const std::string& path) const;

  std::unique_ptr<Item> root_;
};

}  // namespace imgbuild::builder
