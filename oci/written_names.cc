#include "oci/written_names.h"

#include <algorithm>
#include <cstring>

namespace imgbuild::oci {

namespace {

/// Whether `a` stands before `b` in a layer: component by component, a directory before what is in it.
bool comes_before(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  const auto at =
      static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + common, b.begin()).first - a.begin());
  if (at == common) return a.size() < b.size();
  if (a[at] == '/' || b[at] == '/') return a[at] == '/';
  return static_cast<unsigned char>(a[at]) < static_cast<unsigned char>(b[at]);
}

}  // namespace

bool WrittenNames::add(std::string_view name, const Attributes& attributes) {
  if (!table_ && !entries_.empty() && !comes_before(entries_.back().name, name)) make_table();
  if (table_ && table_->contains(name)) return false;
  char* const text = static_cast<char*>(text_.allocate(name.size(), 1));
  std::memcpy(text, name.data(), name.size());
  const Entry& entry = entries_.emplace_back(Entry{{text, name.size()}, attributes});
  if (attributes.type == FileType::directory) directories_.insert(entry.name);
  if (table_) table_->emplace(entry.name, &entry);
  return true;
}

const WrittenNames::Attributes* WrittenNames::find(std::string_view name) {
  if (!table_) make_table();
  const auto found = table_->find(name);
  return found == table_->end() ? nullptr : &found->second->attributes;
}

void WrittenNames::make_table() {
  table_.emplace();
  table_->reserve(entries_.size());
  for (const Entry& entry : entries_) table_->emplace(entry.name, &entry);
}

}  // namespace imgbuild::oci
