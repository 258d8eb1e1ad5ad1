"""`expunge audit`: what an edit did, from the two classifiers and the images."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from expunge.audit.record import AUDIT_FOLDER, Level
from expunge.base.disk import leaving_nothing
from expunge.base.errors import SettingsError
from expunge.base.settings import from_mapping, nest, to_mapping
from expunge.base.toml import read_toml
from expunge.cli import options
from expunge.cli.display import show_audit
from expunge.cli.run import read_job
from expunge.cli.train import SETTINGS, read_recipe
from expunge.compute.bars import Bars
from expunge.jobs.audit import AuditJob, PoolPart, run_audit_job
from expunge.jobs.job import Job, ModelPart
from expunge.models.description import WEIGHTS_FILE
from expunge.task.edit import JOB_FILE
from expunge.training import RECIPES

EXAMPLE = """\b
Examples:
  expunge audit edited/
  expunge audit edited/ --retrained pool/ --make-retrained 3 --shadows pool/ --make-shadows 8 --set epochs=12
  expunge audit --model cifar:resnet20 --weights before.safetensors --after-weights after.safetensors \\
      --mean .485,.456,.406 --std .229,.224,.225 --data npz:cifar10.npz --forget rows.csv --out audit/
"""
SAVED = "say --model, --weights (before the edit), --data and --forget-indices, or call expunge.audit_edit in Python"
POOLS = {"shadows": "make_shadows", "retrained": "make_retrained"}


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@click.argument("run", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--level", type=click.Choice(["quick", "full"]), default="full", show_default=True)
@options.classifier(weights="Weights before the edit.", before=True)
@click.option("--after-model", "after__architecture", metavar="SOURCE", help="[default: the same as before]")
@click.option("--after-weights", "after__weights", metavar="FILE", help="Weights after the edit.")
@click.option("--after-mean", "after__mean", metavar="M[,M,M]", help="[default: the same as before]")
@click.option("--after-std", "after__std", metavar="S[,S,S]", help="[default: the same as before]")
@options.images()
@options.measured()
@options.forget(what="forgotten images")
@options.goal("[default: auto]")
@options.transforms
@options.seed("0, or the run's")
@options.device()
@click.option("--shadows", metavar="DIR", help="Classifiers trained on halves of the data, a folder each.")
@click.option("--make-shadows", metavar="N", help="Train so many of them there, where they are missing.")
@click.option("--retrained", metavar="DIR", help="Classifiers trained without the forget set, a folder each.")
@click.option("--make-retrained", metavar="N", help="Train so many of them there, where they are missing.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), help="[default: cifar]")
@options.settings(f"A setting of the recipe: {SETTINGS}.")
@click.option("--no-images", "no_images", is_flag=True, help="Leave the forgotten images out.")
@click.option("--out", "-o", type=click.Path(file_okay=False, path_type=Path), help="[default: RUN/audit]")
@options.allow_code
@click.option("--overwrite", is_flag=True, help="Write to a folder that holds other files.")
def command(  # noqa: PLR0913 - one a flag
    *,
    run: Path | None,
    level: str,
    out: Path | None,
    no_images: bool,
    allow_code: bool,
    overwrite: bool,
    recipe: str | None,
    settings: tuple[str, ...],
    **flags: str | None,
) -> int:
    """Compare a classifier before and after an edit, and write figures, tables and pictures.

    RUN is the folder of an `expunge run`, which says everything; paths in it are taken from where it was run. Without
    RUN, any two classifiers with the same classes can be compared. Classifiers to compare with (--shadows,
    --retrained) are those that `expunge train` left in the folders of DIR.
    """
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    job, after = _read_sides(run, given, allow_code=allow_code)
    pools = {name: _read_pool(given, name) for name in POOLS}
    trained = read_recipe(recipe or "cifar", settings)
    if not any(pool.folder for pool in pools.values()):
        for name, value in (("recipe", recipe), ("set", " ".join(settings))):
            if value:
                raise SettingsError(name, "none where no other classifiers are named", value, "say --shadows DIR too")
    asked = AuditJob(
        job=job,
        after=after,
        level=Level(level),
        images=not no_images,
        run=run,
        allow_code=allow_code,
        shadows=pools["shadows"],
        retrained=pools["retrained"],
        recipe=trained,
    )
    if out is None and run is None:
        raise SettingsError("out", "a folder for the audit", "none", "say --out DIR")
    folder = out or Path(run or "") / AUDIT_FOLDER
    with leaving_nothing(folder):
        audit = run_audit_job(asked, folder, progress=Bars(), overwrite=overwrite)
    show_audit(audit)
    return 0


def _read_sides(run: Path | None, given: dict[str, str], *, allow_code: bool) -> tuple[Job, ModelPart]:
    """Return the job that says what was before, and the classifier after."""
    own = {name: value for name, value in given.items() if not name.startswith(("after.", *POOLS, *POOLS.values()))}
    after = {name.removeprefix("after."): value for name, value in given.items() if name.startswith("after.")}
    if run is not None:
        said = read_toml(run / JOB_FILE)
        _refuse_contradictions(said, own, after)
        if "model" not in said and "model.architecture" not in own:
            raise SettingsError("model", "the classifier", f"none, and {run} holds only what Python knew", SAVED)
        after = {"weights": str(run / WEIGHTS_FILE)}
    elif "weights" not in after:
        raise SettingsError("after-weights", "the weights after the edit, or the folder of a run", "none")
    job = read_job(None if run is None else run / JOB_FILE, own, (), allow_code=allow_code)
    return job, from_mapping(ModelPart, {**to_mapping(replace(job.model, weights_key=None)), **nest(after)})


def _refuse_contradictions(said: Mapping[str, Any], own: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Refuse what the run says already; the folder of `Edit.save` says neither classifier nor images."""
    for name, value in own.items():
        table = name.partition(".")[0]
        if table in ("model", "forget", "goal") and table in said:
            raise SettingsError(name, "nothing that the run says already", value)
    for name, value in after.items():
        raise SettingsError(f"after.{name}", "nothing that the run says already", value)


def _read_pool(given: dict[str, str], name: str) -> PoolPart:
    values = {"folder": given.get(name), "count": given.get(POOLS[name])}
    flags = {"folder": f"--{name}", "count": f"--{POOLS[name].replace('_', '-')}", "pool": f"--{name}"}
    try:
        return from_mapping(PoolPart, {key: value for key, value in values.items() if value is not None})
    except SettingsError as error:
        raise error.renamed(flags.get(error.name, error.name)) from error
