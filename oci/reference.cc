#include "oci/reference.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alnum(char c) { return is_lower_or_digit(c) || is_upper(c); }
bool is_lower_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

class Parser {
 public:
  explicit Parser(std::string_view text) : whole_(text), rest_(text) {}

  [[noreturn]] void fail(std::string_view why) const {
    throw Error(cat("invalid image reference \"", printable(whole_.substr(0, 300)), "\": ", why),
                ExitCode::usage);
  }

  std::optional<Digest> take_digest() {
    const auto at = rest_.find('@');
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view text = rest_.substr(at + 1);
    rest_ = rest_.substr(0, at);
    try {
      return Digest::parse(text);
    } catch (const Error& error) {
      fail(error.message());
    }
  }

  std::optional<std::string> take_tag() {
    const auto colon = rest_.rfind(':');
    if (colon == std::string_view::npos || rest_.find('/', colon) != std::string_view::npos)
      return std::nullopt;
    const std::string_view tag = rest_.substr(colon + 1);
    const bool good_start = !tag.empty() && (is_alnum(tag[0]) || tag[0] == '_');
    const bool good = std::all_of(tag.begin(), tag.end(),
                                  [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
    if (!good_start || !good) fail("the tag may hold letters, digits, \"_\", \".\" and \"-\"");
    if (tag.size() > 128) fail("the tag is longer than 128 characters");
    rest_ = rest_.substr(0, colon);
    return std::string(tag);
  }

  std::string take_registry() {
    const auto slash = rest_.find('/');
    if (slash == std::string_view::npos) return "docker.io";
    const std::string_view first = rest_.substr(0, slash);
    const bool is_domain = first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
                           std::any_of(first.begin(), first.end(), is_upper);
    if (!is_domain) return "docker.io";
    check_domain(first);
    rest_ = rest_.substr(slash + 1);
    return first == "index.docker.io" ? "docker.io" : std::string(first);
  }

  std::string take_repository() {
    if (rest_.empty()) fail("the repository name is empty");
    if (rest_.size() > 255) fail("the repository name is longer than 255 characters");
    if (std::any_of(rest_.begin(), rest_.end(), is_upper)) {
      fail(cat("the repository name must be lowercase: \"", to_lower(rest_), "\""));
    }
    for (const auto component : split(rest_, '/')) check_component(component);
    return std::string(rest_);
  }

 private:
  void check_domain(std::string_view domain) const {
    std::string_view host = domain;
    if (host.starts_with('[')) {
      const auto close = host.find(']');
      if (close == std::string_view::npos) fail("the address has no closing bracket");
      if (close == 1) fail("the brackets hold no address");
      for (const char c : host.substr(1, close - 1)) {
        if (!is_lower_hex(c) && !(c >= 'A' && c <= 'F') && c != ':')
          fail("a bracketed address holds hex digits and colons");
      }
      check_port(host.substr(close + 1));
      return;
    }
    const auto colon = host.find(':');
    if (colon != std::string_view::npos) check_port(host.substr(colon));
    for (const auto label : split(host.substr(0, colon), '.')) {
      const bool good =
          !label.empty() && is_alnum(label.front()) && is_alnum(label.back()) &&
          std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; });
      if (!good) fail("the registry is no host name");
    }
  }

  void check_port(std::string_view text) const {
    if (text.empty()) return;
    const auto port = parse_decimal(text.substr(1));
    if (text[0] != ':' || !port || *port == 0 || *port > 65535)
      fail("the registry's port is no number from 1 to 65535");
  }

  /// `[a-z0-9]+` runs joined by one ".", one or two "_", or any number of "-".
  void check_component(std::string_view component) const {
    const auto bad = [&] { fail("the repository name has an empty or malformed part"); };
    if (component.empty() || !is_lower_or_digit(component.front()) || !is_lower_or_digit(component.back()))
      bad();
    for (std::size_t i = 0; i < component.size();) {
      if (is_lower_or_digit(component[i])) {
        ++i;
        continue;
      }
      std::size_t run = 1;
      while (component[i + run] == component[i]) ++run;
      const char c = component[i];
      const bool good = (c == '.' && run == 1) || (c == '_' && run <= 2) || c == '-';
      if (!good || !is_lower_or_digit(component[i + run])) bad();
      i += run;
    }
  }

  std::string_view whole_;
  std::string_view rest_;
};

}  // namespace

Reference Reference::parse(std::string_view text) {
  Parser parser(text);
  if (text.empty()) parser.fail("it is empty");
  if (text.size() == 64 && std::all_of(text.begin(), text.end(), is_lower_hex))
    parser.fail("64 hex digits are an image ID, not a name");
  Reference out;
  out.digest_ = parser.take_digest();
  out.tag_ = parser.take_tag();
  out.registry_ = parser.take_registry();
  out.repository_ = parser.take_repository();
  if (out.registry_ == "docker.io" && out.repository_.find('/') == std::string::npos) {
    out.repository_.insert(0, "library/");
  }
  if (!out.tag_ && !out.digest_) out.tag_ = "latest";
  return out;
}

std::string Reference::manifest_selector() const { return digest_ ? digest_->str() : *tag_; }

std::string Reference::str() const {
  std::string out = cat(registry_, "/", repository_);
  if (tag_) out += cat(":", *tag_);
  if (digest_) out += cat("@", digest_->str());
  return out;
}

std::string Reference::familiar() const {
  std::string out = str();
  if (registry_ != "docker.io") return out;
  out.erase(0, registry_.size() + 1);
  if (out.starts_with("library/")) out.erase(0, 8);
  return out;
}

}  // namespace imgbuild::oci
