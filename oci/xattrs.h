#pragma once

#include <cstddef>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace imgbuild::oci {

/// Extended attributes by name, in the order of their bytes. A value like the map inside, but as small as a
/// pointer while it is empty, as nearly all are: lists of files hold one for each.
class Xattrs {
 public:
  using Map = std::map<std::string, std::string>;

  Xattrs() noexcept = default;
  Xattrs(Map map) : map_(map.empty() ? nullptr : std::make_unique<Map>(std::move(map))) {}
  Xattrs(std::initializer_list<Map::value_type> list) : Xattrs(Map(list)) {}
  Xattrs(const Xattrs& other) : map_(other.map_ ? std::make_unique<Map>(*other.map_) : nullptr) {}
  Xattrs(Xattrs&&) noexcept = default;
  Xattrs& operator=(const Xattrs& other) {
    if (this != &other) map_ = other.map_ ? std::make_unique<Map>(*other.map_) : nullptr;
    return *this;
  }
  Xattrs& operator=(Xattrs&&) noexcept = default;
  ~Xattrs() = default;

  bool empty() const noexcept { return !map_; }
  std::size_t size() const noexcept { return get().size(); }
  Map::const_iterator begin() const noexcept { return get().begin(); }
  Map::const_iterator end() const noexcept { return get().end(); }
  Map::const_iterator find(const std::string& name) const { return get().find(name); }
  const std::string& at(const std::string& name) const { return get().at(name); }
  /// The last name; there must be one.
  const std::string& last_name() const { return map_->rbegin()->first; }

  /// Does nothing when there is one of that name. Best in the order of the names.
  void add(std::string_view name, std::string value) {
    if (!map_) map_ = std::make_unique<Map>();
    map_->try_emplace(map_->end(), std::string(name), std::move(value));
  }
  template <typename Predicate>
  void erase_if(const Predicate& predicate) {
    if (!map_) return;
    std::erase_if(*map_, predicate);
    if (map_->empty()) map_.reset();
  }

  friend bool operator==(const Xattrs& a, const Xattrs& b) { return a.get() == b.get(); }

 private:
  const Map& get() const noexcept {
    static const Map none;
    return map_ ? *map_ : none;
  }

  std::unique_ptr<Map> map_;  ///< never an empty one
};

}  // namespace imgbuild::oci
