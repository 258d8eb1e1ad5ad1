"""`expunge requests plan`."""

from pathlib import Path

import click

from expunge.base.disk import write_text
from expunge.cli.requests import project_option
from expunge.data import load_data
from expunge.requests.plan import PlannedRow, plan_retraining, to_csv
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
    training = None if data is None else load_data(data, load_first(ledger).request()).train
    rows = plan_retraining(ledger, training)
    write_text(out, to_csv(rows))
    for line in describe(ledger, rows, looked=training is not None):
        click.echo(line)
    click.echo(str(out))


def describe(ledger: Ledger, rows: list[PlannedRow], *, looked: bool) -> list[str]:
    """Return the plan in a few lines."""
    model, state = ledger.state.created["model"], ledger.state
    images = {(one.request, one.id) for one in rows}
    relabelled = {(one.request, one.id) for one in rows if one.new_label is not None}
    lines = [
        f"{len(images)} images of {len({name for name, _ in images})} requests: train {model['architecture']} with "
        f"{model['num_classes']} classes on the training data without {len(images - relabelled)} of them"
        + (f", and {len(relabelled)} with their new labels" if relabelled else "")
    ]
    if looked:
        missing = {(one.request, one.id) for one in rows if one.row is None}
        lines.append(f"found in the training data: {len(images - missing)} of {len(images)}")
    if state.newest:
        drift = state.versions[state.newest].figures["drift"]
        lines.append(f"drift: {drift['spent']:.2f} of {drift['budget']:g} points on {drift['measured_on']}")
    return [*lines, "then make a new project around the new weights; this one stays as the record"]
