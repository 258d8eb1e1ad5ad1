"""What the command line shows of an edit and of an audit."""

from collections.abc import Mapping
from typing import Any

import click

from expunge.audit.record import REPORT_FILE, Audit
from expunge.cli.tables import show_table
from expunge.methods import METHODS
from expunge.methods.protocol import Aim
from expunge.task.edit import Edit
from expunge.task.task import StopReason

STOP_WORDS = {
    StopReason.GOAL_REACHED: "the goal holds for every row",
    StopReason.COMPLETED: "the method has run its course",
    StopReason.STEP_LIMIT: "step limit; the {kept} state was kept",
    StopReason.TIME_LIMIT: "time limit; the {kept} state was kept",
    StopReason.DIVERGED: "the weights diverged; the {kept} state before was kept",
    StopReason.INTERRUPTED: "interrupted; the {kept} state was kept",
}


def show_result(edit: Edit, result: Mapping[str, Any], place: str) -> None:
    """Print the before/after table, how well the goal holds, and what it took."""
    _show_accuracies(result)
    robust = result["robust"]
    rows = len(edit.task.forget_set)
    click.echo(
        f"goal ({result['goal']}): {100 * result['goal_achieved']:.1f}% of {rows} rows, exact pixels; "
        f"{100 * robust['share']:.1f}% of {robust['copies_per_row']} fresh copies a row "
        f"(worst: {robust['worst_kind']}, {100 * robust['by_kind'][robust['worst_kind']]:.0f}%)"
    )
    if result["expected"] is not None:
        expected = result["expected"]
        click.echo(
            f"expected cost: {expected['churn']:.1f}% of other answers change, "
            f"from {expected['surrogates']} surrogates kept out of the fit"
        )
    cost = result["cost"]
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in cost["seconds_by_phase"].items())
    kept = "last" if METHODS[edit.method].aim is Aim.NEVER_SEEN else "best"
    click.echo(
        f"{STOP_WORDS[edit.stop_reason].format(kept=kept)}: {result['steps']} steps, {cost['seconds']:.1f} s "
        f"({phases}), {cost['gradient_evaluations']:,} gradient evaluations"
    )
    if cost["examples"]:
        click.echo(f"attack: {cost['examples_reached']:,} of {cost['examples']:,} examples reached their target")
    if result["measured_only"]:
        click.echo(f"{' and '.join(result['measured_only'])} data were only measured on; the edit never saw them")
    if result["retain_used"]:
        click.echo("retain data were used by the method")
    click.echo(f"saved to {place}")


def show_audit(audit: Audit) -> None:
    """Print an audit's verdict, what it flags, and where it is."""
    for sentence in audit.verdict:
        click.echo(sentence)
    flagged = [figure.title for figure in audit.figures.values() if figure.flagged]
    if flagged:
        click.echo(f"{len(flagged)} figures miss their target: {'; '.join(flagged)}")
    click.echo(f"audit saved to {audit.folder}; its page is {audit.folder / REPORT_FILE}")


def _show_accuracies(result: Mapping[str, Any]) -> None:
    rows = []
    for name, before in result["before"].items():
        after = result["after"][name]
        moved = f"{after['accuracy'] - before['accuracy']:+.1f}"
        rows.append(
            [
                name,
                f"{before['n']:,}",
                f"{before['accuracy']:.1f}",
                f"{after['accuracy']:.1f}",
                moved,
                f"{after['churn']:.1f}",
            ]
        )
    columns = ("images", "n", "before", "after", "change", "churn")
    show_table(columns, rows, title=f"accuracy in percent, method {result['method']}", numbers=True)
