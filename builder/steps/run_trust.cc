#include "builder/steps/run_trust.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/account_files.h"
#include "builder/ca_cover.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kPlace = "/run/imgbuild/ca-bundle.pem";

bool has_variable(const std::vector<std::string>& env, const std::string& name) {
  return std::any_of(env.begin(), env.end(), [&](const std::string& entry) {
    return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
  });
}

/// What the image trusts by itself; nothing where it has no bundle.
std::string image_bundle(const oci::FileTree& below, ContentProvider& content) {
  for (const auto& path : ca_bundle_paths()) {
    try {
      const auto text = read_account_file(below, content, path);
      if (text && !text->empty()) return *text;
    } catch (const Error&) {
      // Links in a circle, or a file too large to be a bundle.
    }
  }
  return {};
}

}  // namespace

const std::vector<std::string>& ca_variables() {
  static const std::vector<std::string> names = {
      "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
      "PIP_CERT",      "AWS_CA_BUNDLE",  "CARGO_HTTP_CAINFO",  "DENO_CERT",           "NIX_SSL_CERT_FILE",
  };
  return names;
}

void apply_trust(SandboxSpec& spec, const StepContext& context, const oci::FileTree& below,
                 ContentProvider& content) {
  const CaBundle& bundle = context.request.ca_bundle;
  if (bundle.pem.empty()) return;
  spec.ca_bundle = bundle.pem;
  std::string base = image_bundle(below, content);
  if (base.empty()) base = bundle.system;
  spec.mounts.push_back({.kind = SandboxMount::Kind::file,
                         .target = kPlace,
                         .content = cat(base, base.empty() || base.ends_with('\n') ? "" : "\n", bundle.pem),
                         .read_only = true,
                         .no_exec = true,
                         .mode = 0444});
  for (const auto& name : ca_variables()) {
    if (!has_variable(spec.env, name)) spec.env.push_back(cat(name, "=", kPlace));
  }
}

}  // namespace imgbuild::builder
