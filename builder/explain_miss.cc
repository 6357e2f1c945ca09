#include "builder/explain_miss.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "builder/file_changes.h"
#include "cache/key_difference.h"

namespace imgbuild::builder {

namespace {

using cache::CacheRecord;
using cache::KeyChange;
using cache::KeyField;

constexpr std::string_view kFilePrefix = "file ";
constexpr std::size_t kNamedFiles = 100;  // changes of files looked for; more are "and so on"
constexpr std::size_t kNamedOthers = 3;

/// One thing that changed, in words.
struct Reason {
  std::string cause, name, before, after;
  std::string text;
};

bool is_note(std::string_view label) { return label.starts_with(kNotePrefix); }

constexpr std::size_t kOtherInstruction = 1000;

/// Whether both are inputs of the same kind of step: a RUN, a COPY, a WORKDIR.
bool same_kind(const std::vector<KeyField>& before, const std::vector<KeyField>& now) {
  const auto has = [](const std::vector<KeyField>& fields, std::string_view label) {
    return std::any_of(fields.begin(), fields.end(), [&](const auto& field) { return field.label == label; });
  };
  return has(before, "argv") == has(now, "argv") && has(before, "destination") == has(now, "destination");
}

/// How far a record is from what was asked for. Another command or other sources mean another instruction;
/// between equals the one made on the same things is nearer.
std::size_t distance(const std::vector<KeyField>& before, const std::vector<KeyField>& now) {
  std::size_t own = 0, below = 0;
  for (const auto& change : cache::find_changes(before, now)) {
    if (change.label == "files" || is_note(change.label)) continue;
    if (change.label == "parent") {
      below = 1;
      continue;
    }
    const bool identifies = change.label == "argv" || change.label == "source" ||
                            change.label == "destination" || change.label == "path" ||
                            change.label == "remote";
    own += identifies ? kOtherInstruction : 1;
  }
  return 2 * own + below;
}

std::optional<CacheRecord> nearest_record(const MissQuestion& question, cache::CacheStore& records) {
  std::optional<CacheRecord> best;
  std::size_t best_distance = 0;
  bool own_place = true;
  for (const auto& slot : question.missed.slots) {
    auto found = records.find_by_slot(slot);
    for (auto record = found.rbegin(); record != found.rend(); ++record) {  // the latest first
      if (record->key == question.missed.key || !same_kind(record->inputs, question.inputs)) continue;
      const std::size_t far = distance(record->inputs, question.inputs);
      if (best && far >= best_distance) continue;
      if (!own_place && far >= kOtherInstruction) continue;  // a neighbour that says something else
      best_distance = far;
      best = std::move(*record);
    }
    own_place = false;
  }
  return best;
}

/// What people call the fields of keys (steps/run.cc, copy_key.cc, steps/workdir.cc): cause and words.
std::pair<std::string, std::string> words_of(const std::string& label) {
  static const std::map<std::string, std::pair<std::string, std::string>, std::less<>> kWords = {
      {"argv", {"command", "the command"}},
      {"chmod", {"flag", "--chmod"}},
      {"chown", {"flag", "--chown"}},
      {"destination", {"destination", "the destination"}},
      {"device", {"device", "device"}},
      {"epoch", {"epoch", "SOURCE_DATE_EPOCH"}},
      {"exclude", {"flag", "--exclude"}},
      {"host", {"option", "--add-host"}},
      {"hostname", {"option", "the host name"}},
      {"mount", {"mount", "mount"}},
      {"network", {"option", "the network"}},
      {"path", {"path", "the path"}},
      {"platform", {"platform", "the platform"}},
      {"remote", {"remote", "the remote source"}},
      {"script", {"command", "the script"}},
      {"security", {"option", "the security mode"}},
      {"shm size", {"option", "--shm-size"}},
      {"source", {"source", "the source"}},
      {"ulimit", {"option", "--ulimit"}},
      {"unpack", {"flag", "--unpack"}},
      {"user", {"user", "the user"}},
      {"workdir", {"workdir", "the working directory"}},
  };
  const auto found = kWords.find(label);
  return found == kWords.end() ? std::pair(label, label) : found->second;
}

Reason reason_of(const KeyChange& change) {
  const auto [cause, words] = words_of(change.label);
  return {
      cause, {}, change.before, change.after, cat(printable(words), ": ", cache::describe_values(change))};
}

std::pair<std::string, std::string> split_variable(const std::string& entry) {
  const auto equals = entry.find('=');
  if (equals == std::string::npos) return {entry, {}};
  return {entry.substr(0, equals), entry.substr(equals + 1)};
}

/// Variables are compared by name, and called arguments when they are.
std::vector<Reason> reasons_of_variables(const std::vector<KeyChange>& changes,
                                         const std::vector<std::string>& arguments) {
  std::map<std::string, std::pair<std::optional<std::string>, std::optional<std::string>>> by_name;
  std::vector<Reason> reasons;
  for (const auto& change : changes) {
    if (change.kind == KeyChange::Kind::reordered) {
      reasons.push_back({"environment", {}, {}, {}, "the environment: the same variables in another order"});
      continue;
    }
    if (change.kind != KeyChange::Kind::added) {
      auto [name, value] = split_variable(change.before);
      by_name[name].first = std::move(value);
    }
    if (change.kind != KeyChange::Kind::removed) {
      auto [name, value] = split_variable(change.after);
      by_name[name].second = std::move(value);
    }
  }
  for (const auto& [name, values] : by_name) {
    const bool is_argument = std::find(arguments.begin(), arguments.end(), name) != arguments.end();
    KeyChange change{KeyChange::Kind::changed, name, values.first.value_or(""), values.second.value_or("")};
    if (!values.first) change.kind = KeyChange::Kind::added;
    if (!values.second) change.kind = KeyChange::Kind::removed;
    reasons.push_back({is_argument ? "argument" : "environment", name, change.before, change.after,
                       cat(is_argument ? "the argument " : "the variable ", printable(name), ": ",
                           cache::describe_values(change))});
  }
  return reasons;
}

Reason reason_of(const FileChange& change) {
  return {"file", change.path, {}, {}, cat("file ", printable(change.path), ": ", change.what)};
}

/// A renamed file is one that is gone and one that is new, which names both.
std::vector<Reason> reasons_of_files(const std::vector<FileChange>& changes, bool modes_as_found) {
  std::vector<Reason> reasons;
  for (const auto& change : changes) reasons.push_back(reason_of(change));
  const bool modes_only = !changes.empty() && std::all_of(changes.begin(), changes.end(),
                                                          [](const auto& c) { return c.mode_only; });
  if (modes_only && modes_as_found) {
    reasons.front().cause = "mode";
    reasons.front().text +=
        " (only permission bits differ; --context-modes=git ignores what git does not keep of them)";
  }
  return reasons;
}

std::vector<FileChange> file_changes(const MissQuestion& question, const CacheRecord& earlier,
                                     const std::vector<KeyChange>& named, LayerIndexes& indexes) {
  std::vector<FileChange> changes;
  for (const auto& change : named)
    changes.push_back(
        compare_file_fields(change.label.substr(kFilePrefix.size()), change.before, change.after));
  if (!changes.empty() || !question.entries) return changes;
  try {
    return compare_files(*indexes.get(earlier.layer), question.entries(), kNamedFiles);
  } catch (const Error&) {
    return {};  // the earlier layer is gone, or the sources cannot be copied: the step itself will say so
  }
}

Reason reason_of_parent(const MissQuestion& question, const std::vector<KeyChange>& notes) {
  if (!question.missed.parent.empty())
    return {"parent",
            question.missed.parent,
            {},
            {},
            cat("what comes before it changed: ", printable(question.missed.parent))};
  for (const auto& note : notes) {
    if (note.label != "note base") continue;
    return {"base",
            {},
            note.before,
            note.after,
            cat("the base changed: ", printable(note.before), " became ", printable(note.after))};
  }
  return {"base", {}, {}, {}, "the base changed"};
}

/// All that differs, what belongs to the step itself first.
std::vector<Reason> reasons_against(const MissQuestion& question, const CacheRecord& earlier,
                                    LayerIndexes& indexes) {
  std::vector<KeyChange> files, variables, notes;
  std::vector<Reason> reasons;
  bool parent = false, all_files = false;
  for (auto& change : cache::find_changes(earlier.inputs, question.inputs)) {
    if (change.label == "parent") {
      parent = true;
    } else if (change.label == "files") {
      all_files = true;
    } else if (is_note(change.label)) {
      notes.push_back(std::move(change));
    } else if (change.label == "env") {
      variables.push_back(std::move(change));
    } else if (change.label.starts_with(kFilePrefix)) {
      files.push_back(std::move(change));
    } else if (change.label.starts_with("inline ")) {
      reasons.push_back({"file",
                         change.label.substr(7),
                         {},
                         {},
                         cat("here-document ", printable(change.label.substr(7)), ": content changed")});
    } else {
      reasons.push_back(reason_of(change));
    }
  }
  auto more = reasons_of_variables(variables, question.missed.arguments);
  reasons.insert(reasons.end(), more.begin(), more.end());
  if (!files.empty() || all_files) {
    // With another reason the step runs anyway, whatever the modes are.
    more = reasons_of_files(file_changes(question, earlier, files, indexes),
                            question.modes_as_found && reasons.empty());
    if (more.empty() && reasons.empty()) more.push_back({"files", {}, {}, {}, "the copied files changed"});
    reasons.insert(reasons.end(), more.begin(), more.end());
  }
  if (parent) reasons.push_back(reason_of_parent(question, notes));
  return reasons;
}

Explained in_one_line(StepId step, std::vector<Reason> reasons) {
  Reason& first = reasons.front();
  Explained explained{step, first.cause, first.name, first.before, first.after, first.text, {}};
  for (std::size_t i = 1; i < reasons.size(); ++i) explained.others.push_back(reasons[i].text);
  if (reasons.size() > 1) {
    std::string names;
    for (std::size_t i = 1; i < reasons.size() && i <= kNamedOthers; ++i)
      names += cat(i == 1 ? "" : "; ", reasons[i].text);
    explained.text += cat("; ", names);
    if (reasons.size() > kNamedOthers + 1)
      explained.text += cat("; and ", reasons.size() - kNamedOthers - 1, " more");
  }
  return explained;
}

}  // namespace

Explained explain_miss(const MissQuestion& question, cache::CacheStore& records, LayerIndexes& indexes) {
  const StepId step = question.missed.step;
  if (!question.missed.note.empty()) return {step, "note", {}, {}, {}, question.missed.note, {}};
  const auto earlier = nearest_record(question, records);
  if (!earlier) return {step, "first build", {}, {}, {}, "no earlier build of this step is known", {}};
  auto reasons = reasons_against(question, *earlier, indexes);
  if (reasons.empty()) return {step, "store", {}, {}, {}, "its record is no longer in the store", {}};
  return in_one_line(step, std::move(reasons));
}

}  // namespace imgbuild::builder
