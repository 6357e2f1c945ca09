#include "cache/key_difference.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "base/strings.h"

namespace imgbuild::cache {

namespace {

constexpr std::size_t kShown = 72;   // bytes of a value in a line
constexpr std::size_t kLeadIn = 16;  // of them before the first difference

using Values = std::vector<std::string>;

bool is_digest(std::string_view value) { return value.size() == 71 && value.starts_with("sha256:"); }

/// `value` for people; a long one is cut to the part that begins shortly before `difference`.
std::string shown(std::string_view value, std::size_t difference) {
  if (is_digest(value)) return std::string(value.substr(0, 19));
  if (value.size() <= kShown) return cat("\"", printable(value), "\"");
  const std::size_t from = difference > kLeadIn ? std::min(difference - kLeadIn, value.size() - kShown) : 0;
  const std::string_view part = value.substr(from, kShown);
  return cat("\"", from > 0 ? "…" : "", printable(part), from + part.size() < value.size() ? "…" : "", "\"");
}

/// Takes from both lists what they have in common, each value as often as it is in both.
void drop_common(Values& before, Values& now) {
  std::map<std::string, std::size_t> spare;
  for (const auto& value : before) ++spare[value];
  Values only_now;
  for (auto& value : now) {
    const auto found = spare.find(value);
    if (found != spare.end() && found->second > 0)
      --found->second;
    else
      only_now.push_back(std::move(value));
  }
  Values only_before;
  for (auto value = before.rbegin(); value != before.rend(); ++value) {
    auto& left = spare[*value];
    if (left == 0) continue;
    --left;
    only_before.push_back(std::move(*value));
  }
  before.assign(std::make_move_iterator(only_before.rbegin()), std::make_move_iterator(only_before.rend()));
  now = std::move(only_now);
}

void compare_label(const std::string& label, Values before, Values now, std::vector<KeyChange>& changes) {
  using Kind = KeyChange::Kind;
  if (before == now) return;
  drop_common(before, now);
  if (before.empty() && now.empty()) {
    changes.push_back({Kind::reordered, label, {}, {}});
    return;
  }
  const std::size_t pairs = std::min(before.size(), now.size());
  for (std::size_t i = 0; i < pairs; ++i)
    changes.push_back({Kind::changed, label, std::move(before[i]), std::move(now[i])});
  for (std::size_t i = pairs; i < now.size(); ++i)
    changes.push_back({Kind::added, label, {}, std::move(now[i])});
  for (std::size_t i = pairs; i < before.size(); ++i)
    changes.push_back({Kind::removed, label, std::move(before[i]), {}});
}

}  // namespace

std::vector<KeyChange> find_changes(const std::vector<KeyField>& before, const std::vector<KeyField>& now) {
  std::vector<std::string> labels;
  std::map<std::string, std::pair<Values, Values>> by_label;
  const auto label_entry = [&](const std::string& label) -> std::pair<Values, Values>& {
    const auto [entry, fresh] = by_label.try_emplace(label);
    if (fresh) labels.push_back(label);
    return entry->second;
  };
  for (const KeyField& field : now) label_entry(field.label).second.push_back(field.value);
  for (const KeyField& field : before) label_entry(field.label).first.push_back(field.value);

  std::vector<KeyChange> changes;
  for (const std::string& label : labels) {
    auto& [old_values, new_values] = by_label.at(label);
    compare_label(label, std::move(old_values), std::move(new_values), changes);
  }
  if (changes.empty() && before != now) changes.push_back({KeyChange::Kind::reordered, {}, {}, {}});
  return changes;
}

std::string describe_values(const KeyChange& change) {
  switch (change.kind) {
    case KeyChange::Kind::added:
      return cat("new, ", shown(change.after, 0));
    case KeyChange::Kind::removed:
      return cat("gone, was ", shown(change.before, 0));
    case KeyChange::Kind::reordered:
      return "the same values in another order";
    case KeyChange::Kind::changed:
      break;
  }
  const auto differ =
      std::mismatch(change.before.begin(), change.before.end(), change.after.begin(), change.after.end());
  const auto at = static_cast<std::size_t>(differ.first - change.before.begin());
  return cat(shown(change.before, at), " became ", shown(change.after, at));
}

std::string describe(const KeyChange& change) {
  if (change.label.empty()) return "the same fields in another order";
  return cat(printable(change.label), ": ", describe_values(change));
}

}  // namespace imgbuild::cache
