#include "builder/stage_scope.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxBytes = 1u << 20;  // LIM

}  // namespace

struct ScopeLog {
  struct Event {
    bool declares = false;
    std::string name;
    std::string value;  ///< of an assignment
  };
  std::shared_ptr<const ScopeLog> before;  ///< of the stage this one is FROM
  std::size_t before_length = 0;
  std::vector<Event> events;

  /// Every event up to `length` of this log, those of the stages below first.
  template <typename Visit>
  void replay(std::size_t length, const Visit& visit) const {
    std::vector<std::pair<const ScopeLog*, std::size_t>> logs;
    for (const ScopeLog* log = this; log != nullptr; log = log->before.get()) {
      logs.emplace_back(log, length);
      length = log->before_length;
    }
    for (auto log = logs.rbegin(); log != logs.rend(); ++log) {
      for (std::size_t i = 0; i < log->second; ++i) visit(log->first->events[i]);
    }
  }
};

std::vector<std::string> RunScope::entries() const {
  Environment env;
  if (log_) {
    log_->replay(length_, [&](const ScopeLog::Event& event) {
      if (!event.declares && !is_hidden_from_run(event.name)) env.set(event.name, event.value);
    });
  }
  return env.entries();
}

std::vector<std::pair<std::string, std::string>> RunScope::arguments() const {
  std::vector<std::pair<std::string, std::string>> out;
  if (!log_) return out;
  Environment env;
  log_->replay(length_, [&](const ScopeLog::Event& event) {
    if (event.declares) {
      out.emplace_back(event.name, "");
    } else {
      env.set(event.name, event.value);
    }
  });
  for (auto& [name, value] : out) {
    if (const std::string* found = env.find(name)) value = *found;
  }
  return out;
}

ScopeLog& StageScope::log() {
  if (!log_) log_ = std::make_shared<ScopeLog>();
  return *log_;
}

void StageScope::set(std::string_view name, std::string value) {
  if (const std::string* old = env_.find(name)) {
    bytes_ -= old->size();
  } else {
    bytes_ += name.size();
  }
  bytes_ += value.size();
  if (bytes_ > kMaxBytes) {
    throw SyntaxError(cat("the variables of the stage are larger than 1 MiB, with ", printable(name)));
  }
  log().events.push_back({false, std::string(name), value});
  env_.set(name, std::move(value));
}

void StageScope::declare(const std::string& name) {
  if (declared_.insert(name).second) log().events.push_back({true, name, {}});
}

void StageScope::inherit(const StageScope& other) {
  *this = other;
  if (!other.log_) return;
  log_ = std::make_shared<ScopeLog>();
  log_->before = other.log_;
  log_->before_length = other.log_->events.size();
}

std::vector<std::string> StageScope::names() const {
  std::vector<std::string> out = env_.names();
  out.insert(out.end(), declared_.begin(), declared_.end());
  return out;
}

RunScope StageScope::now() const { return log_ ? RunScope(log_, log_->events.size()) : RunScope(); }

}  // namespace imgbuild::builder
