"""`expunge requests plan`."""

from pathlib import Path

import click

from expunge.base.disk import write_text
from expunge.cli.requests import project_option
from expunge.cli.say import say
from expunge.data import load_data
from expunge.requests.images import find_places
from expunge.requests.plan import describe, plan_retraining, standing, to_csv, to_relabel_csv
from expunge.requests.project import Ledger
from expunge.requests.weights import load_first


@click.command()
@click.option("--data", metavar="SOURCE", help="The training data, to look for the images in.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("retrain.csv"), show_default=True)
@project_option
def command(project: Path, data: str | None, out: Path) -> None:
    """Say what retraining would need, for the day when drift is over the budget, and write which images are concerned.

    With --data, the table in --out is one for `expunge train --leave-out`: it has the row and id of each training image
    to leave out, found by salted hash (its pixels must be the same), and the requests that it is of. Without --data, it
    has the latter alone. Images that are to get new labels are in a second table, with -relabel at the end of its name.
    """
    ledger = Ledger.open(project)
    places = None
    if data is not None:
        wanted = {content for request in standing(ledger.state) for content in request.each_content()}
        places = find_places(ledger, load_data(data, load_first(ledger).request()).train, wanted)
    rows = plan_retraining(ledger, places)
    write_text(out, to_csv(rows))
    for line in describe(ledger.state, places):
        say(line)
    say(f"{out}: to leave out" + (" by `expunge train --leave-out`" if places is not None else ""))
    relabelled = out.with_name(f"{out.stem}-relabel{out.suffix}")
    if any(row.new_label is not None for row in rows):
        write_text(relabelled, to_relabel_csv(rows))
        say(f"{relabelled}: to get these new labels in the data first, or to leave out as well")
    elif relabelled.exists():
        relabelled.unlink()
        say(f"{relabelled}: of an earlier plan, and deleted, since no image is to get a new label")
