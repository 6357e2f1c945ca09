#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "oci/registry_auth.h"

namespace imgbuild::oci {

namespace {

bool is_token_char(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kMarks.find(c) != std::string_view::npos;
}

/// Reads the grammar of RFC 9110, 11.6.1, where a comma separates both parameters and challenges.
class ChallengeReader {
 public:
  explicit ChallengeReader(std::string_view text) : text_(text) {}

  void read(std::vector<Challenge>& out) {
    while (true) {
      skip(" \t,");
      const std::string word = token();
      if (word.empty()) return;
      skip(" \t");
      if (peek() == '=' && !is_padding()) {
        if (!started_) return;
        ++at_;
        skip(" \t");
        auto value = parameter_value();
        if (!value) return;
        out.back().parameters.emplace(to_lower(word), std::move(*value));
      } else {
        out.push_back({to_lower(word), {}});
        started_ = true;
        skip_token68();
      }
    }
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip(std::string_view set) {
    while (at_ < text_.size() && set.find(text_[at_]) != std::string_view::npos) ++at_;
  }
  std::string token() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_token_char(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  bool is_padding() const {
    const auto next = text_.find_first_not_of("= \t", at_);
    return next == std::string_view::npos || text_[next] == ',';
  }
  /// `Negotiate dG9rZW4=`: nothing we use.
  void skip_token68() {
    const auto end = std::min(text_.find(',', at_), text_.size());
    const std::string_view rest = trim(text_.substr(at_, end - at_));
    if (rest.find_first_of(" \"") == std::string_view::npos && rest.find('=') >= rest.find_last_not_of('=')) {
      at_ = end;
    }
  }
  std::optional<std::string> parameter_value() {
    if (peek() != '"') return token();
    ++at_;
    std::string value;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      value += text_[at_++];
    }
    if (peek() != '"') return std::nullopt;
    ++at_;
    return value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool started_ = false;
};

}  // namespace

std::vector<Challenge> parse_challenges(const std::vector<std::string>& header_values) {
  std::vector<Challenge> out;
  for (const std::string& value : header_values) ChallengeReader(value).read(out);
  return out;
}

std::string percent_encode(std::string_view text, std::string_view keep) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || keep.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += cat("%", to_upper(to_hex(std::string_view(&c, 1))));
    }
  }
  return out;
}

std::string base64_encode(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t word = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t i = 0; i < 3; ++i) {
      word = word << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) out += i <= count ? kDigits[word >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

}  // namespace imgbuild::oci
