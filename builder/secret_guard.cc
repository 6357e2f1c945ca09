#include "builder/secret_guard.h"

#include <memory>

#include "base/error.h"
#include "base/stream.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

Error leak(const std::string& id, const std::string& where) {
  return Error(cat("secret \"", printable(id), "\" was found in ", where), ExitCode::step_failed)
      .with_note("keep it out of there, or accept it with --allow-secret-leak");
}

std::vector<NamedSecret> loaded(const SecretStore& secrets) {
  std::vector<NamedSecret> out;
  for (const auto& [id, secret] : secrets.values)
    if (secret->loaded()) out.push_back({id, secret->value()});
  return out;
}

std::vector<NamedSecret> watched(const SecretStore& secrets, const std::vector<std::string>& ids) {
  std::vector<NamedSecret> out;
  if (secrets.allow_leak) return out;
  for (const auto& id : ids) {
    const auto found = secrets.values.find(id);
    if (found != secrets.values.end()) out.push_back({id, found->second->value()});
  }
  return out;
}

/// A text as a whole: what ends with it does not go on elsewhere.
void check_text(const SecretPatterns& patterns, std::string_view text, const std::string& where) {
  if (const std::string* id = SecretScanner(patterns).scan(text)) throw leak(*id, where);
}

}  // namespace

struct SecretGuard::Patterns {
  SecretPatterns leaks;
  MaskPatterns masks;
};

struct SecretGuard::Streams {
  struct Stream {
    SecretScanner scanner;
    SecretMask mask;
  };
  Stream list[2];
  std::optional<std::string> printed;  ///< id of a secret
};

namespace {

class GuardedSource final : public Source {
 public:
  GuardedSource(std::unique_ptr<Source> inner, std::shared_ptr<const void> owner,
                const SecretPatterns& patterns, std::string path)
      : owner_(std::move(owner)), inner_(std::move(inner)), scanner_(patterns), path_(std::move(path)) {}
  std::size_t read(std::span<char> buffer) override {
    const std::size_t got = inner_->read(buffer);
    if (const std::string* id = scanner_.scan({buffer.data(), got}))
      throw leak(*id, cat("/", printable(path_), ", a file of this step's layer"));
    return got;
  }

 private:
  std::shared_ptr<const void> owner_;
  std::unique_ptr<Source> inner_;
  SecretScanner scanner_;
  std::string path_;
};

}  // namespace

SecretGuard::SecretGuard(const SecretStore& secrets, const std::vector<std::string>& mounted) {
  if (secrets.values.empty()) return;
  patterns_ = std::make_shared<const Patterns>(
      Patterns{SecretPatterns(watched(secrets, mounted)), MaskPatterns(loaded(secrets))});
  const auto stream = [this] {
    return Streams::Stream{SecretScanner(patterns_->leaks), SecretMask(patterns_->masks)};
  };
  streams_.reset(new Streams{{stream(), stream()}, std::nullopt});
}

SecretGuard::~SecretGuard() = default;

std::string SecretGuard::output(int stream, std::string_view bytes) {
  if (!streams_) return std::string(bytes);
  auto& one = streams_->list[stream == 2 ? 1 : 0];
  if (!streams_->printed) {
    if (const std::string* id = one.scanner.scan(bytes)) streams_->printed = *id;
  }
  return one.mask.filter(bytes);
}

std::string SecretGuard::finish(int stream) {
  return streams_ ? streams_->list[stream == 2 ? 1 : 0].mask.finish() : std::string();
}

void SecretGuard::check_output() const {
  if (streams_ && streams_->printed) throw leak(*streams_->printed, "the output of this command");
}

std::vector<oci::PendingEntry> SecretGuard::guard(std::vector<oci::PendingEntry> entries) const {
  if (!patterns_ || patterns_->leaks.empty()) return entries;
  for (auto& [entry, open] : entries) {
    const std::string where = cat("the name or an attribute of /", printable(entry.path));
    check_text(patterns_->leaks, entry.path, "the name of a file of this step's layer");
    check_text(patterns_->leaks, entry.attributes.link_target, where);
    for (const auto& [name, value] : entry.attributes.xattrs) check_text(patterns_->leaks, value, where);
    if (!open) continue;
    open = [inner = std::move(open), patterns = patterns_, path = entry.path] {
      return std::make_unique<GuardedSource>(inner(), patterns, patterns->leaks, path);
    };
  }
  return entries;
}

void require_no_secrets(const oci::ImageConfig& config, const SecretStore& secrets) {
  std::vector<std::string> ids;
  for (const auto& [id, secret] : secrets.values)
    if (secret->mounted() && secret->loaded()) ids.push_back(id);
  const SecretPatterns patterns(watched(secrets, ids));
  if (patterns.empty()) return;
  const auto check = [&](std::string_view text, const char* what) {
    check_text(patterns, text, cat(what, " of the image"));
  };
  const oci::RuntimeConfig& runtime = config.config;
  for (const auto& entry : runtime.env) check(entry, "a variable (ENV)");
  for (const auto& [name, value] : runtime.labels) {
    check(name, "a label");
    check(value, "a label");
  }
  for (const auto* words : {&runtime.entrypoint, &runtime.cmd})
    if (*words) check(join(**words, " "), "the command");
  if (runtime.healthcheck) check(join(runtime.healthcheck->test, " "), "the health check");
  for (const auto& trigger : runtime.on_build) check(trigger, "a trigger (ONBUILD)");
  for (const auto* text : {&runtime.user, &runtime.working_dir, &config.author})
    check(*text, "the configuration");
  for (const auto& name : runtime.volumes) check(name, "the configuration");
  for (const auto& entry : config.history) {
    check(entry.created_by, "the history");
    check(entry.comment, "the history");
  }
}

}  // namespace imgbuild::builder
