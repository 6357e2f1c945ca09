#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/source_text.h"

namespace imgbuild {

/// What kind of failure this is, as the process reports it. The number is the exit code.
enum class ExitCode : int {
  ok = 0,
  failure = 1,        ///< any failure without a code of its own
  usage = 2,          ///< the command line itself is wrong
  syntax = 3,         ///< the Dockerfile or an ignore file is wrong
  step_failed = 4,    ///< a RUN command failed
  network = 5,        ///< a registry or server could not be used
  integrity = 6,      ///< bytes do not match their digest, size or format
  system = 7,         ///< the operating system refused something
  unsupported = 8,    ///< understood, but not possible here
  interrupted = 130,  ///< stopped by the user
};

/// Something a user can act on. Carries the message (what is wrong), optionally the place (where in the
/// Dockerfile), the contexts it rose through (what was going on, innermost first) and notes (what to try).
/// Only `cli/render_error` decides how that looks. Copyable, as exceptions must be.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string message, ExitCode code = ExitCode::failure)
      : std::runtime_error(message), message_(std::move(message)), code_(code) {}

  const std::string& message() const noexcept { return message_; }
  ExitCode code() const noexcept { return code_; }

  /// Pins the error to a place, unless a deeper handler already gave a more precise one.
  void locate(const SourceRange& where) {
    if (!where_) where_ = where;
  }
  const std::optional<SourceRange>& where() const noexcept { return where_; }

  void add_context(std::string text) { context_.push_back(std::move(text)); }
  const std::vector<std::string>& context() const noexcept { return context_; }

  void add_note(std::string text) { notes_.push_back(std::move(text)); }
  const std::vector<std::string>& notes() const noexcept { return notes_; }

  /// Same error, one more note: `throw Error("…").with_note("try …")`. Slices to Error; subclasses that
  /// must keep their type call add_note() before they throw.
  Error with_note(std::string text) && {
    add_note(std::move(text));
    return std::move(*this);
  }

 private:
  std::string message_;
  ExitCode code_;
  std::optional<SourceRange> where_;
  std::vector<std::string> context_;
  std::vector<std::string> notes_;
};

/// The Dockerfile, an ignore file or an option value breaks its grammar.
class SyntaxError : public Error {
 public:
  explicit SyntaxError(std::string message) : Error(std::move(message), ExitCode::syntax) {}
  SyntaxError(std::string message, const SourceRange& where) : Error(std::move(message), ExitCode::syntax) {
    locate(where);
  }
};

/// Bytes are not what their digest, size, checksum or format says.
class IntegrityError : public Error {
 public:
  explicit IntegrityError(std::string message) : Error(std::move(message), ExitCode::integrity) {}
};

/// A registry or another server failed, refused or answered nonsense.
class RegistryError : public Error {
 public:
  explicit RegistryError(std::string message) : Error(std::move(message), ExitCode::network) {}
};

/// Understood, but this machine, tier or version cannot do it.
class UnsupportedError : public Error {
 public:
  explicit UnsupportedError(std::string message) : Error(std::move(message), ExitCode::unsupported) {}
};

/// A system call failed. `error_number()` is the errno it left.
class SystemError : public Error {
 public:
  /// `operation` is the call or action ("open"), `subject` what it was applied to (a path, mostly).
  SystemError(int error_number, std::string_view operation, std::string_view subject = {});
  int error_number() const noexcept { return errno_; }

 private:
  int errno_;
};

/// A RUN command ended with a failure. The tail of its output travels with it.
class StepFailed : public Error {
 public:
  StepFailed(std::string message, int exit_code, std::string output_tail)
      : Error(std::move(message), ExitCode::step_failed),
        exit_code_(exit_code),
        output_tail_(std::move(output_tail)) {}
  int exit_code() const noexcept { return exit_code_; }
  const std::string& output_tail() const noexcept { return output_tail_; }

 private:
  int exit_code_;
  std::string output_tail_;
};

/// The user asked to stop. Deliberately not an Error, so that no handler of failures swallows it.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

}  // namespace imgbuild
