#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/source_text.h"

/// Parts that the documents of all sub-requests share. Only for the .cc files that write them.
namespace imgbuild::builder {

/// `{"sourceIndex":0,"ranges":[{"start":{"line":N},"end":{"line":M}}]}`; no ranges for the whole file.
nlohmann::ordered_json location_json(const SourceRange& where);
/// `[{"filename","language","data"}]`, data in base64.
nlohmann::ordered_json sources_json(const std::shared_ptr<const SourceText>& source);
/// Two-space indentation; bytes that are no UTF-8 are replaced, so that the document is always valid.
std::string document_text(const nlohmann::ordered_json& document);

}  // namespace imgbuild::builder
