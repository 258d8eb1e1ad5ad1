"""`expunge tune`: settings of a method for a classifier, as a recipe that `expunge run --config` takes."""

import shlex
import sys
from pathlib import Path

import click

from expunge.base.disk import leaving_nothing
from expunge.base.settings import from_mapping, nest
from expunge.cli import EXIT_INTERRUPTED, options
from expunge.cli.say import say
from expunge.compute.bars import Bars
from expunge.jobs.tune import RECIPE, TuneJob, run_tune_job
from expunge.task.goals import GOALS

EXAMPLE = """\b
Example:
  expunge tune mu-mis --model cifar:resnet20 --weights w.safetensors --mean .485,.456,.406 --std .229,.224,.225 \\
      --data npz:cifar10.npz --trials 20 --out tuned/
  expunge run --config tuned/recipe.toml --model ... --data ... --forget-random 16 --out edited/
"""


@click.command(context_settings={"max_content_width": 110}, epilog=EXAMPLE)
@click.argument("method")
@options.classifier()
@options.images(source=f"{options.DATA_KINDS}; with test images.", table=None)
@options.measured("judge", retain=2000, test=2000)
@click.option("--goal", type=click.Choice(list(GOALS)), help="[default: the method's first]")
@options.strength
@click.option("--forget-rows", "forget_rows", metavar="K", help="Images of each forget set.  [default: 16]")
@click.option("--forget-sets", "forget_sets", metavar="N", help="Forget sets of every trial.  [default: 2]")
@click.option("--range", "ranges", multiple=True, metavar="NAME=LOW..HIGH", help="Search this setting; may repeat.")
@options.settings("Keep this setting; may repeat.")
@click.option("--trials", metavar="N", help="Trials in all.  [default: 20]")
@click.option("--seconds", metavar="S", help="Begin no trial after so many seconds of trials.")
@options.seed()
@options.device()
@options.out("Begin anew, and replace an earlier result in that folder.")
def command(out: Path, overwrite: bool, settings: tuple[str, ...], ranges: tuple[str, ...], **flags: str | None) -> int:
    """Search settings of METHOD for a classifier.

    Every trial is judged on the same forget sets, drawn at random with seeds of their own, and on retain and test
    images. Writes recipe.toml, which `expunge run --config` takes, and trials.csv to --out. A search that was stopped
    goes on when the same command is given again, also with more --trials.
    """
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    pairs = {"settings": options.read_pairs(settings), "ranges": options.read_pairs(ranges, "--range")}
    job = from_mapping(TuneJob, {**nest(given), **pairs})
    line = shlex.join(["expunge", *sys.argv[1:]])
    try:
        with leaving_nothing(out):
            best = run_tune_job(job, out, command=line, progress=Bars(), overwrite=overwrite)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on after the last whole trial in {out}", err=True)
        return EXIT_INTERRUPTED
    for name, value in best.values.items():
        say(f"{name} = {value:.6g}")
    say(f"score {best.score:.2f}; saved to {out / RECIPE}")
    return 0
