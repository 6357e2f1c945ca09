#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/source_text.h"

namespace imgbuild::parser {

/// The body of a here-document (HDC-1…15).
struct Heredoc {
  std::string name;    ///< delimiter without quotes; names the file in COPY/ADD
  std::string data;    ///< body as written (tabs of `<<-` still there, see `chomp`)
  bool expand = true;  ///< no part of the delimiter was quoted
  bool chomp = false;  ///< written `<<-`: leading tabs are to be stripped
  /// The body with the tabs of `<<-` removed.
  std::string stripped() const;
};

/// A command that has a shell form and an exec form.
struct CommandLine {
  std::vector<std::string> words;  ///< shell form: exactly one string, the whole text
  bool shell_form = true;
  std::vector<Heredoc> heredocs;  ///< RUN only
};

struct KeyValue {
  std::string key;
  std::string value;
  bool operator==(const KeyValue&) const = default;
};

struct FromInstruction {
  std::string base;                       ///< unexpanded
  std::optional<std::string> platform;    ///< unexpanded value of --platform
  std::optional<std::string> stage_name;  ///< lower-cased, valid
  std::string stage_name_as_written;
  std::string as_keyword;  ///< "AS" as the user spelled it
  std::string doc;         ///< description from the comments above (PAR-71)
};

struct RunInstruction {
  CommandLine command;
  std::vector<std::string> mounts;  ///< raw values of --mount, in order; see parser/mount_options.h
  std::optional<std::string> network;
  std::optional<std::string> security;
  std::vector<std::string> devices;
};

/// One here-document used as a source of COPY or ADD.
struct InlineSource {
  std::string path;  ///< the delimiter
  std::string data;  ///< unexpanded, tabs of `<<-` removed
  bool expand = true;
};

/// COPY and ADD. `sources`, `destination`, `chown`, `chmod`, `checksum` are unexpanded.
struct CopyInstruction {
  bool is_add = false;
  std::vector<std::string> sources;
  std::vector<InlineSource> inline_sources;
  std::string destination;
  std::optional<std::string> from;
  std::string chown;
  std::string chmod;
  bool link = false;
  bool parents = false;
  std::vector<std::string> excludes;
  std::string checksum;              ///< ADD
  std::optional<bool> keep_git_dir;  ///< ADD
  std::optional<bool> unpack;        ///< ADD
};

struct EnvInstruction {
  std::vector<KeyValue> pairs;
  bool legacy_form = false;
};
struct LabelInstruction {
  std::vector<KeyValue> pairs;
  bool legacy_form = false;
};
struct ArgDefinition {
  std::string key;
  std::optional<std::string> value;  ///< unexpanded default
  std::string doc;
};
struct ArgInstruction {
  std::vector<ArgDefinition> args;
};
struct WorkdirInstruction {
  std::string path;
};
struct UserInstruction {
  std::string user;
};
struct CmdInstruction {
  CommandLine command;
};
struct EntrypointInstruction {
  CommandLine command;
};
struct ShellInstruction {
  std::vector<std::string> words;
};
struct ExposeInstruction {
  std::vector<std::string> ports;
};  ///< sorted as strings (PAR-57), unexpanded
struct VolumeInstruction {
  std::vector<std::string> paths;
};
struct StopSignalInstruction {
  std::string signal;
};
struct MaintainerInstruction {
  std::string name;
};
struct OnBuildInstruction {
  std::string expression;
};
struct HealthcheckInstruction {
  /// Test words as the image config stores them: {"NONE"}, {"CMD-SHELL", text} or {"CMD", word…}.
  std::vector<std::string> test;
  std::int64_t interval_ns = 0, timeout_ns = 0, start_period_ns = 0, start_interval_ns = 0;
  int retries = 0;
};

using InstructionBody =
    std::variant<FromInstruction, RunInstruction, CopyInstruction, EnvInstruction, LabelInstruction,
                 ArgInstruction, WorkdirInstruction, UserInstruction, CmdInstruction, EntrypointInstruction,
                 ShellInstruction, ExposeInstruction, VolumeInstruction, StopSignalInstruction,
                 MaintainerInstruction, OnBuildInstruction, HealthcheckInstruction>;

/// One Dockerfile statement. Immutable once parsed.
struct Instruction {
  InstructionBody body;
  std::string keyword;  ///< as the user spelled it
  SourceRange where;    ///< 1-based, continuation lines and heredoc bodies included
  std::string text;     ///< the joined logical line as written ("original" in cases/parser.json)
  std::vector<std::string> comments;  ///< the comment block directly above, for LNT-6 and doc comments
};

/// A FROM and what follows it.
struct Stage {
  Instruction from;                   ///< holds a FromInstruction
  std::vector<Instruction> commands;  ///< never a FROM
  const FromInstruction& from_body() const { return std::get<FromInstruction>(from.body); }
};

struct SyntaxDirective {
  std::string reference;  ///< up to the first blank
  std::string command_line;
  int line = 0;
};

/// A finding that needs no evaluation (empty continuation lines and the like).
struct ParseWarning {
  std::string rule;  ///< name from dockerfile.md section 8.2
  std::string detail;
  SourceRange where;
};

/// A parsed file. Nothing is expanded yet, and no name is resolved.
struct Dockerfile {
  std::shared_ptr<const SourceText> source;
  char escape = '\\';
  std::optional<SyntaxDirective> syntax;
  std::optional<std::string> check;  ///< value of the check directive (PAR-20)
  int check_line = 0;
  std::vector<Instruction> global_args;  ///< ARG lines before the first FROM
  std::vector<Stage> stages;
  std::vector<ParseWarning> warnings;
};

}  // namespace imgbuild::parser
