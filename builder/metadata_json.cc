#include "builder/metadata_json.h"

#include <string_view>

namespace imgbuild::builder {

namespace {

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j)
      bits = (bits << 8) | (j < group.size() ? static_cast<unsigned char>(group[j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) out += j <= group.size() ? kDigits[(bits >> (18 - 6 * j)) & 63] : '=';
  }
  return out;
}

}  // namespace

nlohmann::ordered_json location_json(const SourceRange& where) {
  nlohmann::ordered_json ranges = nlohmann::ordered_json::array();
  if (where.first_line > 0) {
    ranges.push_back({{"start", {{"line", where.first_line}}}, {"end", {{"line", where.last_line}}}});
  }
  return {{"sourceIndex", 0}, {"ranges", ranges}};
}

nlohmann::ordered_json sources_json(const std::shared_ptr<const SourceText>& source) {
  nlohmann::ordered_json entry = {
      {"filename", source->name()}, {"language", "Dockerfile"}, {"data", base64(source->text())}};
  return nlohmann::ordered_json::array({entry});
}

std::string document_text(const nlohmann::ordered_json& document) {
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace imgbuild::builder
