"""`expunge run`: the package's main job on the user's own files."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from expunge.api import DEFAULT_METHOD
from expunge.audit.record import Level
from expunge.cli import EXIT_GOAL_NOT_REACHED, EXIT_INTERRUPTED
from expunge.cli.display import Bars, show_audit, show_result
from expunge.copies import TRANSFORMS
from expunge.data import SOURCES as DATA_SOURCES
from expunge.errors import SettingsError
from expunge.jobs.job import GoalChoice, Job
from expunge.jobs.run import run_job
from expunge.methods import METHODS
from expunge.models import SOURCES as MODEL_SOURCES
from expunge.settings import from_mapping, merge, nest
from expunge.task import StopReason, Strength

EXIT_CODES = {StopReason.GOAL_REACHED: 0, StopReason.INTERRUPTED: EXIT_INTERRUPTED}
MODEL_KINDS = ", ".join(f"{kind}:NAME" for kind in MODEL_SOURCES)
DATA_KINDS = ", ".join(f"{kind}:PATH" for kind in DATA_SOURCES)


STRENGTH_HELP = "Forget the exact pixels, or transformed copies too.  [default: the method's]"
TRANSFORMS_HELP = f"What robust copies go through: {', '.join(TRANSFORMS)}, or package.module:function.  [default: all]"
AUDIT_HELP = "Look closer: quick at answers and weights, full at all that the data allow.  [default: none]"
EXAMPLE = """\b
Example:
  expunge run --model cifar:resnet20 --weights w.safetensors --mean .485,.456,.406 --std .229,.224,.225 \\
      --data npz:cifar10.npz --forget-random 16 --out edited/
"""


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@click.option("--model", "model__architecture", metavar="SOURCE", help=f"{MODEL_KINDS} or package.module:function.")
@click.option("--weights", "model__weights", metavar="FILE", help="Safetensors, or a checkpoint of plain tensors.")
@click.option("--num-classes", "model__num_classes", metavar="N", help="Where the weights don't say.")
@click.option("--mean", "model__mean", metavar="M[,M,M]", help="Normalisation mean, for pixels in 0..1.")
@click.option("--std", "model__std", metavar="S[,S,S]", help="Normalisation standard deviation.")
@click.option("--data", "data__source", metavar="SOURCE", help=f"{DATA_KINDS}.")
@click.option("--table", "data__table", metavar="FILE", help="Table of a folder: path, label, optional id, new_label.")
@click.option("--resize", "data__resize", metavar="PIXELS", help="Shorter side; default: what the classifier says.")
@click.option("--crop", "data__crop", metavar="PIXELS", help="Centre square; default: what the classifier says.")
@click.option("--retain-rows", "data__retain_rows", metavar="N", help="Retain rows to measure on.  [default: 5000]")
@click.option("--test-rows", "data__test_rows", metavar="N", help="Test rows to measure on.  [default: 10000]")
@click.option("--forget", "forget__table", metavar="FILE", help="CSV of the rows to forget: id or path, new_label.")
@click.option("--forget-rows", "forget__rows", metavar="ROWS", help="Row numbers of the training data: 3,17,40-45.")
@click.option("--forget-random", "forget__random", metavar="K", help="K random rows (with goal correct: mistakes).")
@click.option(
    "--goal",
    type=click.Choice([choice.value for choice in GoalChoice]),
    help="What the rows are to do.  [default: auto]",
)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    metavar="NAME",
    help=f"See `expunge methods`.  [default: {DEFAULT_METHOD}]",
)
@click.option("--strength", type=click.Choice([strength.value for strength in Strength]), help=STRENGTH_HELP)
@click.option("--transforms", metavar="NAME[,NAME]", help=TRANSFORMS_HELP)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the method; may repeat.")
@click.option("--seed", metavar="N", help="Source of all randomness.  [default: 0]")
@click.option("--max-steps", "max_steps", metavar="N", help="Give up after so many steps.")
@click.option("--max-seconds", "max_seconds", metavar="S", help="Give up after so many seconds.")
@click.option("--minimum-right", "minimum_right", metavar="SHARE", help="Of rows now predicted right.  [default: 0.5]")
@click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: auto]")
@click.option("--batch-size", "batch_size", metavar="N", help="Images in one pass.  [default: 256]")
@click.option("--devices", metavar="N", help="Processes on each machine, one a device.  [default: 1]")
@click.option("--nodes", metavar="N", help="Machines; with torchrun only.  [default: 1]")
@click.option("--memory-gigabytes", "memory_gigabytes", metavar="G", help="Fit batches into so much; rest on disk.")
@click.option("--audit", "audit__level", type=click.Choice([level.value for level in Level]), help=AUDIT_HELP)
@click.option("--no-images", "no_images", is_flag=True, help="Leave the forgotten images out of the audit.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A job.toml; flags win.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the result.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier result in that folder.")
def command(
    config: Path | None,
    out: Path,
    overwrite: bool,
    settings: tuple[str, ...],
    no_images: bool,
    **flags: str | None,
) -> int:
    """Edit a classifier so that chosen instances are forgotten.

    Writes the edited weights, the weight difference, predictions before and after, the job and the result to --out.
    """
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    job = read_job(config, given, settings)
    if no_images:
        job = replace(job, audit=replace(job.audit, images=False))
    outcome = run_job(job, out, progress=Bars(), overwrite=overwrite)
    if outcome.result:
        for note in outcome.notes:
            click.echo(f"note: {note}", err=True)
        show_result(outcome.edit, outcome.result, str(out))
    if outcome.audit is not None:
        show_audit(outcome.audit)
    return EXIT_CODES.get(outcome.edit.stop_reason, EXIT_GOAL_NOT_REACHED)


def read_job(config: Path | None, flags: Mapping[str, str], settings: tuple[str, ...]) -> Job:
    """Return the job of a TOML file, of flags by dotted name, or of both, in which case flags win.

    Raises:
        SettingsError: the file is no TOML, a name is unknown, or a value doesn't fit.
    """
    values = _read_toml(config) if config is not None else {}
    chosen = dict(pair.partition("=")[::2] for pair in settings)
    for pair in settings:
        if "=" not in pair:
            raise SettingsError("--set", "NAME=VALUE", pair)
    if flags.get("method", values.get("method")) != values.get("method"):
        values.pop("settings", None)
    return from_mapping(Job, merge(values, nest({**flags, **{f"settings.{name}": v for name, v in chosen.items()}})))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), "a TOML file", str(error)) from error
