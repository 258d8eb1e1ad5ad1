"""`expunge run`: the package's main job on the user's own files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from expunge.audit.record import Level
from expunge.base.disk import leaving_nothing
from expunge.base.settings import from_mapping, merge, nest
from expunge.base.toml import read_toml
from expunge.cli import EXIT_INTERRUPTED, options
from expunge.cli.display import exit_code, show_audit, show_result
from expunge.cli.flags import NameChoice
from expunge.cli.say import say
from expunge.compute.bars import Bars
from expunge.jobs.job import Job, refuse_code
from expunge.jobs.run import is_unmeasured, run_job
from expunge.methods import METHODS
from expunge.methods.table import DEFAULT_METHOD
from expunge.training.checkpoint import CHECKPOINT_FILE

AUDIT_HELP = "Look closer: quick at answers and weights, full at all that the data allow.  [default: none]"
EXAMPLE = """\b
Example:
  expunge run --model cifar:resnet20 --weights w.safetensors --mean .485,.456,.406 --std .229,.224,.225 \\
      --data npz:cifar10.npz --forget-random 16 --out edited/
"""


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@options.classifier()
@options.images()
@options.measured()
@options.forget(random="K random images (with goal correct: mistakes).")
@options.goal("What the forget set is to do.  [default: auto]")
@click.option(
    "--method",
    type=NameChoice(list(METHODS)),
    metavar="NAME",
    help=f"See `expunge methods`.  [default: {DEFAULT_METHOD}]",
)
@options.strength
@options.effort
@options.transforms
@options.settings("A setting of the method; may repeat.")
@click.option("--reference", metavar="TEXT", help="Under which the request is filed; it stands in the report.")
@options.seed()
@click.option("--max-steps", "max_steps", metavar="N", help="Give up after so many steps.")
@click.option("--max-seconds", "max_seconds", metavar="S", help="Give up after so many seconds.")
@click.option("--minimum-right", "minimum_right", metavar="SHARE", help="Of the forget set, now right.  [default: 0.5]")
@click.option(
    "--log", metavar="LOGGER", help="Tell tensorboard:FOLDER, wandb or mlflow of every step; or several: A,B."
)
@options.device()
@click.option("--devices", metavar="N", help="Processes on each machine, one a device.  [default: 1]")
@click.option("--nodes", metavar="N", help="Machines; with torchrun only.  [default: 1]")
@click.option("--memory-gigabytes", "memory_gigabytes", metavar="G", help="Fit batches into so much; rest on disk.")
@click.option("--audit", "audit__level", type=click.Choice([level.value for level in Level]), help=AUDIT_HELP)
@click.option("--no-images", "no_images", is_flag=True, help="Leave the forgotten images out of the audit.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A job.toml; flags win.")
@options.allow_code
@options.out("Replace an earlier result in that folder.")
def command(
    config: Path | None,
    out: Path,
    overwrite: bool,
    settings: tuple[str, ...],
    no_images: bool,
    allow_code: bool,
    **flags: str | None,
) -> int:
    """Edit a classifier so that chosen instances are forgotten.

    Writes the edited weights, the weight difference, predictions before and after, the job and the result to --out.
    """
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    job = read_job(config, given, settings, allow_code=allow_code)
    if no_images:
        job = replace(job, audit=replace(job.audit, images=False))
    try:
        with leaving_nothing(out):
            outcome = run_job(job, out, progress=Bars(), overwrite=overwrite)
    except KeyboardInterrupt:
        if not is_unmeasured(out):
            raise
        say(f"interrupted while measuring; the edit is saved to {out}", err=True)
        return EXIT_INTERRUPTED
    if outcome.result:
        for note in outcome.notes:
            say(f"note: {note}", err=True)
        show_result(outcome.edit, outcome.result, str(out))
        if (out / CHECKPOINT_FILE).exists():
            say("the same command with --overwrite goes on after the last whole epoch", err=True)
    if outcome.audit is not None:
        show_audit(outcome.audit)
    return exit_code(outcome.edit, outcome.result)


def read_job(
    config: Path | None, flags: Mapping[str, str], settings: tuple[str, ...], *, allow_code: bool = False
) -> Job:
    """Return the job of a TOML file, of flags by dotted name, or of both, in which case flags win.

    Raises:
        SettingsError: the file is no TOML, a name is unknown, or a value doesn't fit; or the file names code that would
            be run, and `allow_code` is not set.
    """
    values = read_toml(config) if config is not None else {}
    chosen = options.read_pairs(settings)
    if flags.get("method", values.get("method")) != values.get("method"):
        values.pop("settings", None)
    if not allow_code:
        refuse_code(_without(values, flags), str(config))
    return from_mapping(Job, merge(values, nest({**flags, **{f"settings.{name}": v for name, v in chosen.items()}})))


def _without(values: Mapping[str, Any], flags: Mapping[str, str]) -> dict[str, Any]:
    """Return a file's values but those that flags replace."""
    kept = {name: value for name, value in values.items() if name not in flags}
    if "model.architecture" in flags:
        kept.pop("model", None)
    return kept
