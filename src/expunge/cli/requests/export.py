"""`expunge requests export`."""

from pathlib import Path

import click

from expunge.base.errors import LedgerError
from expunge.base.folders import output_folder
from expunge.cli.export import describe
from expunge.cli.requests import project_option
from expunge.models.description import Description
from expunge.models.export import FORMATS, export_classifier
from expunge.requests.card import CARD_FILE, write_card
from expunge.requests.project import Ledger
from expunge.requests.weights import load_first, read_current, with_weights


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the files.")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(list(FORMATS)), help="May repeat.  [default: all]"
)
@click.option("--shape", metavar="C,H,W", help="Of an image, where there is no request yet.")
@click.option("--overwrite", is_flag=True, help="Replace files in that folder.")
@project_option
def command(project: Path, out: Path, formats: tuple[str, ...], shape: str | None, overwrite: bool) -> None:
    """Write the newest classifier, each file checked for equal outputs, and a model-card section on what it forgot."""
    ledger = Ledger.open(project)
    ledger.check()
    loaded = load_first(ledger)
    classifier = with_weights(loaded.classifier, read_current(ledger))
    size = _shape(shape) if shape is not None else ledger.state.shape
    if size is None:
        raise LedgerError("--shape", "the shape C,H,W of an image", "none, and no request to tell it")
    description = Description(size, loaded.preprocessing, loaded.architecture)
    with output_folder(out, overwrite=overwrite, result=CARD_FILE):
        exported = export_classifier(classifier, description, out, formats or list(FORMATS))
        card = write_card(ledger, exported, out)
    for one in exported:
        click.echo(describe(one))
    click.echo(str(card))


def _shape(text: str) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected C,H,W, got {text}", param_hint="--shape") from error
    return channels, height, width
