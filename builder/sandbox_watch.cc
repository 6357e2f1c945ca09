#include "builder/sandbox_watch.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/pidfd.h"

namespace imgbuild::builder {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kDrainTime = std::chrono::milliseconds(100);  // SBX-83
constexpr std::size_t kChunk = 64 * 1024;

class Watch {
 public:
  Watch(LaunchPipes pipes, const SandboxSpec& spec, const std::function<void(int, std::string_view)>& output)
      : pipes_(std::move(pipes)),
        output_(output),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        buffer_(kChunk) {
    if (!wake_) throw SystemError(errno, "create", "an event descriptor");
    if (spec.timeout) deadline_ = Clock::now() + *spec.timeout;
  }

  /// When something threw on the way, the command must not go on without anybody looking.
  ~Watch() {
    while (!has_ended_) {
      try {
        if (process_) process_.kill(SIGKILL);
        read_reply();
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
    return result_;
  }

 private:
  bool over() const {
    return has_ended_ && ((!pipes_.output && !pipes_.errors && !pipes_.report) || Clock::now() >= deadline_);
  }

  void step(const std::stop_token& stop) {
    std::array<pollfd, 5> waits = {{{pipes_.output.get(), POLLIN, 0},
                                    {pipes_.errors.get(), POLLIN, 0},
                                    {pipes_.report.get(), POLLIN, 0},
                                    {has_ended_ ? -1 : pipes_.reply.get(), POLLIN, 0},
                                    {killed_ ? -1 : wake_.get(), POLLIN, 0}}};
    if (::poll(waits.data(), waits.size(), wait_time()) < 0 && errno != EINTR)
      throw SystemError(errno, "poll");
    if (waits[0].revents != 0) pump(pipes_.output, 1);
    if (waits[1].revents != 0) pump(pipes_.errors, 2);
    if (waits[2].revents != 0) read_report();
    if (waits[3].revents != 0) read_reply();
    if (!has_ended_ && !killed_ && deadline_ != Clock::time_point::max() && Clock::now() >= deadline_)
      result_.timed_out = true;
    // Killing the first process of the namespace kills all of it. It may not have been started yet.
    if ((stop.stop_requested() || result_.timed_out) && process_ && !killed_)
      killed_ = process_.kill(SIGKILL);
  }

  int wait_time() const {
    if (deadline_ == Clock::time_point::max() || (killed_ && !has_ended_)) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
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
    if (size != static_cast<ssize_t>(sizeof(launch::Ended)))
      throw Error("the launcher of RUN commands ended unexpectedly");
    std::memcpy(&result_.ended, bytes, sizeof result_.ended);
    has_ended_ = true;
    deadline_ = Clock::now() + kDrainTime;
  }

  void started(const char* bytes, msghdr& header) {
    launch::Started message;
    std::memcpy(&message, bytes, sizeof message);
    if (message.error_number != 0)
      throw SystemError(message.error_number, "start", "a process in new namespaces");
    const cmsghdr* rights = CMSG_FIRSTHDR(&header);
    int fd = -1;
    if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    process_ = Pidfd(UniqueFd(fd));
  }

  LaunchPipes pipes_;
  const std::function<void(int, std::string_view)>& output_;
  UniqueFd wake_;
  std::vector<char> buffer_;
  Pidfd process_;
  WatchResult result_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool killed_ = false;
  bool has_ended_ = false;
};

}  // namespace

WatchResult watch_launch(LaunchPipes pipes, const SandboxSpec& spec,
                         const std::function<void(int, std::string_view)>& output, std::stop_token stop) {
  return Watch(std::move(pipes), spec, output).run(std::move(stop));
}

}  // namespace imgbuild::builder
