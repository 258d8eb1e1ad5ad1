"""`expunge requests export`."""

from pathlib import Path

import click

from expunge.cli.export import describe
from expunge.cli.requests import project_option
from expunge.cli.say import say
from expunge.models.export import FORMATS
from expunge.requests.export import export_newest
from expunge.requests.project import Ledger


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
    size = None if shape is None else _shape(shape)
    exported, card = export_newest(ledger, out, formats or list(FORMATS), shape=size, overwrite=overwrite)
    for one in exported:
        say(describe(one))
    say(str(card))


def _shape(text: str) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected C,H,W, got {text}", param_hint="--shape") from error
    return channels, height, width
