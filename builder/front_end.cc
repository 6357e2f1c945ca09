#include "builder/front_end.h"

#include "base/error.h"
#include "base/strings.h"
#include "oci/reference.h"
#include "parser/values.h"

namespace imgbuild::builder {

namespace {

bool is_dockerfile_front_end(const std::string& name) {
  try {
    const auto reference = oci::Reference::parse(name);
    return reference.registry() == "docker.io" && (reference.repository() == "docker/dockerfile" ||
                                                   reference.repository() == "docker/dockerfile-upstream");
  } catch (const Error&) {
    return false;
  }
}

/// The switch `name`, off when it is not given. Throws Error for what is no boolean.
bool is_on(const BuildArgs& args, std::string_view name) {
  const auto given = args.find(name);
  if (given == args.end() || given->second.empty()) return false;
  const auto value = parser::parse_boolean(given->second);
  if (!value) {
    throw Error(cat("the build argument ", name, " is true or false, not \"", printable(given->second), "\""),
                ExitCode::usage);
  }
  return *value;
}

}  // namespace

void check_special_args(const BuildArgs& args) {
  if (is_on(args, "BUILDKIT_MULTI_PLATFORM")) {
    throw UnsupportedError("BUILDKIT_MULTI_PLATFORM: an index for one platform cannot be made")
        .with_note("leave the argument out; the image is a single manifest");
  }
  if (is_on(args, "BUILDKIT_DISABLE_FILEOP"))
    throw UnsupportedError("BUILDKIT_DISABLE_FILEOP is no longer supported: COPY and ADD need no image");
}

bool keeps_context_git_dir(const BuildArgs& args) { return is_on(args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR"); }

void check_front_end(const parser::Dockerfile& file, const BuildArgs& args) {
  const auto replaced = args.find("BUILDKIT_SYNTAX");
  const bool by_argument = replaced != args.end() && !replaced->second.empty();
  if (!by_argument && !file.syntax) return;
  const std::string name = by_argument ? replaced->second.substr(0, replaced->second.find_first_of(" \t"))
                                       : file.syntax->reference;
  if (name.empty() || is_dockerfile_front_end(name)) return;
  UnsupportedError error(cat("the front end \"", printable(name), "\" asked for by ",
                             by_argument ? "BUILDKIT_SYNTAX" : "the syntax directive",
                             " is not docker/dockerfile"));
  if (!by_argument) error.locate({file.source, file.syntax->line, file.syntax->line, 0, 0});
  error.add_note("front end images are not run; remove the directive if this is an ordinary Dockerfile");
  throw error;
}

}  // namespace imgbuild::builder
