#include "builder/memory_source.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/stream.h"
#include "base/strings.h"

namespace imgbuild::builder {

struct MemorySource::Item {
  SourceNode node;
  oci::ContentOpener open;
  std::optional<Digest> content;
  std::map<std::string, std::unique_ptr<Item>, std::less<>> children;
};

namespace {

oci::FileAttributes directory_attributes(const Timestamp& mtime) {
  oci::FileAttributes attributes;
  attributes.type = oci::FileType::directory;
  attributes.mode = 0755;
  attributes.mtime = mtime;
  return attributes;
}

}  // namespace

MemorySource::MemorySource() : root_(std::make_unique<Item>()) {
  root_->node.attributes = directory_attributes({});
}

MemorySource::~MemorySource() = default;

MemorySource::Item& MemorySource::make(const std::string& path, SourceNode node) {
  Item* item = root_.get();
  if (!path.empty()) {
    for (const auto name : split(path, '/')) {
      auto& child = item->children[std::string(name)];
      if (!child) {
        child = std::make_unique<Item>();
        child->node.attributes = directory_attributes(node.attributes.mtime);
      }
      item = child.get();
    }
  }
  item->node = std::move(node);
  item->open = {};
  item->content.reset();
  if (item->node.attributes.type != oci::FileType::directory) item->children.clear();
  return *item;
}

void MemorySource::add(const std::string& path, SourceNode node) { make(path, std::move(node)); }

void MemorySource::add_file(const std::string& path, oci::FileAttributes attributes, std::string data,
                            std::uint64_t link_group) {
  attributes.size = data.size();
  Item& item = make(path, {std::move(attributes), link_group});
  item.content = sha256(data);
  item.open = [data = std::make_shared<const std::string>(std::move(data))] {
    return std::make_unique<StringSource>(*data);
  };
}

void MemorySource::add_file(const std::string& path, oci::FileAttributes attributes, oci::ContentOpener open,
                            const Digest& content) {
  Item& item = make(path, {std::move(attributes)});
  item.content = content;
  item.open = std::move(open);
}

const MemorySource::Item* MemorySource::look(const std::string& path) const {
  const Item* item = root_.get();
  if (path.empty()) return item;
  for (const auto name : split(path, '/')) {
    const auto child = item->children.find(name);
    if (child == item->children.end()) return nullptr;
    item = child->second.get();
  }
  return item;
}

const MemorySource::Item& MemorySource::regular_file(const std::string& path) const {
  const Item* const item = look(path);
  if (item == nullptr || !item->open) throw Error(cat("\"/", printable(path), "\" is no regular file"));
  return *item;
}

std::optional<SourceNode> MemorySource::find(const std::string& path) {
  const Item* const item = look(path);
  if (item == nullptr) return std::nullopt;
  return item->node;
}

SourceListing MemorySource::list(const std::string& path) {
  std::vector<SourceListing::Entry> children;
  if (const Item* const item = look(path)) {
    for (const auto& [name, child] : item->children) children.emplace_back(name, child->node);
  }
  return SourceListing(std::move(children));
}

oci::ContentOpener MemorySource::open(const std::string& path) { return regular_file(path).open; }

Digest MemorySource::content_digest(const std::string& path) { return *regular_file(path).content; }

}  // namespace imgbuild::builder
