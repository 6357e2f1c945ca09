#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "builder/copy_engine.h"
#include "builder/evaluate.h"
#include "builder/memory_source.h"
#include "builder/stage_source.h"
#include "parser/parser.h"
#include "tests/support/copy_requests.h"
#include "tests/support/test_data.h"
#include "tests/support/tree_fakes.h"

/// cases/copy.json: what COPY, ADD and WORKDIR make of a context, against the reference. The plan comes from
/// evaluate(), the steps are applied to trees in memory.

namespace imgbuild::builder {
namespace {

using nlohmann::json;
using tests::FakeStack;
using tests::kBuildTime;
using tests::TarSpec;

constexpr std::int64_t kSourceTime = 1000000000;
unsigned mode_of(const json& entry, unsigned otherwise) {
  return entry.contains("mode")
             ? static_cast<unsigned>(std::stoul(entry["mode"].get<std::string>(), nullptr, 8))
             : otherwise;
}

std::string decode_base64(std::string_view text) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0, count = 0;
  for (const char c : text) {
    const auto value = kDigits.find(c);
    if (value == std::string_view::npos) continue;
    bits = bits << 6 | static_cast<unsigned>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

std::string archive_of(const json& entry) {
  std::vector<TarSpec> members;
  for (const auto& item : entry["archive"]) {
    TarSpec spec;
    const std::string type = item.value("type", "file");
    spec.path = item["path"];
    spec.type = type == "fifo" ? 'p' : type[0];
    if (type == "symlink") spec.type = 's';
    spec.mode = mode_of(item, type == "dir" ? 0755 : 0644);
    spec.uid = item.value("uid", 0U);
    spec.gid = item.value("gid", 0U);
    spec.content = item.value("content", "");
    spec.target = item.value("target", "");
    members.push_back(spec);
  }
  return tests::make_archive(members, entry.value("compression", "none"));
}

void add_entry(MemorySource& tree, const json& entry) {
  const std::string type = entry.value("type", "file");
  const std::string path = entry["path"];
  oci::FileAttributes attributes;
  attributes.mode = mode_of(entry, type == "dir" ? 0755 : 0644);
  attributes.mtime = {entry.value("mtime", kSourceTime), 0};
  if (type == "dir") {
    attributes.type = oci::FileType::directory;
  } else if (type == "symlink") {
    attributes.type = oci::FileType::symlink;
    attributes.link_target = entry["target"];
  } else if (type == "fifo") {
    attributes.type = oci::FileType::fifo;
  } else if (type == "archive") {
    return tree.add_file(path, attributes, archive_of(entry));
  } else if (type == "hardlink") {
    const std::string target = entry["target"];
    const auto node = tree.find(target);
    REQUIRE(node);
    const auto bytes = tree.open(target)();
    const std::string data = read_all(*bytes, 1 << 20, target);
    const std::uint64_t group =
        node->link_group != 0 ? node->link_group : std::hash<std::string>()(target) | 1;
    tree.add_file(target, node->attributes, data, group);
    return tree.add_file(path, node->attributes, data, group);
  } else {
    REQUIRE(type == "file");
    const std::string data =
        entry.contains("b64") ? decode_base64(entry["b64"].get<std::string>()) : entry.value("content", "");
    return tree.add_file(path, attributes, data);
  }
  tree.add(path, {attributes, {}});
}

std::shared_ptr<SourceTree> make_context(const json& entries, const json* own_rules = nullptr) {
  MemorySource all;
  oci::FileAttributes root;
  root.type = oci::FileType::directory;
  root.mode = 0755;
  root.mtime = {12345, 0};
  all.add("", {root, {}});
  // Directories last: adding a child must not give them another time.
  for (const auto& entry : entries) add_entry(all, entry);
  std::string rules = own_rules == nullptr ? "" : own_rules->get<std::string>();
  if (own_rules == nullptr && all.find(".dockerignore")) {
    const auto bytes = all.open(".dockerignore")();
    rules = read_all(*bytes, 1 << 20, ".dockerignore");
  }
  return tests::without_ignored(
      all, parser::IgnoreMatcher::parse(std::make_shared<SourceText>(".dockerignore", rules)));
}

/// Named contexts of the case, and busybox with the one file that the cases take from it.
class CaseBases final : public BaseResolver {
 public:
  explicit CaseBases(const json& test) {
    if (!test.contains("namedContexts")) return;
    for (const auto& [name, entries] : test["namedContexts"].items()) contexts.emplace(name, entries);
  }
  std::optional<ResolvedBase> named_context(const std::string& name, const oci::Platform& platform) override {
    if (!contexts.contains(name)) return std::nullopt;
    ResolvedBase base;
    base.origin = FromContext{name};
    base.config.platform = platform;
    base.title = name;
    return base;
  }
  ResolvedBase image(const std::string& reference, const oci::Platform& platform) override {
    if (reference.find("busybox") == std::string::npos) throw Error(cat("no such image: ", reference));
    ResolvedBase base;
    base.origin = FromImage{0};
    base.config.platform = platform;
    base.title = reference;
    return base;
  }
  std::vector<PlannedImage> images() const override { return {{"docker.io/library/busybox:latest", {}}}; }

  std::map<std::string, json> contexts;
};

class CaseBuild {
 public:
  explicit CaseBuild(const json& test) : test_(test), bases_(test) {
    context_ = make_context(test["context"],
                            test.contains("dockerfileIgnore") ? &test["dockerfileIgnore"] : nullptr);
  }

  FakeStack run() {
    const auto text = std::make_shared<SourceText>("Dockerfile", test_["dockerfile"].get<std::string>());
    EvaluateOptions options;
    for (const auto& context : bases_.contexts) options.named_contexts.push_back(context.first);
    const Plan plan = evaluate(parser::parse_dockerfile(text), options, bases_, [](const Warned&) {});
    for (const auto& stage : plan.stages) {
      FakeStack stack = base_of(stage.base);
      for (const auto& step : stage.steps) apply(step, stack);
      stages_.push_back(std::move(stack));
    }
    return stages_.at(plan.target);
  }

 private:
  FakeStack base_of(const Origin& base) {
    if (const auto* stage = std::get_if<FromStage>(&base)) return stages_.at(stage->stage);
    FakeStack stack;
    if (std::holds_alternative<FromContext>(base)) {
      CopyRequest request;
      request.sources = {"."};
      request.destination = "/";
      request.build_time = kBuildTime;
      copy(request, *tree_of(base), stack);
    }
    if (std::holds_alternative<FromImage>(base)) {
      // The file that the cases copy out of busybox. They do not say which time it has.
      oci::LayerEntry directory, file;
      directory.path = "etc";
      directory.attributes.type = oci::FileType::directory;
      directory.attributes.mode = 0755;
      file.path = "etc/group";
      file.attributes.mode = 0644;
      file.attributes.mtime = kBuildTime;
      const std::string content = busybox_group();
      file.attributes.size = content.size();
      stack.push({{directory, {}}, {file, [content] { return std::make_unique<StringSource>(content); }}});
    }
    return stack;
  }

  /// As long as the case says that it is.
  std::string busybox_group() const {
    for (const auto& entry : test_.value("rootfs", json::array())) {
      if (entry["path"] == "/g")
        return entry.value("content", std::string(entry.value("size", std::size_t{0}), 'g'));
    }
    return "root:x:0:\n";
  }

  std::shared_ptr<SourceTree> tree_of(const Origin& origin) {
    if (std::holds_alternative<FromScratch>(origin)) return std::make_shared<MemorySource>();
    if (const auto* context = std::get_if<FromContext>(&origin)) {
      return context->name.empty() ? context_ : make_context(bases_.contexts.at(context->name));
    }
    const FakeStack stack = base_of(origin);
    return make_stage_source(stack.tree(), stack.content());
  }

  static void copy(const CopyRequest& request, SourceTree& tree, FakeStack& stack, bool link = false) {
    const auto selection = select_sources(request, tree);
    const auto content = stack.content();
    stack.push(plan_copy(request, *selection, link ? oci::FileTree() : stack.tree(), *content));
  }

  void apply(const PlanStep& step, FakeStack& stack) {
    if (const auto* work = std::get_if<WorkdirOp>(&step.op)) {
      const auto content = stack.content();
      stack.push(plan_workdir(work->path, work->user, stack.tree(), *content, kBuildTime));
      return;
    }
    const auto& op = std::get<CopyOp>(step.op);
    CopyRequest request;
    request.sources = op.sources;
    request.inline_files = op.inline_files;
    request.destination = op.destination;
    request.chown = op.chown;
    request.chmod = op.chmod;
    request.parents = op.parents;
    request.unpack_archives = op.is_add && op.unpack.value_or(true);
    request.excludes = op.excludes;
    request.build_time = kBuildTime;
    copy(request, *tree_of(op.from), stack, op.link);
  }

  const json& test_;
  CaseBases bases_;
  std::shared_ptr<SourceTree> context_;
  std::vector<FakeStack> stages_;
};

std::string octal(std::uint32_t mode) { return cat(mode >> 9 & 7, mode >> 6 & 7, mode >> 3 & 7, mode & 7); }

/// The tree in the form of the cases, by path.
std::map<std::string, json> rootfs_of(const FakeStack& stack) {
  static constexpr const char* kTypes[] = {"file", "dir", "symlink", "char", "block", "fifo"};
  std::map<std::string, json> all;
  std::map<std::uint64_t, std::string> first_names;
  oci::walk(stack.tree(), "", [&](const std::string& name, const oci::FileNodePtr& node) {
    const oci::FileAttributes& attributes = node->attributes;
    const std::string path = "/" + name;
    json entry{{"path", path}, {"uid", attributes.uid}, {"gid", attributes.gid}};
    entry["type"] = kTypes[static_cast<std::size_t>(attributes.type)];
    if (attributes.mtime == kBuildTime)
      entry["mtime"] = "build";
    else
      entry["mtime"] = attributes.mtime.seconds;
    if (attributes.type == oci::FileType::symlink)
      entry["target"] = attributes.link_target;
    else
      entry["mode"] = octal(attributes.mode);
    if (attributes.type == oci::FileType::regular) entry["content"] = stack.read(*node);
    if (node->link_group != 0) {
      const auto [first, is_first] = first_names.emplace(node->link_group, path);
      if (!is_first) {
        entry["type"] = "hardlink";
        entry["target"] = first->second;
      }
    }
    all.emplace(path, std::move(entry));
    return true;
  });
  return all;
}

/// What the case says of an entry must be so; what it leaves out is not compared.
std::string difference(const json& expected, const json& actual) {
  for (const auto& [key, value] : expected.items()) {
    const std::string content = actual.value("content", "");
    if (key == "size") {
      if (content.size() != value.get<std::size_t>()) return cat("size: ", content.size());
    } else if (key == "sha256") {
      if (sha256(content).hex() != value) return "sha256";
    } else if (!actual.contains(key) || actual[key] != value) {
      return cat(key, ": ", value.dump(), " expected, got ",
                 actual.contains(key) ? actual[key].dump() : "nothing");
    }
  }
  return {};
}

std::vector<std::string> compare_rootfs(const json& expected, const FakeStack& stack) {
  std::vector<std::string> differences;
  auto actual = rootfs_of(stack);
  for (const auto& entry : expected) {
    const auto found = actual.find(entry["path"]);
    if (found == actual.end()) {
      differences.push_back(cat("missing ", entry["path"].get<std::string>()));
      continue;
    }
    const auto difference_found = difference(entry, found->second);
    if (!difference_found.empty()) differences.push_back(cat(found->first, ": ", difference_found));
    actual.erase(found);
  }
  for (const auto& extra : actual) differences.push_back(cat("not expected: ", extra.first));
  return differences;
}

/// The layers of the case. The reference keeps a whiteout-like member of an archive in the layer, where it
/// deletes nothing; ours has none (ADD-6), so it is taken out of what is expected.
std::vector<std::vector<std::string>> expected_layers(const json& test) {
  auto layers = test["layers"].get<std::vector<std::vector<std::string>>>();
  for (auto& layer : layers) {
    std::erase_if(layer, [](const std::string& name) { return name.find("/.wh.") != std::string::npos; });
  }
  return layers;
}

/// What users and scripts recognise an error by: the end of the text, the reference to a snapshot taken out.
std::string error_core(std::string text) {
  for (const std::string_view prefix : {"failed to solve: ", "failed to compute cache key: ",
                                        "failed to calculate checksum of ref <ref>: "}) {
    if (text.starts_with(prefix)) text.erase(0, prefix.size());
  }
  return text;
}

TEST_CASE("COPY, ADD and WORKDIR give the trees and layers of cases/copy.json") {
  const json file = json::parse(tests::read_test_data("cases/copy.json"));
  std::size_t ran = 0, same_errors = 0, errors = 0;
  for (const auto& test : file["cases"]) {
    const std::string id = test["id"];
    CAPTURE(id);
    CAPTURE(test["dockerfile"].get<std::string>());
    ++ran;
    try {
      const FakeStack stack = CaseBuild(test).run();
      if (test.contains("error")) {
        FAIL_CHECK("no error, expected: " << test["error"].get<std::string>());
        continue;
      }
      for (const auto& text : compare_rootfs(test["rootfs"], stack)) FAIL_CHECK(text);
      INFO("layers: " << json(stack.layers()).dump());
      CHECK(stack.layers() == expected_layers(test));
    } catch (const Error& error) {
      if (!test.contains("error")) {
        FAIL_CHECK("error: " << error.message());
        continue;
      }
      ++errors;
      const std::string core = error_core(test["error"]);
      const bool same = error.message().find(core) != std::string::npos;
      same_errors += same ? 1 : 0;
    }
  }
  CHECK(ran == 324);
  CHECK(errors == 44);
  // Ours in their own words: two show one backslash less, three name more of what is wrong.
  CHECK(same_errors == 39);
}

}  // namespace
}  // namespace imgbuild::builder
