#include "builder/git_source.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "builder/remote_sources.h"
#include "tests/support/remote_fixture.h"
#include "tests/support/test_data.h"

namespace imgbuild::builder {

namespace {

class NoMemo final : public cache::StatMemo {
 public:
  std::optional<Digest> find(const cache::FileIdentity&) const override { return std::nullopt; }
  void remember(const cache::FileIdentity&, const Digest&, const Timestamp&) override {}
  void save() override {}
};

struct Sources {
  tests::RemoteFixture fixture;
  oci::HttpClient http{{}};
  NoMemo memo;
  UniqueFd directory = open_path(fixture.directory(), O_RDONLY | O_DIRECTORY);
  StoreDir store{directory.get()};

  /// A fresh one: each answers the same request once.
  RemoteFetcher fetcher() {
    return {http, memo, nullptr, {}, {.store_path = fixture.directory(), .store = store}};
  }
  RemoteResult fetch(const std::string& source, const std::string& checksum = {},
                     std::optional<bool> keep = {}) {
    return fetcher().fetch({.source = fixture.url() + source,
                            .checksum = checksum,
                            .keep_git_dir = keep,
                            .build_time = {1234, 0}},
                           {}, {});
  }
  std::string error_of(const std::string& source, const std::string& checksum = {}) {
    try {
      (void)fetch(source, checksum);
    } catch (const Error& error) {
      return error.message();
    }
    return {};
  }
};

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// "path mode content|-> target" of everything in a tree.
void list_all(SourceTree& tree, const std::string& path, std::vector<std::string>& out) {
  for (const auto& [name, node] : tree.list(path)) {
    const std::string full = path.empty() ? name : cat(path, "/", name);
    const auto& attributes = node.attributes;
    if (attributes.type == oci::FileType::directory) {
      out.push_back(cat(full, "/ ", attributes.mode));
      list_all(tree, full, out);
    } else if (attributes.type == oci::FileType::symlink) {
      out.push_back(cat(full, " -> ", attributes.link_target));
    } else {
      const auto source = tree.open(full)();
      out.push_back(cat(full, " ", attributes.mode, " ", read_all(*source, 1 << 20, full)));
    }
    CHECK(attributes.uid == 0);
    if (attributes.type == oci::FileType::regular) CHECK(attributes.mtime.seconds == 1234);
  }
}

std::vector<std::string> files_of(const RemoteResult& result) {
  std::vector<std::string> out;
  list_all(*result.tree, result.is_git ? "" : "", out);
  return out;
}

}  // namespace

TEST_CASE("the git cases of the specification are fetched as it says") {
  Sources sources;
  if (!sources.fixture.has_git()) {
    std::puts("SKIPPED: git is not installed");
    return;
  }
  const auto cases = nlohmann::json::parse(tests::read_test_data("cases/remote.json")).at("cases");
  int run = 0;
  for (const auto& one : cases) {
    const std::string id = one.at("id").get<std::string>();
    std::string line = one.at("dockerfile").get<std::string>().substr(std::string("FROM scratch\n").size());
    line = line.substr(0, line.find('\n'));
    const auto words = split(line, ' ');
    if (words.front() != "ADD" || line.find(".git") == std::string::npos) continue;
    std::string checksum;
    std::optional<bool> keep;
    std::string source;
    bool changed = false;  // flags that are the copy's business
    for (std::size_t i = 1; i + 1 < words.size(); ++i) {
      const std::string word(words[i]);
      if (word.starts_with("--checksum="))
        checksum = word.substr(11);
      else if (word.starts_with("--keep-git-dir="))
        keep = word.ends_with("true");
      else if (word.starts_with("--"))
        changed = true;
      else
        source = word.substr(1);
    }
    CAPTURE(id);
    ++run;
    if (one.contains("error")) {
      std::string message;
      try {
        (void)sources.fetch(source, checksum, keep);
      } catch (const Error& error) {
        message = error.message();
      }
      std::string wanted = one.at("error").get<std::string>();
      wanted = wanted.substr(std::string("failed to solve: ").size());
      wanted = replace_all(wanted, "failed to load cache key: ", "");
      wanted = replace_all(wanted, "@", sources.fixture.url());
      for (const char* tail : {", output:", ": git stderr", ": failed to lstat"}) {
        wanted = wanted.substr(0, wanted.find(tail));
      }
      CHECK(message.find(wanted) != std::string::npos);
      INFO(message);
      continue;
    }
    std::vector<std::string> expected;
    for (const auto& entry : one.at("rootfs")) {
      const std::string path = entry.at("path").get<std::string>();
      if (path == "/o") continue;
      const std::string type = entry.at("type").get<std::string>();
      const auto mode = type == "symlink" ? 0 : std::stoul(entry.at("mode").get<std::string>(), nullptr, 8);
      const std::string name = path.substr(3);
      if (type == "dir")
        expected.push_back(cat(name, "/ ", mode));
      else if (type == "symlink")
        expected.push_back(cat(name, " -> ", entry.at("target").get<std::string>()));
      else
        expected.push_back(cat(name, " ", mode, " ", entry.at("content").get<std::string>()));
    }
    const RemoteResult result = sources.fetch(source, checksum, keep);
    CHECK(result.is_git);
    CHECK(result.path.empty());
    if (!changed) CHECK(files_of(result) == expected);
  }
  CHECK(run == 24);
}

TEST_CASE("the git directory stays only when it is asked for") {
  Sources sources;
  if (!sources.fixture.has_git()) return;
  CHECK(!sources.fetch("/git/repo.git").tree->find(".git"));
  CHECK(sources.fetch("/git/repo.git", "", true).tree->find(".git/HEAD"));
  CHECK(sources.fetch("/git/repo.git?keep-git-dir=1").tree->find(".git/HEAD"));
}

TEST_CASE("commit and key are those of the content, whichever way it is named") {
  Sources sources;
  if (!sources.fixture.has_git()) return;
  const RemoteResult by_branch = sources.fetch("/git/repo.git#dev");
  CHECK(by_branch.commit == "186848e1f576d9bde9f86e2f44cf337184e8411d");
  CHECK(by_branch.commit_time == 1262401445);
  CHECK(by_branch.key == sources.fetch("/git/repo.git#186848e1f576d9bde9f86e2f44cf337184e8411d").key);
  CHECK(by_branch.key != sources.fetch("/git/repo.git#main").key);
  CHECK(by_branch.key != sources.fetch("/git/repo.git#dev:d").key);
}

TEST_CASE("a subdirectory that leads through a link is refused") {
  Sources sources;
  if (!sources.fixture.has_git()) return;
  REQUIRE(sources.fixture.shell(R"(
cd work; git checkout -q -b evil main; ln -s /etc out; ln -s d inner; git add -A
git -c user.name=n -c user.email=a@b commit -q -m evil
git push -q ../git/repo.git evil; cd ../git/repo.git; git update-server-info
)"));
  for (const char* subdir : {"out", "inner", "inner/s", "README", "link"}) {
    CAPTURE(subdir);
    CHECK(sources.error_of(cat("/git/repo.git#evil:", subdir)).find("invalid subdir") != std::string::npos);
  }
  // `..` cannot leave either: the reference is cleaned, so this is the whole repository.
  CHECK(sources.fetch("/git/repo.git#evil:../..").tree->find("README"));
}

TEST_CASE("submodules are fetched, unless they are not wanted or not allowed") {
  Sources sources;
  if (!sources.fixture.has_git()) return;
  const std::string prepare = cat(R"(
cd work; git checkout -q -b with-module main
git update-index --add --cacheinfo 160000,8b00ee52e19d040ff3a9bcf169cac626642b8643,sub/mod
printf '[submodule "m"]\n\tpath = sub/mod\n\turl = URL\n' >.gitmodules; git add .gitmodules
git -c user.name=n -c user.email=a@b commit -q -m module; git push -q -f ../git/repo.git HEAD:with-module
git update-index --force-remove sub/mod; git reset -q --hard; git checkout -q main; git branch -q -D with-module
cd ../git/repo.git; git update-server-info
)");
  REQUIRE(sources.fixture.shell(replace_all(prepare, "URL", sources.fixture.url() + "/git/repo.git")));
  const RemoteResult with = sources.fetch("/git/repo.git#with-module");
  CHECK(with.tree->find("sub/mod/README"));
  CHECK(!with.tree->find("sub/mod/.git"));
  const RemoteResult without = sources.fetch("/git/repo.git?submodules=false#with-module");
  CHECK(!without.tree->find("sub/mod/README"));
  for (const std::string& bad : {sources.fixture.directory() + "/git/repo.git", std::string("file:///etc"),
                                 std::string("-uevil"), std::string("ext::sh -c false")}) {
    CAPTURE(bad);
    REQUIRE(sources.fixture.shell(replace_all(prepare, "URL", bad)));
    CHECK(!sources.error_of("/git/repo.git#with-module").empty());
  }
}

TEST_CASE("remotes and refs that could be options, helpers or local paths are refused") {
  for (const char* remote : {"", "-x", "--upload-pack=/x", "ssh://-oProxyCommand=x/y", "-oProxyCommand=x:y",
                             "git@-oProxyCommand=x:y", "ext::sh -c x", "file:///etc", "/etc", "./x",
                             "ftp://h/x.git", "https://h/a\nb.git", "https:///x.git"}) {
    CAPTURE(remote);
    CHECK_THROWS_AS(check_git_remote(remote), Error);
  }
  for (const char* remote : {"https://h/x.git", "http://127.0.0.1:80/x.git", "git@h:x/y.git",
                             "ssh://git@h:22/x", "git://h/x", "https://u:p@h/x.git"}) {
    CAPTURE(remote);
    CHECK_NOTHROW(check_git_remote(remote));
  }
  for (const char* ref : {"", "-x", "--upload-pack=x", "refs/heads/--upload-pack=x", "a..b", "a b", "a:b",
                          "a^", "a\n", "x.lock", "a@{1}", "/a", "a//b", "a/.b"}) {
    CAPTURE(ref);
    CHECK_THROWS_AS(check_git_ref(ref), Error);
  }
  for (const char* ref : {"main", "refs/tags/v1.2", "feature/x-y_z", "8b00ee52"})
    CHECK_NOTHROW(check_git_ref(ref));
}

TEST_CASE("a checkout leaves nothing behind, whether it worked or not") {
  Sources sources;
  if (!sources.fixture.has_git()) return;
  (void)sources.fetch("/git/repo.git");
  (void)sources.error_of("/git/repo.git#nope");
  CHECK(sources.fixture.shell("test -z \"$(ls | grep ^git-)\""));
}

TEST_CASE("a token for a git host is sent to that host and is on no command line") {
  Sources sources;
  if (!sources.fixture.has_git()) return;
  SecretStore secrets;
  secrets.values["GIT_AUTH_TOKEN.127.0.0.1"] = std::make_shared<Secret>("tok\n");
  (void)sources.fetcher().fetch({.source = sources.fixture.url() + "/git/repo.git"}, secrets, {});
  const auto requests = sources.fixture.server().requests();
  REQUIRE(!requests.empty());
  CHECK(requests.front().header("authorization") == "Basic eC1hY2Nlc3MtdG9rZW46dG9r");
}

}  // namespace imgbuild::builder
