#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "parser/flags.h"
#include "parser/grammar.h"
#include "parser/heredoc.h"
#include "parser/limits.h"

namespace imgbuild::parser {

namespace {

std::vector<FlagRule> allowed_flags(bool is_add) {
  std::vector<FlagRule> rules = {
      {"chown"}, {"chmod"}, {"link", FlagKind::boolean}, {"exclude", FlagKind::repeated}};
  if (is_add) {
    rules.insert(rules.end(),
                 {{"keep-git-dir", FlagKind::boolean}, {"checksum"}, {"unpack", FlagKind::boolean}});
  } else {
    rules.insert(rules.end(), {{"from"}, {"parents", FlagKind::boolean}});
  }
  return rules;
}

void read_flags(const Flags& flags, CopyInstruction& copy) {
  copy.from = flags.text_unless_empty("from");
  copy.chown = flags.text("chown").value_or("");
  copy.chmod = flags.text("chmod").value_or("");
  copy.link = flags.boolean("link").value_or(false);
  copy.parents = flags.boolean("parents").value_or(false);
  copy.excludes = flags.all("exclude");
  copy.checksum = flags.text("checksum").value_or("");
  copy.keep_git_dir = flags.boolean("keep-git-dir");
  copy.unpack = flags.boolean("unpack");
}

/// The bodies of one instruction by delimiter. Of several with the same one the last counts (HDC-7); a marker
/// in JSON form has none and makes an empty file (HDC-9).
class Bodies {
 public:
  explicit Bodies(const std::vector<Heredoc>& heredocs) {
    for (const auto& heredoc : heredocs) by_name_[heredoc.name] = &heredoc;
  }

  /// What `marker` stands for. Throws SyntaxError when all of them together are larger than a file may be.
  std::string take(Heredoc marker) {
    const auto found = by_name_.find(marker.name);
    if (found == by_name_.end()) return {};
    marker.data = found->second->data;
    total_ += marker.data.size();
    if (total_ > kMaxDockerfileBytes) throw SyntaxError("the here-documents are larger than 16 MiB together");
    return marker.stripped();
  }

 private:
  std::map<std::string_view, const Heredoc*> by_name_;
  std::size_t total_ = 0;
};

}  // namespace

CopyInstruction parse_copy(GrammarInput& in) {
  const bool is_add = in.statement.keyword == Keyword::add;
  const std::string_view name = is_add ? "ADD" : "COPY";
  CopyInstruction copy;
  copy.is_add = is_add;
  read_flags(Flags(in.statement.flags, allowed_flags(is_add)), copy);

  std::vector<std::string> words = in.statement.json ? *in.statement.json : split_words(in.statement.rest);
  if (words.size() < 2) {
    throw SyntaxError(
        cat(name,
            " requires at least two arguments, but only one was provided. Destination could not be "
            "determined"));
  }
  copy.destination = std::move(words.back());
  words.pop_back();
  if (parse_heredoc_marker(copy.destination)) {
    throw SyntaxError(cat(name, " cannot accept a heredoc as a destination"));
  }
  Bodies bodies(in.heredocs);
  for (auto& word : words) {
    if (const auto marker = parse_heredoc_marker(word)) {
      copy.inline_sources.push_back({marker->name, bodies.take(*marker), marker->expand});
    } else {
      copy.sources.push_back(std::move(word));
    }
  }
  if (!in.statement.json && copy.inline_sources.size() != in.heredocs.size()) {
    // The shell sees a marker with blanks in it, but COPY splits its arguments at blanks.
    throw SyntaxError(cat(name, " cannot accept a heredoc whose delimiter holds blanks"));
  }
  return copy;
}

}  // namespace imgbuild::parser
