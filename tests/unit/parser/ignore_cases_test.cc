// Every case and tree of testdata/cases/dockerignore.json.
#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "parser/ignore_file.h"
#include "tests/support/test_data.h"

using namespace imgbuild;
using namespace imgbuild::parser;
using nlohmann::json;

namespace {

IgnoreMatcher matcher_of(const json& test) {
  return IgnoreMatcher::parse(
      std::make_shared<const SourceText>(".dockerignore", test["ignorefile"].get<std::string>()));
}

struct Node {
  bool directory = false;
  std::string link;
};
using Tree = std::map<std::string, Node>;

void add_parents(Tree& tree, const std::string& path) {
  for (auto at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    tree[path.substr(0, at)].directory = true;
  }
}

Tree build_tree(const json& entries) {
  Tree tree;
  for (std::string entry : entries) {
    Node node;
    if (const auto arrow = entry.find(" -> "); arrow != std::string::npos) {
      node.link = entry.substr(arrow + 4);
      entry.erase(arrow);
    }
    if (entry.ends_with('/')) {
      node.directory = true;
      entry.pop_back();
    }
    add_parents(tree, entry);
    tree[entry] = node;
  }
  return tree;
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

/// What a build would send: follows the wanted paths through links (relative, at the top of the tree, as the
/// cases have them) and keeps what they name with everything below.
std::set<std::string> wanted_paths(const Tree& tree, const json& follow) {
  std::set<std::string> wanted;
  for (std::string pattern : follow) {
    const std::string first = pattern.substr(0, pattern.find('/'));
    if (const auto link = tree.find(first); link != tree.end() && !link->second.link.empty()) {
      wanted.insert(first);
      pattern.replace(0, first.size(), link->second.link);
    }
    for (const auto& [path, node] : tree) {
      if (match_path(pattern, path)) wanted.insert(path);
    }
  }
  return wanted;
}

bool is_wanted(const std::set<std::string>& wanted, std::string path) {
  for (; !path.empty(); path = parent_of(path)) {
    if (wanted.contains(path)) return true;
  }
  return false;
}

/// Walks as a build context does: states go down, directories without kept content are skipped unseen, and an
/// ignored directory comes along when something below it is kept (IGN-17).
class Walk {
 public:
  Walk(const Tree& tree, const IgnoreMatcher& matcher) : tree_(tree), matcher_(matcher) {}

  void run(const std::string& directory, const IgnoreMatcher::State& state,
           const std::set<std::string>* wanted) {
    for (const auto& [path, node] : tree_) {
      if (parent_of(path) != directory) continue;
      const IgnoreMatcher::State own = matcher_.enter(state, path);
      CHECK(own.ignored() == matcher_.ignores(path));
      if (!own.ignored() && (!wanted || is_wanted(*wanted, path))) keep(path);
      if (!node.directory) continue;
      if (matcher_.may_hold_kept(own, path)) {
        run(path, own, wanted);
      } else {
        skipped_.push_back(path);
      }
    }
  }

  json kept() const {
    json out = json::array();
    for (const auto& path : kept_) out.push_back(tree_.at(path).directory ? path + "/" : path);
    return out;
  }
  const std::vector<std::string>& skipped() const { return skipped_; }

 private:
  void keep(std::string path) {
    for (; !path.empty(); path = parent_of(path)) kept_.insert(path);
  }
  const Tree& tree_;
  const IgnoreMatcher& matcher_;
  std::set<std::string> kept_;
  std::vector<std::string> skipped_;
};

}  // namespace

TEST_CASE("every ignore file case reads and decides as listed") {
  int run = 0;
  const json cases = json::parse(tests::read_test_data("cases/dockerignore.json"))["cases"];
  for (const auto& test : cases) {
    const std::string id = test["id"];
    CAPTURE(id);
    ++run;
    if (test.contains("error")) {
      CHECK_THROWS_WITH_AS(matcher_of(test), doctest::Contains(test["error"].get<std::string>().c_str()),
                           SyntaxError);
      continue;
    }
    const IgnoreMatcher matcher = matcher_of(test);
    json patterns = json::array();
    for (const auto& pattern : matcher.patterns())
      patterns.push_back((pattern.negated ? "!" : "") + pattern.text);
    CHECK(patterns == test["patterns"]);
    for (const auto& path : test["paths"]) {
      CAPTURE(path.dump());
      CHECK(matcher.ignores(path["path"].get<std::string>()) == path["ignored"].get<bool>());
    }
  }
  CHECK(run == 114);
}

TEST_CASE("a walk over every tree of the ignore cases finds exactly the listed entries") {
  int run = 0;
  const json trees = json::parse(tests::read_test_data("cases/dockerignore.json"))["trees"];
  for (const auto& test : trees) {
    const std::string id = test["id"];
    CAPTURE(id);
    ++run;
    const Tree tree = build_tree(test["tree"]);
    const IgnoreMatcher matcher = matcher_of(test);
    Walk walk(tree, matcher);
    if (test.contains("follow")) {
      const auto wanted = wanted_paths(tree, test["follow"]);
      walk.run("", IgnoreMatcher::State(), &wanted);
    } else {
      walk.run("", IgnoreMatcher::State(), nullptr);
    }
    CHECK_MESSAGE(walk.kept() == test["context"], id << " kept " << walk.kept().dump());
    // Nothing that was skipped unseen would have been kept.
    for (const auto& [path, node] : tree) {
      for (const auto& directory : walk.skipped()) {
        if (path.starts_with(directory + "/")) CHECK(matcher.ignores(path));
      }
    }
  }
  CHECK(run == 26);
}
