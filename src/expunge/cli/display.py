"""What the command line shows of an edit and of an audit."""

from collections.abc import Mapping
from typing import Any

from expunge.audit.record import REPORT_FILE, Audit
from expunge.cli import EXIT_GOAL_NOT_REACHED, EXIT_INTERRUPTED, EXIT_RUINED
from expunge.cli.say import say
from expunge.cli.tables import show_table
from expunge.methods import METHODS
from expunge.methods.protocol import Aim
from expunge.task.edit import Edit
from expunge.task.outcome import Outcome
from expunge.task.task import StopReason
from expunge.task.words import goal_words, line_of

STOP_WORDS = {
    StopReason.GOAL_REACHED: "the goal holds for every row",
    StopReason.COMPLETED: "the method has run its course",
    StopReason.STEP_LIMIT: "step limit; the {kept} state was kept",
    StopReason.TIME_LIMIT: "time limit; the {kept} state was kept",
    StopReason.DIVERGED: "the weights diverged; the {kept} state before was kept",
    StopReason.INTERRUPTED: "interrupted; the {kept} state was kept",
}
FORMS = (".1f", ".1f", "+.1f", ".1f")
MORE_EFFORT = {
    "quick": "with --effort standard fewer other answers would change, see docs/least_change.md",
    "standard": "with --effort thorough fewer other answers may change: up to a third fewer where edits are exact; the "
    "first edit of a classifier takes minutes then",
}
"""What more time would buy, see benchmarks/results/effort."""
EXIT_CODES = {
    Outcome.REACHED: 0,
    Outcome.MISSED: EXIT_GOAL_NOT_REACHED,
    Outcome.RUINED: EXIT_RUINED,
    Outcome.INTERRUPTED: EXIT_INTERRUPTED,
}


def show_result(edit: Edit, result: Mapping[str, Any], place: str) -> None:
    """Print the before/after table, how well the goal holds, and what it took."""
    _show_accuracies(result)
    for sentence in result["verdict"]:
        say(sentence)
    robust, words = result["robust"], goal_words(result["goal"], result["forgotten_class"])
    say(
        f"goal ({result['goal']}): {100 * result['goal_achieved']:.1f}% of {len(edit.task.forget_set)} rows, exact "
        f"pixels; {100 * robust['share']:.1f}% of {robust['copies_per_row']} fresh copies a row {words.held} "
        f"(worst: {robust['worst_kind']}, {100 * robust['by_kind'][robust['worst_kind']]:.0f}%)"
    )
    if result["expected"] is not None:
        expected = result["expected"]
        say(
            f"expected cost: {expected['churn']:.1f}% of the answers to {expected['surrogates']} surrogates, which had "
            "no part in the edit, changed; on photographs it is usually less"
        )
    cost = result["cost"]
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in cost["seconds_by_phase"].items())
    kept = "last" if METHODS[edit.method].aim is Aim.NEVER_SEEN else "best"
    say(
        f"{STOP_WORDS[edit.stop_reason].format(kept=kept)}: {result['steps']} steps, {cost['seconds']:.1f} s "
        f"({phases}), {cost['gradient_evaluations']:,} gradient evaluations"
    )
    if cost["examples"]:
        say(f"attack: {cost['examples_reached']:,} of {cost['examples']:,} examples reached their target")
    if result["measured_only"]:
        say(f"{' and '.join(result['measured_only'])} data were only measured on; the edit never saw them")
    if result["retain_used"]:
        say("retain data were used by the method")
    if result["settings"].get("effort") in MORE_EFFORT:
        say(MORE_EFFORT[result["settings"]["effort"]])
    say(f"saved to {place}")


def show_audit(audit: Audit) -> None:
    """Print an audit's verdict, what it flags, and where it is."""
    for sentence in audit.verdict:
        say(sentence)
    flagged = [figure.title for figure in audit.figures.values() if figure.flagged]
    if flagged:
        say(f"{len(flagged)} figures miss their target: {'; '.join(flagged)}")
    say(f"audit saved to {audit.folder}; its page is {audit.folder / REPORT_FILE}")


def exit_code(edit: Edit, result: Mapping[str, Any]) -> int:
    """Return with which code a command ends after this edit; a process that saves nothing has an empty result."""
    if result:
        return EXIT_CODES[Outcome(result["outcome"])]
    by_reason = {StopReason.GOAL_REACHED: Outcome.REACHED, StopReason.INTERRUPTED: Outcome.INTERRUPTED}
    return EXIT_CODES[by_reason.get(edit.stop_reason, Outcome.MISSED)]


def _show_accuracies(result: Mapping[str, Any]) -> None:
    """Print accuracies before and after; the first line counts what the goal speaks of, and says what it should be."""
    words = goal_words(result["goal"], result["forgotten_class"])
    title = f"accuracy in percent, method {result['method']}; {words.line}: {words.share}"
    if words.wanted is not None:
        title += f", wanted {words.wanted:.0f}"
    rows = []
    for name, before in result["before"].items():
        after = result["after"][name]
        figures = (before["accuracy"], after["accuracy"], after["accuracy"] - before["accuracy"], after["churn"])
        line = line_of(name, result["goal"], result["forgotten_class"])
        rows.append([line, f"{before['n']:,}", *(f"{each:{form}}" for each, form in zip(figures, FORMS, strict=True))])
    show_table(("images", "n", "before", "after", "change", "churn"), rows, title=title, numbers=True)
