#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "parser/instruction.h"

namespace imgbuild::parser {

/// Who a stage needs. Edges come from FROM, COPY --from, RUN --mount from (STG-2).
struct StageEdges {
  std::optional<std::size_t> base;       ///< index of the stage this one is FROM
  std::vector<std::size_t> copies_from;  ///< sorted, without duplicates
};

struct GraphOptions {
  bool variables_lead_on = false;       ///< COPY --from=$X adds its edge later, through `add_edge`
  std::set<std::size_t> closed_stages;  ///< stages whose instructions do not count
};

/// Names and edges of the stages of one file, before anything is executed. ONBUILD triggers add edges later
/// through `add_edge`.
class StageGraph {
 public:
  /// `expanded_bases[i]` is the FROM name of stage i after expansion. Throws SyntaxError, located at the
  /// instruction, for an index that does not exist and for a stage that needs itself, directly or not
  /// (COPY-2, MNT-25). A reference to a later stage and a variable in COPY --from (VAR-4) are mistakes only
  /// in a stage that is needed (STG-1, STG-5): then `reachable` throws.
  StageGraph(const Dockerfile& file, const std::vector<std::string>& expanded_bases,
             const GraphOptions& options = {});

  std::size_t size() const noexcept { return edges_.size(); }
  const StageEdges& edges(std::size_t stage) const { return edges_.at(stage); }

  /// The stage COPY --from=`name` of stage `user` means: an index, or a name in any case (COPY-2). Nothing
  /// when it is no stage (then a named context or an image). Throws SyntaxError for forward and self
  /// references.
  std::optional<std::size_t> find_copy_source(std::string_view name, std::size_t user) const;
  /// The stage `RUN --mount from=` means: never an index (MNT-25).
  std::optional<std::size_t> find_mount_source(std::string_view name, std::size_t user) const;
  /// The target stage: the last one without a name; any letter case. Throws Error with "did you mean"
  /// (STG-3).
  std::size_t find_target(const std::optional<std::string>& name) const;
  /// Everything `target` needs, itself included, in file order. Throws SyntaxError, located at the
  /// instruction, when one of them refers to a later stage or to a variable.
  std::vector<std::size_t> reachable(std::size_t target) const;
  void add_edge(std::size_t user, std::size_t needed);

 private:
  /// One COPY --from or mount as written.
  struct Use {
    std::string name;
    std::string mount_target;  // mounts only
    bool is_mount = false;
    SourceRange where;
  };
  static void for_each_use(const Instruction& instruction, const std::function<void(const Use&)>& visit);

  /// The stage a name or index means, wherever it stands. Throws for an index out of range.
  std::optional<std::size_t> resolve(const Use& use) const;
  std::string describe(std::size_t stage) const;
  static void refuse_variable(const Use& use);
  void note_variable(const Use& use, std::size_t user);
  void note_misuse(std::size_t user, SyntaxError error, const Use& use);
  SyntaxError later_stage(const Use& use, std::size_t user, std::size_t needed) const;
  SyntaxError circular(std::size_t stage) const;
  void add_uses(const Stage& stage, std::size_t user, bool variables_lead_on);
  void check_cycles() const;

  std::vector<StageEdges> edges_;
  std::vector<std::string> names_;                           // lower-cased, empty without one
  std::map<std::string, std::size_t, std::less<>> by_name_;  // of several, the last one (COPY-3)
  std::vector<SourceRange> from_lines_;
  std::vector<std::optional<SyntaxError>> misuse_;  // what is wrong with a stage once it is needed
};

}  // namespace imgbuild::parser
