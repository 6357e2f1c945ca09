#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "cli/options.h"
#include "cli/usage.h"

namespace imgbuild::cli {

namespace {

using Kind = builder::OutputSpec::Kind;

bool parse_bool(const std::string& value, const std::string& key) {
  static const std::map<std::string, bool> kWords = {
      {"1", true},      {"t", true},      {"T", true},     {"true", true}, {"TRUE", true},
      {"True", true},   {"", true},       {"0", false},    {"f", false},   {"F", false},
      {"false", false}, {"FALSE", false}, {"False", false}};
  const auto word = kWords.find(value);
  if (word == kWords.end())
    throw usage(cat("--output: ", key, " is true or false, not \"", printable(value), "\""));
  return word->second;
}

Kind parse_kind(const std::string& value) {
  static const std::map<std::string, Kind> kKinds = {
      {"image", Kind::image}, {"oci", Kind::oci},     {"docker", Kind::docker},
      {"tar", Kind::tar},     {"local", Kind::local}, {"cacheonly", Kind::cache_only}};
  const auto kind = kKinds.find(value);
  if (kind != kKinds.end()) return kind->second;
  Error error = usage(cat("--output: unknown type \"", printable(value), "\""));
  std::vector<std::string> known;
  for (const auto& [name, unused] : kKinds) known.push_back(name);
  if (value == "registry")
    error.add_note("pushing to a registry is not supported; write an archive with type=oci");
  else if (const auto close = nearest(value, known))
    error.add_note(cat("did you mean ", *close, "?"));
  else
    error.add_note(cat("known types: ", join(known, ", ")));
  throw error;
}

/// A path alone: `-` is a root file system on standard output, `x.tar` an archive of the image, all else a
/// folder.
builder::OutputSpec parse_shorthand(const std::string& path) {
  if (path == "-") return {.kind = Kind::tar, .destination = "-"};
  if (path.ends_with(".tar")) return {.kind = Kind::docker, .destination = path};
  return {.kind = Kind::local, .destination = path};
}

void apply_field(builder::OutputSpec& spec, const std::string& key, const std::string& value) {
  static const std::vector<std::string> kKeys = {"type", "dest", "name", "tar"};
  if (key == "type")
    spec.kind = parse_kind(value);
  else if (key == "dest")
    spec.destination = value;
  else if (key == "tar")
    spec.as_directory = !parse_bool(value, key);
  else if (key == "name") {
    for (const auto name : split(value, ',')) spec.names.push_back(oci::Reference::parse(name));
  } else {
    Error error = usage(cat("--output: unknown key \"", printable(key), "\""));
    if (key == "output")
      error.add_note("did you mean dest?");
    else if (const auto close = nearest(key, kKeys))
      error.add_note(cat("did you mean ", *close, "?"));
    else
      error.add_note(cat("known keys: ", join(kKeys, ", ")));
    throw error;
  }
}

void check(const builder::OutputSpec& spec, bool tar_given) {
  const bool needs_destination = spec.kind != Kind::image && spec.kind != Kind::cache_only;
  if (needs_destination && spec.destination.empty()) throw usage("--output: this type needs dest=PATH");
  if (!needs_destination && !spec.destination.empty()) throw usage("--output: this type takes no dest");
  if (tar_given && spec.kind != Kind::oci && spec.kind != Kind::docker) {
    throw usage("--output: tar=… belongs to type=oci and type=docker");
  }
  if (spec.as_directory && spec.destination == "-")
    throw usage("--output: a folder cannot go to standard output");
}

}  // namespace

builder::OutputSpec parse_output(const std::string& text) {
  const auto fields = split_csv(text);
  if (fields.size() == 1 && fields[0].find('=') == std::string::npos) {
    if (fields[0].empty()) throw usage("--output is empty; use -o app.tar, -o folder or -o type=…,dest=…");
    return parse_shorthand(fields[0]);
  }
  builder::OutputSpec spec;
  bool tar_given = false;
  for (const auto& field : fields) {
    const auto equals = field.find('=');
    if (equals == std::string::npos)
      throw usage(cat("--output: \"", printable(field), "\" must be key=value"));
    const std::string key = to_lower(trim(field.substr(0, equals)));
    tar_given = tar_given || key == "tar";
    apply_field(spec, key, field.substr(equals + 1));
  }
  check(spec, tar_given);
  return spec;
}

}  // namespace imgbuild::cli
