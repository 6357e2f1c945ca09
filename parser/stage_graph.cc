#include "parser/stage_graph.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.h"
#include "parser/mount_options.h"
#include "parser/place_of.h"

namespace imgbuild::parser {

namespace {

/// A whole decimal number, a sign allowed.
std::optional<long> parse_index(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  long value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || stop != end || error == std::errc::invalid_argument) return std::nullopt;
  return error == std::errc() ? value : -1;  // a number too large is no stage's either
}

void insert_sorted(std::vector<std::size_t>& set, std::size_t value) {
  const auto at = std::lower_bound(set.begin(), set.end(), value);
  if (at == set.end() || *at != value) set.insert(at, value);
}

std::string mount_target(const std::string& mount) {
  try {
    return parse_mount(mount, [](std::string_view value) { return std::string(value); }).target;
  } catch (const SyntaxError&) {
    return {};
  }
}

}  // namespace

void StageGraph::for_each_use(const Instruction& instruction, const std::function<void(const Use&)>& visit) {
  if (const auto* copy = std::get_if<CopyInstruction>(&instruction.body)) {
    if (copy->from && !copy->from->empty()) visit({*copy->from, {}, false, instruction.where});
  }
  if (const auto* run = std::get_if<RunInstruction>(&instruction.body)) {
    for (const auto& mount : run->mounts) {
      const auto from = mount_from(mount);
      if (from && !from->empty()) visit({*from, mount_target(mount), true, instruction.where});
    }
  }
}

StageGraph::StageGraph(const Dockerfile& file, const std::vector<std::string>& expanded_bases,
                       const GraphOptions& options)
    : edges_(file.stages.size()), names_(file.stages.size()), misuse_(file.stages.size()) {
  for (std::size_t i = 0; i < file.stages.size(); ++i) {
    const FromInstruction& from = file.stages[i].from_body();
    from_lines_.push_back(file.stages[i].from.where);
    // FROM sees earlier stages only, and compares letter by letter (FROM-2, FROM-3).
    if (const auto base = by_name_.find(expanded_bases.at(i)); base != by_name_.end())
      edges_[i].base = base->second;
    if (!from.stage_name) continue;
    names_[i] = *from.stage_name;
    by_name_[names_[i]] = i;
  }
  for (std::size_t i = 0; i < file.stages.size(); ++i) {
    if (!options.closed_stages.contains(i)) add_uses(file.stages[i], i, options.variables_lead_on);
  }
  check_cycles();
}

void StageGraph::add_uses(const Stage& stage, std::size_t user, bool variables_lead_on) {
  for (const auto& instruction : stage.commands) {
    for_each_use(instruction, [&](const Use& use) {
      if (variables_lead_on && !use.is_mount && use.name.find('$') != std::string::npos) return;
      try {
        const auto needed = resolve(use);
        if (!needed) return note_variable(use, user);
        if (*needed == user) throw circular(user);
        if (*needed > user) note_misuse(user, later_stage(use, user, *needed), use);
        add_edge(user, *needed);
      } catch (SyntaxError& error) {
        error.locate(place_of(use.name, use.where));
        throw;
      }
    });
  }
}

void StageGraph::refuse_variable(const Use& use) {
  const auto dollar = use.name.find('$');
  if (use.is_mount || dollar == std::string::npos || dollar + 1 == use.name.size()) return;
  throw SyntaxError(
      "variable expansion is not supported for --from, define a new stage with FROM using ARG from global "
      "scope as a "
      "workaround");
}

void StageGraph::note_misuse(std::size_t user, SyntaxError error, const Use& use) {
  if (misuse_[user]) return;                    // the first one is enough
  error.locate(place_of(use.name, use.where));  // of the name, where it can be told
  misuse_[user] = std::move(error);
}

void StageGraph::note_variable(const Use& use, std::size_t user) {
  try {
    refuse_variable(use);
  } catch (const SyntaxError& error) {
    note_misuse(user, error, use);
  }
}

std::optional<std::size_t> StageGraph::resolve(const Use& use) const {
  if (const auto index = use.is_mount ? std::nullopt : parse_index(use.name)) {
    if (*index < 0 || static_cast<std::size_t>(*index) >= size()) {
      throw SyntaxError(cat("invalid stage index ", printable(use.name)));
    }
    return static_cast<std::size_t>(*index);
  }
  const auto found = by_name_.find(to_lower(use.name));
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

std::string StageGraph::describe(std::size_t stage) const {
  return names_[stage].empty() ? cat(stage) : names_[stage];
}

SyntaxError StageGraph::later_stage(const Use& use, std::size_t user, std::size_t needed) const {
  if (use.is_mount) {
    return SyntaxError(cat("cannot mount from stage \"", describe(needed), "\" to \"",
                           printable(use.mount_target),
                           "\", stage needs to be defined before current command"));
  }
  return SyntaxError(cat("cannot copy from stage \"", describe(needed),
                         "\", it needs to be defined before current stage \"", describe(user), "\""));
}

SyntaxError StageGraph::circular(std::size_t stage) const {
  return SyntaxError(cat("circular dependency detected on stage: ", describe(stage)));
}

/// Colours the graph depth first; meeting a stage that is still open closes a circle.
void StageGraph::check_cycles() const {
  enum class Colour : unsigned char { fresh, open, done };
  std::vector<Colour> colours(size(), Colour::fresh);
  struct Visit {
    std::size_t stage;
    std::size_t next_edge;
  };
  const auto edge = [this](std::size_t stage, std::size_t i) -> std::optional<std::size_t> {
    const StageEdges& edges = edges_[stage];
    if (i == 0) return edges.base ? edges.base : std::optional(stage);  // itself stands for "none"
    return i <= edges.copies_from.size() ? std::optional(edges.copies_from[i - 1]) : std::nullopt;
  };
  for (std::size_t start = 0; start < size(); ++start) {
    if (colours[start] != Colour::fresh) continue;
    std::vector<Visit> path = {{start, 0}};
    colours[start] = Colour::open;
    while (!path.empty()) {
      const std::size_t stage = path.back().stage;
      const auto needed = edge(stage, path.back().next_edge++);
      if (!needed) {
        colours[stage] = Colour::done;
        path.pop_back();
      } else if (*needed != stage && colours[*needed] == Colour::open) {
        SyntaxError error = circular(*needed);
        error.locate(from_lines_[*needed]);
        throw error;
      } else if (colours[*needed] == Colour::fresh) {
        colours[*needed] = Colour::open;
        path.push_back({*needed, 0});
      }
    }
  }
}

std::optional<std::size_t> StageGraph::find_copy_source(std::string_view name, std::size_t user) const {
  const Use use{std::string(name), {}, false, {}};
  refuse_variable(use);
  const auto needed = resolve(use);
  if (needed == user) throw circular(user);
  if (needed && *needed > user) throw later_stage(use, user, *needed);
  return needed;
}

std::optional<std::size_t> StageGraph::find_mount_source(std::string_view name, std::size_t user) const {
  const Use use{std::string(name), {}, true, {}};
  const auto needed = resolve(use);
  if (needed == user) throw circular(user);
  if (needed && *needed > user) {
    throw SyntaxError(cat("cannot mount from stage \"", describe(*needed),
                          "\", stage needs to be defined before current command"));
  }
  return needed;
}

std::size_t StageGraph::find_target(const std::optional<std::string>& name) const {
  if (!name || name->empty()) return size() - 1;
  if (const auto found = by_name_.find(to_lower(*name)); found != by_name_.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [known_name, stage] : by_name_) known.push_back(known_name);
  Error error(cat("target stage \"", printable(*name), "\" could not be found"), ExitCode::usage);
  if (const auto close = nearest(*name, known)) error.add_note(cat("did you mean ", *close, "?"));
  throw error;
}

std::vector<std::size_t> StageGraph::reachable(std::size_t target) const {
  std::vector<bool> needed(size());
  std::vector<std::size_t> open = {target};
  while (!open.empty()) {
    const std::size_t stage = open.back();
    open.pop_back();
    if (needed.at(stage)) continue;
    needed[stage] = true;
    if (edges_[stage].base) open.push_back(*edges_[stage].base);
    open.insert(open.end(), edges_[stage].copies_from.begin(), edges_[stage].copies_from.end());
  }
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < size(); ++i) {
    if (!needed[i]) continue;
    if (misuse_[i]) throw *misuse_[i];
    out.push_back(i);
  }
  return out;
}

void StageGraph::add_edge(std::size_t user, std::size_t needed) {
  insert_sorted(edges_.at(user).copies_from, needed);
}

}  // namespace imgbuild::parser
