"""`expunge demo`: three ways to forget handwritten digits side by side, in under a minute."""

from collections.abc import Sequence
from pathlib import Path

import click

from expunge.audit.record import AUDIT_FOLDER, REPORT_FILE
from expunge.base.disk import leaving_nothing
from expunge.cli.display import exit_code
from expunge.cli.flags import NameChoice
from expunge.cli.say import say
from expunge.cli.tables import show_table
from expunge.compute.bars import Bars
from expunge.jobs.demo import COMPARISON, WAYS, WHY_HARD, Way, run_demo, write_digit_files
from expunge.jobs.run import JobResult
from expunge.methods import METHODS

COLUMNS = ("way", "method", "forgotten", "copies forgotten", "right before", "right after", "changed", "seconds")
MEANING = (
    "Forgotten: percent of 16 training images that are answered otherwise; of their mirrored, shifted, resized, "
    "recompressed and noised copies. Right and changed: percent of 450 test images, before and after."
)


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("expunge-demo"),
    show_default=True,
    help="Folder for the results; earlier ones there are replaced.",
)
@click.option("--method", type=NameChoice(list(METHODS)), metavar="NAME", help="Only this one.  [default: three ways]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Source of all randomness.")
@click.option(
    "--inputs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Only write the classifier (weights.safetensors) and the images (images.npz) there, for other commands.",
)
def command(out: Path, method: str | None, seed: int, inputs: Path | None) -> int:
    """Train a small net on 1,797 handwritten digits, then make it forget 16 of its training images.

    Three ways are set side by side: least-change for the exact pixels, least-change for changed copies too, and L2UL.
    """
    say("training a small convolutional net on scikit-learn's handwritten digits ...", err=True)
    with leaving_nothing(inputs or out):
        if inputs is not None:
            write_digit_files(inputs, seed=seed, progress=Bars())
            say(f"wrote {inputs / 'weights.safetensors'} and {inputs / 'images.npz'}")
            return 0
        ways = WAYS if method is None else (Way(method, method),)
        outcomes = run_demo(out, ways=ways, seed=seed, progress=Bars())
    _show(ways, outcomes, out)
    return next(filter(None, (exit_code(each.edit, each.result) for each in outcomes)), 0)


def _show(ways: Sequence[Way], outcomes: Sequence[JobResult], out: Path) -> None:
    show_table(COLUMNS, [_row(way, outcome) for way, outcome in zip(ways, outcomes, strict=True)], numbers=True)
    say(MEANING)
    say(WHY_HARD)
    page = out / COMPARISON if len(ways) > 1 else out / ways[0].name / AUDIT_FOLDER / REPORT_FILE
    say(f"page: {page}")
    folder = out / ways[0].name
    say(f"next: expunge audit {folder}; expunge run --config {folder / 'job.toml'} --out again")


def _row(way: Way, outcome: JobResult) -> tuple[str, ...]:
    result = outcome.result
    before, after = result["before"]["test"], result["after"]["test"]
    figures = (
        100 * result["goal_achieved"],
        100 * result["goal_achieved_robust"],
        before["accuracy"],
        after["accuracy"],
        after["churn"],
        result["cost"]["seconds"],
    )
    return (way.name, way.method, *(f"{figure:.1f}" for figure in figures))
