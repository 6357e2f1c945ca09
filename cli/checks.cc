#include "cli/checks.h"

#include <unistd.h>

#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "builder/base_resolver.h"
#include "builder/build_inputs.h"
#include "builder/check_call.h"
#include "builder/check_resolver.h"
#include "builder/evaluate.h"
#include "builder/plan_dump.h"
#include "builder/subrequests.h"
#include "cli/render_error.h"
#include "cli/store_session.h"
#include "parser/parser.h"

namespace imgbuild::cli {

namespace {

enum class Format { text, our_json, reference_json };

struct Call {
  builder::Subrequest what;
  Format format = Format::text;
};

Call parse_call(const std::string& text) {
  const auto fields = split_csv(text);
  const std::string name = fields[0] == "check" ? "lint" : fields[0];
  Call call{builder::parse_subrequest(name)};
  for (std::size_t i = 1; i < fields.size(); ++i) {
    if (fields[i] == "format=json")
      call.format = Format::our_json;
    else if (fields[i] == "format=reference-json")
      call.format = Format::reference_json;
    else if (fields[i] == "format=text")
      call.format = Format::text;
    else
      throw Error(cat("--call: \"", printable(fields[i]), "\" must be format=text or format=json"),
                  ExitCode::usage);
  }
  return call;
}

std::string error_text(const builder::CheckError& found) {
  Error error(found.message, ExitCode::syntax);
  for (const auto& note : found.notes) error.add_note(note);
  if (found.where) error.locate(*found.where);
  return render_error(error, ::isatty(STDERR_FILENO) == 1);
}

int print_check(const builder::CheckResult& result, Format format) {
  switch (format) {
    case Format::our_json:
      std::cout << builder::render_check_report(result) << "\n";
      break;
    case Format::reference_json:
      std::cout << builder::render_check_json(result) << "\n";
      break;
    case Format::text:
      std::cout << builder::render_check_text(result);
      if (result.error) std::cerr << error_text(*result.error);
      if (result.status() == 0) std::cout << "Check complete, no warnings found.\n";
      break;
  }
  return result.status();
}

/// What it takes to answer: the Dockerfile read, base images findable, nothing to run with.
struct Question {
  builder::BuildRequest request;
  StoreSession session;
  builder::BuildInputs inputs;
  builder::EvaluateOptions evaluate;
  builder::HostBaseResolver bases;

  Question(const BuildOptions& options, const CommandContext& context)
      : request(make_request(options, context.environment)),
        session({.path = store_path(context.root, context.environment, ::geteuid() == 0),
                 .tier = {},
                 .with_sandbox = false},
                context.environment),
        inputs(builder::load_inputs(request, session.host(), {})),
        evaluate(builder::evaluate_options(request, inputs)),
        bases(request, session.host(), {}) {
    // Nothing will run, so nobody has to be asked: BuildKit, too, refuses these only when it is to run them.
    evaluate.allow_network_host = evaluate.allow_insecure = true;
  }
};

}  // namespace

int print_plan(const BuildOptions& options, const CommandContext& context) {
  Question question(options, context);
  const auto plan = builder::evaluate(parser::parse_dockerfile(question.inputs.dockerfile_text),
                                      question.evaluate, question.bases, [](const builder::Warned&) {});
  std::cout << builder::dump_plan(plan);
  return 0;
}

int run_call(const std::string& text, const BuildOptions& options, const CommandContext& context) {
  const Call call = parse_call(text);
  if (call.what == builder::Subrequest::describe) {
    std::cout << (call.format == Format::text ? builder::render_description_text()
                                              : builder::render_description_json());
    return 0;
  }
  Question question(options, context);
  const auto& inputs = question.inputs;
  auto& bases = question.bases;
  const auto& evaluate = question.evaluate;
  if (call.what == builder::Subrequest::lint) {
    builder::CheckResolver lenient(bases);
    const auto result = builder::check_dockerfile(inputs.dockerfile_text, evaluate, lenient);
    for (const auto& name : lenient.missing()) {
      std::cerr << "note: " << printable(name)
                << " could not be asked for; checked as if it set no variables\n";
    }
    return print_check(result, call.format);
  }
  const parser::Dockerfile file = parser::parse_dockerfile(inputs.dockerfile_text);
  if (call.what == builder::Subrequest::targets) {
    const auto targets = builder::targets_of(file);
    std::cout << (call.format == Format::text ? builder::render_targets_text(targets)
                                              : builder::render_targets_json(targets, file.source));
    return 0;
  }
  const auto outline = builder::outline_of(file, evaluate, bases);
  std::cout << (call.format == Format::text ? builder::render_outline_text(outline)
                                            : builder::render_outline_json(outline, file.source));
  return 0;
}

}  // namespace imgbuild::cli
