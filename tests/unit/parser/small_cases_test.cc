// Every case of word-expansion.json, chmod.json and gitref.json.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "parser/file_mode.h"
#include "parser/git_reference.h"
#include "parser/words.h"
#include "tests/support/test_data.h"

using namespace imgbuild;
using namespace imgbuild::parser;
using nlohmann::json;

namespace {

json load_cases(const char* name) {
  return json::parse(tests::read_test_data(std::string("cases/") + name))["cases"];
}

/// The reason at the end of `failed to process "WORD": REASON`. Control characters do not reach our messages.
std::string reason_of(const std::string& message, const std::string& word) {
  const auto at = message.find("\": ", std::min(message.size(), word.size()));
  return at == std::string::npos ? message : message.substr(at + 3);
}

struct Expanded {
  json result;
  std::set<std::string> unset;
};

Expanded expand_case(const json& test) {
  const VariableLookup lookup = [&](std::string_view name) -> std::optional<std::string_view> {
    const auto found = test["env"].find(std::string(name));
    if (found == test["env"].end()) return std::nullopt;
    return found->get_ref<const std::string&>();
  };
  const std::string word = test["word"];
  const char escape = test.value("escape", "\\")[0];
  if (test["mode"] == "words") {
    auto expansion = expand_words(word, lookup, escape);
    return {expansion.words, std::move(expansion.unset)};
  }
  auto expansion =
      test["mode"] == "heredoc" ? expand_heredoc(word, lookup) : expand_word(word, lookup, escape);
  return {expansion.text, std::move(expansion.unset)};
}

/// The character an "unsupported modifier" error names may be the end of the word or a line feed, which the
/// reference prints raw.
bool same_reason(const std::string& ours, std::string theirs) {
  if (ours.find(theirs) != std::string::npos) return true;
  return theirs.starts_with("unsupported modifier") && ours.starts_with("unsupported modifier") &&
         (theirs.find("\xEF\xBF\xBD") != std::string::npos || theirs.find('\n') != std::string::npos);
}

json git_json(const GitReference& git) {
  json out = {{"remote", git.remote}};
  const auto put = [&out](const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  };
  put("ref", git.ref);
  put("subdir", git.subdir);
  put("checksum", git.checksum);
  put("mtime", git.mtime);
  if (git.keep_git_dir) out["keepGitDir"] = *git.keep_git_dir;
  if (git.submodules) out["submodules"] = *git.submodules;
  if (git.fetch_by_commit) out["fetchByCommit"] = true;
  if (git.context_only) out["contextOnly"] = true;
  if (git.unencrypted) out["unencrypted"] = true;
  return out;
}

}  // namespace

TEST_CASE("every word of the expansion cases expands as listed") {
  int run = 0;
  for (const auto& test : load_cases("word-expansion.json")) {
    const std::string id = test["id"];
    CAPTURE(id);
    ++run;
    try {
      const Expanded expanded = expand_case(test);
      CHECK_MESSAGE(!test.contains("error"), id << " should fail");
      if (test.contains("error")) continue;
      CHECK_MESSAGE(expanded.result == test[test["mode"] == "words" ? "words" : "result"],
                    id << " " << expanded.result.dump());
      // The splitting cases list no unset names: EXPOSE does not report them.
      if (test["mode"] != "words") CHECK(json(expanded.unset) == test.value("unset", json::array()));
    } catch (const SyntaxError& error) {
      CHECK_MESSAGE(test.contains("error"), id << " should expand, but: " << error.message());
      if (!test.contains("error")) continue;
      const std::string word = test["word"];
      CHECK(error.message().starts_with("failed to process \""));
      const std::string ours = reason_of(error.message(), word);
      const std::string theirs = reason_of(test["error"], word);
      CHECK_MESSAGE(same_reason(ours, theirs), id << " says: " << ours << " instead of: " << theirs);
    }
  }
  CHECK(run == 298);
}

TEST_CASE("every file mode of the chmod cases applies as listed") {
  int run = 0;
  for (const auto& test : load_cases("chmod.json")) {
    const std::string id = test["id"];
    CAPTURE(id);
    ++run;
    const auto initial =
        static_cast<std::uint32_t>(std::stoul(test["initial"].get<std::string>(), nullptr, 8));
    const std::string text = test["chmod"];
    if (test.contains("error")) {
      CHECK_THROWS_WITH_AS(FileModeChange::parse(text),
                           doctest::Contains(test["error"].get<std::string>().c_str()), SyntaxError);
      continue;
    }
    const auto expected =
        static_cast<std::uint32_t>(std::stoul(test["result"].get<std::string>(), nullptr, 8));
    CHECK(FileModeChange::parse(text).apply(initial, test.value("dir", false)) == expected);
  }
  CHECK(run == 168);
}

TEST_CASE("every git reference case is recognised and read as listed") {
  int run = 0;
  for (const auto& test : load_cases("gitref.json")) {
    const std::string id = test["id"];
    CAPTURE(id);
    ++run;
    const std::string ref = test["ref"];
    if (test.contains("error")) {
      CHECK_THROWS_WITH_AS(parse_git_reference(ref),
                           doctest::Contains(test["error"].get<std::string>().c_str()), SyntaxError);
      continue;
    }
    const auto git = parse_git_reference(ref);
    CHECK(git.has_value() == test["isGit"].get<bool>());
    if (git) CHECK(git_json(*git) == test["parsed"]);
  }
  CHECK(run == 90);
}
