// Runs one command and prints what it cost, as one line of JSON: seconds of wall clock, of processor time in
// user and system mode, and the peak resident memory of the largest process among those waited for. It is a
// program of its own because a child's peak starts at that of the process it was forked from, and because an
// interpreter's own time would blur builds of ten milliseconds.
//
//   measure OUTPUT_FILE COMMAND [ARGUMENT…]      the command's output and errors are appended to OUTPUT_FILE

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

[[noreturn]] void start(char** command, int output) {
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execvp(command[0], command);
  ::perror(command[0]);
  ::_exit(127);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    ::fputs("usage: measure OUTPUT_FILE COMMAND [ARGUMENT...]\n", stderr);
    return 2;
  }
  const int output = ::open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (output < 0) {
    ::perror(argv[1]);
    return 2;
  }
  const double begin = now();
  const pid_t child = ::fork();
  if (child < 0) {
    ::perror("fork");
    return 2;
  }
  if (child == 0) start(argv + 2, output);
  int status = 0;
  rusage used{};
  if (::wait4(child, &status, 0, &used) != child) {
    ::perror("wait4");
    return 2;
  }
  const double wall = now() - begin;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ::printf("{\"exit\": %d, \"wall\": %.6f, \"user\": %.6f, \"system\": %.6f, \"peak_kib\": %ld}\n", code,
           wall, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss);
  return 0;
}
