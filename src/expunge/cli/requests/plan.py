"""`expunge requests plan`."""

from pathlib import Path

import click

from expunge.base.disk import write_text
from expunge.cli.requests import project_option
from expunge.cli.say import say
from expunge.data import load_data
from expunge.requests.images import find_places
from expunge.requests.plan import describe, plan_retraining, standing, to_csv
from expunge.requests.project import Ledger
from expunge.requests.weights import load_first


@click.command()
@click.option("--data", metavar="SOURCE", help="The training data, to look for the images in.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("retrain.csv"), show_default=True)
@project_option
def command(project: Path, data: str | None, out: Path) -> None:
    """Say what retraining would need, for the day when drift is over the budget, and write which images are concerned.

    The table in --out has a line for each image of every request that stands: which request, id, label, new label. With
    --data it also has the image's row and id in the training data, found by salted hash: its pixels must be the same.
    """
    ledger = Ledger.open(project)
    places = None
    if data is not None:
        wanted = {content for request in standing(ledger.state) for content in request.each_content()}
        places = find_places(ledger, load_data(data, load_first(ledger).request()).train, wanted)
    write_text(out, to_csv(plan_retraining(ledger, places)))
    for line in describe(ledger.state, places):
        say(line)
    say(str(out))
