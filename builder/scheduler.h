#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>
#include <vector>

namespace imgbuild::builder {

/// Lets those go that wait for a task's release only. To be called by the task, from its own thread.
using Release = std::function<void()>;

/// One piece of work and what it has to wait for: indexes into the same list.
struct Task {
  std::vector<std::size_t> waits_for;
  std::function<void(std::stop_token stop, const Release& release)> run;
  /// Tasks whose release is enough. One that never calls it is released by its end.
  std::vector<std::size_t> waits_for_release = {};
};

/// Runs every task after those it waits for, at most `jobs` at once, the earliest in the list first. When one
/// throws, nothing new is started, the running ones are asked to stop, and after they ended the first
/// exception is rethrown (a real failure before a Cancelled). A stop requested from outside ends in
/// Cancelled. The waits must have no cycle.
void run_tasks(const std::vector<Task>& tasks, std::size_t jobs, std::stop_token stop);

}  // namespace imgbuild::builder
