#include "builder/secret_scan.h"

#include <algorithm>
#include <array>

#include "base/secret_bytes.h"
#include "base/strings.h"
#include "oci/registry_auth.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kWindow = 64;
constexpr std::size_t kShortestLine = 8;    // SEC-7
constexpr std::size_t kShownAtLineEnd = 8;  // characters that may be the beginning of base64
constexpr std::string_view kLineEnds = "\r\n";

std::string_view without_line_ends(std::string_view text) {
  while (!text.empty() && kLineEnds.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return text;
}

/// The 64 bytes with most different values in the middle half: a key's body and not its first or last lines,
/// which all keys share.
std::string_view window_of(std::string_view value) {
  if (value.size() <= kWindow) return value;
  std::array<unsigned, 256> counts{};
  std::size_t distinct = 0, best = 0, best_distinct = 0;
  const std::size_t places = value.size() - kWindow;
  const auto middle = static_cast<std::ptrdiff_t>(places / 2);
  const auto distance = [&](std::size_t at) { return std::abs(static_cast<std::ptrdiff_t>(at) - middle); };
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (counts[static_cast<unsigned char>(value[i])]++ == 0) ++distinct;
    if (i >= kWindow && --counts[static_cast<unsigned char>(value[i - kWindow])] == 0) --distinct;
    if (i + 1 < kWindow) continue;
    const std::size_t at = i + 1 - kWindow;
    if (at < places / 4 || at > places - places / 4) continue;
    if (distinct < best_distinct || (distinct == best_distinct && distance(at) >= distance(best))) continue;
    best = at;
    best_distinct = distinct;
  }
  return value.substr(best, kWindow);
}

/// The characters that `bytes` have in the base64 of whatever they are in the middle of: three ways, by what
/// number of bytes stands before, and two alphabets.
std::vector<std::string> encoded_forms(std::string_view bytes) {
  std::vector<std::string> forms;
  for (std::size_t before = 0; before < 3; ++before) {
    const std::string whole = oci::base64_encode(cat(std::string(before, '\0'), bytes));
    const std::size_t first = (8 * before + 5) / 6;
    const std::size_t end = 8 * (before + bytes.size()) / 6;
    std::string form = whole.substr(first, end - first);
    std::string url = form;
    std::replace(url.begin(), url.end(), '+', '-');
    std::replace(url.begin(), url.end(), '/', '_');
    if (url != form) forms.push_back(std::move(url));
    forms.push_back(std::move(form));
  }
  return forms;
}

void append(std::vector<std::string>& to, std::vector<std::string> more) {
  std::move(more.begin(), more.end(), std::back_inserter(to));
}

struct MaskLists {
  std::vector<std::string> plain, encoded;
};

MaskLists mask_lists(const std::vector<NamedSecret>& secrets) {
  MaskLists out;
  for (const auto& secret : secrets) {
    const std::string_view value = without_line_ends(secret.value);
    if (value.size() < kShortestSecret) continue;
    out.plain.emplace_back(value);
    append(out.encoded, encoded_forms(value));
    if (value.find('\n') == std::string_view::npos) continue;
    for (const auto line : split(value, '\n')) {
      const std::string_view text = without_line_ends(line);
      if (text.size() >= kShortestLine) out.plain.emplace_back(text);
    }
  }
  return out;
}

}  // namespace

SecretPatterns::SecretPatterns(const std::vector<NamedSecret>& secrets)
    : SecretPatterns(
          [&] {
            Lists lists;
            for (const auto& secret : secrets) {
              const std::string_view value = without_line_ends(secret.value);
              if (value.size() < kShortestSecret) continue;
              const std::string_view window = window_of(value);
              lists.plain.emplace_back(window);
              append(lists.encoded, encoded_forms(window));
              lists.plain_owners.resize(lists.plain.size(), secret.id);
              lists.encoded_owners.resize(lists.encoded.size(), secret.id);
            }
            return lists;
          }(),
          Made{}) {}

SecretPatterns::SecretPatterns(Lists lists, Made)
    : plain_(lists.plain),
      encoded_(lists.encoded, kLineEnds),
      plain_owners_(std::move(lists.plain_owners)),
      encoded_owners_(std::move(lists.encoded_owners)) {
  for (auto* list : {&lists.plain, &lists.encoded})
    for (auto& text : *list) wipe(text);
}

const std::string* SecretScanner::scan(std::string_view bytes) {
  if (const auto found = patterns_.plain_.find(plain_, bytes); found != ByteFinder::kNone)
    return &patterns_.plain_owners_[found];
  if (const auto found = patterns_.encoded_.find(encoded_, bytes); found != ByteFinder::kNone)
    return &patterns_.encoded_owners_[found];
  return nullptr;
}

MaskPatterns::MaskPatterns(const std::vector<NamedSecret>& secrets)
    : plain_(mask_lists(secrets).plain), encoded_(mask_lists(secrets).encoded, kLineEnds) {}

std::string SecretMask::filter(std::string_view bytes) {
  if (patterns_.empty()) return std::string(bytes);
  for (const char byte : bytes) take(byte);
  const std::size_t open = patterns_.encoded_.depth(encoded_);
  if (significant_.size() > open)
    significant_.erase(significant_.begin(), significant_.end() - static_cast<std::ptrdiff_t>(open));
  const bool shown_at_once =
      significant_.empty() || (bytes.ends_with('\n') && significant_.size() < kShownAtLineEnd);
  const std::uint64_t encoded_bytes = shown_at_once ? 0 : position_ - significant_.front();
  const std::uint64_t keep = std::max<std::uint64_t>(patterns_.plain_.depth(plain_), encoded_bytes);
  return release(held_.size() - static_cast<std::size_t>(std::min<std::uint64_t>(keep, held_.size())));
}

void SecretMask::take(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  held_ += byte;
  covered_.push_back(false);
  ++position_;
  plain_ = patterns_.plain_.next(plain_, value);
  if (const auto found = patterns_.plain_.match(plain_); found != ByteMatcher::kNone)
    cover(position_ - patterns_.plain_.length(found));
  if (patterns_.encoded_.ignores(value)) return;
  encoded_ = patterns_.encoded_.next(encoded_, value);
  significant_.push_back(position_ - 1);
  if (const auto found = patterns_.encoded_.match(encoded_); found != ByteMatcher::kNone)
    cover(significant_[significant_.size() - patterns_.encoded_.length(found)]);
}

void SecretMask::cover(std::uint64_t from) {
  const std::uint64_t first_held = position_ - held_.size();
  for (std::uint64_t at = std::max(from, first_held); at < position_; ++at)
    covered_[static_cast<std::size_t>(at - first_held)] = true;
}

std::string SecretMask::release(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    if (!covered_[i]) out += held_[i];
    if (covered_[i] && !in_cover_) out += "***";
    in_cover_ = covered_[i];
  }
  held_.erase(0, count);
  covered_.erase(covered_.begin(), covered_.begin() + static_cast<std::ptrdiff_t>(count));
  return out;
}

std::string SecretMask::finish() { return release(held_.size()); }

}  // namespace imgbuild::builder
