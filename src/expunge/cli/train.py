"""`expunge train`: a classifier from labelled images, with or without some of them."""

from pathlib import Path

import click

from expunge.base.disk import leaving_nothing
from expunge.base.settings import describe_settings, from_mapping, nest, to_mapping
from expunge.cli import EXIT_INTERRUPTED, options
from expunge.cli.say import say
from expunge.compute.bars import Bars
from expunge.jobs.train import TrainJob, run_train_job
from expunge.training import RECIPES, Recipe

EXAMPLE = """\b
Example:
  expunge train --model cifar:resnet20 --mean .485,.456,.406 --std .229,.224,.225 --data npz:cifar10.npz \\
      --set epochs=30 --leave-out-run edited/ --out retrained/
"""
SETTINGS = ", ".join(item.name for item in describe_settings(Recipe))


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@options.classifier(
    weights="Weights to start from.  [default: random ones]", num_classes="[default: as many as the data have]"
)
@options.images(table="path, label, optional id")
@click.option("--train-rows", "train_rows", metavar="N", help="Only so many images, at random.  [default: all]")
@click.option("--leave-out", "leave_out__table", metavar="FILE", help="CSV of images never to train on: id or path.")
@click.option("--leave-out-rows", "leave_out__rows", metavar="ROWS", help="The same as indices: 3,17,40-45.")
@click.option("--leave-out-run", "leave_out__run", metavar="DIR", help="The images that an `expunge run` forgot.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="cifar", show_default=True)
@options.settings(f"A setting of the recipe: {SETTINGS}.")
@options.seed()
@options.device("Images in one pass of measuring.")
@options.out("Start anew, and replace an earlier result in that folder.")
def command(out: Path, overwrite: bool, recipe: str, settings: tuple[str, ...], **flags: str | None) -> int:
    """Train a classifier; leaving images out makes the one that never saw them, to compare an edit with.

    Writes model.safetensors, which `expunge run --weights` takes, and train.json to --out. A training that was
    stopped goes on from its last epoch when the same command is given again.
    """
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    job = from_mapping(TrainJob, {**nest(given), "recipe": to_mapping(read_recipe(recipe, settings))})
    try:
        with leaving_nothing(out):
            result = run_train_job(job, out, progress=Bars(), overwrite=overwrite)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on from the last whole epoch in {out}", err=True)
        return EXIT_INTERRUPTED
    for name, figures in result["accuracy"].items():
        say(f"{name.replace('_', ' ')}: {figures['accuracy']:.2f}% of {figures['n']:,}")
    say(f"saved to {out}")
    return 0


def read_recipe(name: str, pairs: tuple[str, ...]) -> Recipe:
    """Return the recipe of that name with settings of the form NAME=VALUE over its own.

    Raises:
        SettingsError: a pair of another form, an unknown setting, or a value that doesn't fit.
    """
    return from_mapping(Recipe, {**to_mapping(RECIPES[name]), **options.read_pairs(pairs)}, "recipe.")
