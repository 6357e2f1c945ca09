#include "builder/sandbox_watch.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/pidfd.h"
#include "base/strings.h"
#include "builder/process_info.h"

namespace imgbuild::builder {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kDrainTime = std::chrono::milliseconds(100);  // SBX-83
constexpr std::size_t kChunk = 64 * 1024;

class Watch {
 public:
  Watch(LaunchPipes pipes, const SandboxSpec& spec, const StopTimes& times, Watchdog* watchdog,
        const std::function<void(int, std::string_view)>& output)
      : pipes_(std::move(pipes)),
        times_(times),
        watchdog_(watchdog),
        output_(output),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        buffer_(kChunk),
        sequence_(times, spec.timeout ? std::optional(Clock::now() + *spec.timeout) : std::nullopt) {
    if (!wake_) throw SystemError(errno, "create", "an event descriptor");
  }

  /// When something threw on the way, the command must not go on without anybody looking.
  ~Watch() {
    if (watchdog_ != nullptr) watchdog_->stop();  // it knows us
    const auto give_up = Clock::now() + times_.kill_wait;
    while (!has_ended_ && !is_lost_ && Clock::now() < give_up) {
      try {
        if (process_) process_.kill(SIGKILL);
        pollfd reply{pipes_.reply.get(), POLLIN, 0};
        if (::poll(&reply, 1, milliseconds_until(give_up)) > 0) read_reply();
      } catch (const std::exception&) {
        return;  // it was never started, or the launcher is gone and took it along
      }
    }
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  WatchResult run(std::stop_token stop) {
    const std::stop_callback on_stop(stop, [this] { ::eventfd_write(wake_.get(), 1); });
    while (!over()) step(stop);
    if (result_.failure) result_.failure->path[sizeof result_.failure->path - 1] = '\0';
    result_.timed_out = sequence_.timed_out();
    return result_;
  }

 private:
  bool over() const {
    return has_ended_ &&
           ((!pipes_.output && !pipes_.errors && !pipes_.report) || Clock::now() >= drained_at_);
  }

  void step(const std::stop_token& stop) {
    // A request that comes after this look wakes the poll below.
    const bool cancelled = stop.stop_requested();
    std::array<pollfd, 5> waits = {{{pipes_.output.get(), POLLIN, 0},
                                    {pipes_.errors.get(), POLLIN, 0},
                                    {pipes_.report.get(), POLLIN, 0},
                                    {has_ended_ ? -1 : pipes_.reply.get(), POLLIN, 0},
                                    {cancelled ? -1 : wake_.get(), POLLIN, 0}}};
    if (!has_ended_ && process_) move_on(cancelled);
    if (::poll(waits.data(), waits.size(), wait_time()) < 0 && errno != EINTR)
      throw SystemError(errno, "poll");
    if (waits[0].revents != 0) pump(pipes_.output, 1);
    if (waits[1].revents != 0) pump(pipes_.errors, 2);
    if (waits[2].revents != 0) read_report();
    if (waits[3].revents != 0) read_reply();
    if (waits[4].revents != 0) woken();
  }

  /// By the watchdog, or by a cancellation, which is looked for by itself.
  void woken() {
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    if (watchdog_ != nullptr && watchdog_->has_fired()) sequence_.note_kill(Clock::now());
  }

  /// The command may not have been started yet: then it is stopped as soon as it is.
  void move_on(bool cancelled) {
    for (;;) {
      switch (sequence_.next(Clock::now(), cancelled)) {
        case StopSequence::Action::none:
          return;
        case StopSequence::Action::terminate: {
          const auto pid = pid_of(process_.get());
          if (!pid || !notices_sigterm(*pid)) sequence_.skip_grace();
          process_.kill(SIGTERM);
          break;
        }
        case StopSequence::Action::kill:
          // Killing the first process of the namespace kills all of it.
          process_.kill(SIGKILL);
          break;
        case StopSequence::Action::give_up:
          is_lost_ = true;
          throw_stuck();
      }
    }
  }

  [[noreturn]] void throw_stuck() const {
    const pid_t pid = pid_of(process_.get()).value_or(0);
    StuckProcess error(pid,
                       cat("process ", pid, " was killed but does not end: it hangs in the kernel, state ",
                           printable(process_state(pid))));
    error.add_note("its files in the store are left in place until it is gone");
    throw error;
  }

  /// Never more than a minute, for clocks are steady but their sums overflow.
  static int milliseconds_until(Clock::time_point when) {
    const auto now = Clock::now();
    if (when <= now) return 0;
    if (when - now > std::chrono::minutes(1)) return 60'000;
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(when - now).count());
  }

  int wait_time() const {
    if (has_ended_) return milliseconds_until(drained_at_);
    const auto wakes = process_ ? sequence_.wakes_at() : std::nullopt;
    return wakes ? milliseconds_until(*wakes) : -1;
  }

  void pump(UniqueFd& pipe, int stream) {
    const ssize_t size = ::read(pipe.get(), buffer_.data(), buffer_.size());
    if (size > 0)
      output_(stream, {buffer_.data(), static_cast<std::size_t>(size)});
    else if (size == 0 || (errno != EINTR && errno != EAGAIN))
      pipe.reset();
  }

  void read_report() {
    launch::Failure failure;
    const ssize_t size = ::read(pipes_.report.get(), &failure, sizeof failure);
    if (size == static_cast<ssize_t>(sizeof failure)) result_.failure = failure;
    pipes_.report.reset();
  }

  void read_reply() {
    alignas(launch::Ended) char bytes[sizeof(launch::Ended)];
    iovec part{bytes, sizeof bytes};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t size = ::recvmsg(pipes_.reply.get(), &header, MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) return;
    if (size == static_cast<ssize_t>(sizeof(launch::Started))) return started(bytes, header);
    if (size == static_cast<ssize_t>(sizeof(launch::PrivateMemory))) return add_memory(take_fd(header));
    if (size != static_cast<ssize_t>(sizeof(launch::Ended)))
      throw Error("the launcher of RUN commands ended unexpectedly", ExitCode::system);
    std::memcpy(&result_.ended, bytes, sizeof result_.ended);
    has_ended_ = true;
    drained_at_ = Clock::now() + kDrainTime;
    if (watchdog_ != nullptr) result_.seen = watchdog_->finish();
  }

  void started(const char* bytes, msghdr& header) {
    launch::Started message;
    std::memcpy(&message, bytes, sizeof message);
    if (message.error_number != 0)
      throw SystemError(message.error_number, "start", "a process in new namespaces");
    process_ = Pidfd(take_fd(header));
    if (watchdog_ != nullptr) begin_to_watch();
  }

  static UniqueFd take_fd(msghdr& header) {
    const cmsghdr* rights = CMSG_FIRSTHDR(&header);
    int fd = -1;
    if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    return UniqueFd(fd);
  }

  void begin_to_watch() {
    auto root = pid_of(process_.get());
    const bool keeper = watchdog_->order().has_keeper;
    if (root && keeper) root = process_parent(*root);
    if (!root) return;  // it is over already
    watchdog_->begin(ProcessTree(*root, keeper), process_.get(), [this, keeper] {
      // A keeper ends the rest; until it comes to that, fewer are left to start others.
      if (keeper) process_.kill_group(SIGKILL);
      process_.kill(SIGKILL);
      ::eventfd_write(wake_.get(), 1);
    });
  }

  void add_memory(UniqueFd file_system) {
    if (watchdog_ != nullptr) watchdog_->add_memory(std::move(file_system));
  }

  LaunchPipes pipes_;
  const StopTimes times_;
  Watchdog* const watchdog_;
  const std::function<void(int, std::string_view)>& output_;
  UniqueFd wake_;
  std::vector<char> buffer_;
  StopSequence sequence_;
  Pidfd process_;
  WatchResult result_;
  Clock::time_point drained_at_ = Clock::time_point::max();
  bool has_ended_ = false;
  bool is_lost_ = false;
};

}  // namespace

WatchResult watch_launch(LaunchPipes pipes, const SandboxSpec& spec, const StopTimes& times,
                         Watchdog* watchdog, const std::function<void(int, std::string_view)>& output,
                         std::stop_token stop) {
  return Watch(std::move(pipes), spec, times, watchdog, output).run(std::move(stop));
}

}  // namespace imgbuild::builder
