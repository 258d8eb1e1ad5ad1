"""`expunge requests init`."""

from pathlib import Path
from typing import Any

import click

from expunge.base.settings import from_mapping, nest
from expunge.cli import options
from expunge.cli.requests.sources import absolute_source
from expunge.cli.say import say
from expunge.jobs.inputs import model_source
from expunge.jobs.job import ModelPart
from expunge.methods import METHODS
from expunge.methods.table import DEFAULT_METHOD
from expunge.requests.approval import Approval
from expunge.requests.create import DEFAULT_BUDGET, Plan, create_project
from expunge.requests.place import DEFAULT_DATABASE, read_settings
from expunge.task.task import Strength


@click.command(context_settings={"max_content_width": 110})
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", required=True, metavar="SOURCE", help="As in `expunge run`.")
@click.option("--weights", metavar="FILE", help="Safetensors, or a checkpoint of plain tensors; or `pretrained`.")
@click.option("--weights-key", metavar="KEY", help="Which of several states in the file.")
@click.option("--classes", metavar="NAME,NAME", help=options.CLASSES)
@click.option("--num-classes", type=click.IntRange(min=2), help="Where the weights don't say.")
@click.option("--mean", metavar="M[,M,M]", help="Normalisation mean, for pixels in 0..1.")
@click.option("--std", metavar="S[,S,S]", help="Normalisation standard deviation.")
@click.option("--resize", type=click.IntRange(min=1), help="Shorter side of images; default: what the classifier says.")
@click.option("--crop", type=click.IntRange(min=1), help="Centre square; default: what the classifier says.")
@click.option(
    "--data",
    metavar="SOURCE",
    help="Where test images are, to measure drift on; without them it is estimated on surrogates.",
)
@click.option("--method", type=click.Choice(list(METHODS)), default=DEFAULT_METHOD, show_default=True)
@click.option("--strength", type=click.Choice([strength.value for strength in Strength]), help="Exact, or copies too.")
@options.settings("A setting of the method; may repeat.")
@click.option(
    "--budget",
    type=float,
    default=DEFAULT_BUDGET,
    show_default=True,
    help="Points of test accuracy lost after which it is time to retrain; without test images, that can't be told.",
)
@click.option(
    "--database", default=DEFAULT_DATABASE, show_default=True, help="A SQLAlchemy URL; the password is set elsewhere."
)
@click.option(
    "--keepers",
    is_flag=True,
    help="Keep something of each image, sealed, that lets it be held and checked after its picture is deleted.",
)
@click.option(
    "--approval",
    type=click.Choice([approval.value for approval in Approval]),
    default=Approval.NONE.value,
    show_default=True,
    help="Who approves a request, at the desk, before it is applied: nobody; one person; or one who did not add it.",
)
@click.option("--key", help="Key file, from the folder; better not in it.  [default: beside it, with its name]")
def command(folder: Path, **flags: Any) -> None:  # noqa: ANN401 - click's values
    """Make a project in FOLDER around a trained classifier.

    The folder gets a copy of the weights and an empty ledger; the key lies beside it. Whoever has the key and a picture
    can tell whether the picture was in a request, and can read images that are kept; without it, nobody can. The
    newest entry is noted beside the key, so that an older copy of the folder does not pass for it.
    """
    given = {
        "architecture": absolute_source(flags["model"]),
        **{name: flags[name] for name in ("weights", "weights_key", "classes", "num_classes", "mean", "std")},
    }
    plan = Plan(
        model=model_source(from_mapping(ModelPart, given)),
        resize=flags["resize"],
        crop=flags["crop"],
        data=None if flags["data"] is None else absolute_source(flags["data"]),
        method=flags["method"],
        settings=nest(options.read_pairs(flags["settings"])),
        strength=None if flags["strength"] is None else Strength(flags["strength"]),
        budget=flags["budget"],
        database=flags["database"],
        key=flags["key"],
        keepers=flags["keepers"],
        approval=Approval(flags["approval"]),
    )
    ledger = create_project(folder, plan)
    key = (folder / read_settings(folder)["key"]).resolve()
    say(f"made {folder} around the weights {ledger.state.weights_sha256[:12]}...; keep a backup of its key {key}")
