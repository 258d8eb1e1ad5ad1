"""`expunge compare`: several audits side by side in one page."""

from pathlib import Path

import click

from expunge.report import write_comparison, write_comparison_drawings


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="TEXT",
    help="What an audit is called; once for each folder, in their order.  [default: its method]",
)
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), default=Path("compare.html"), show_default=True
)
@click.option(
    "--drawings",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the drawings there instead, as SVG files for a document.",
)
def command(folders: tuple[Path, ...], names: tuple[str, ...], out: Path, drawings: Path | None) -> int:
    """Set the audits in FOLDERS side by side; best after edits of the same classifier and the same images."""
    if drawings is not None:
        click.echo(f"wrote {len(write_comparison_drawings(folders, drawings, names))} drawings to {drawings}")
        return 0
    click.echo(f"wrote {write_comparison(folders, out, names)}")
    return 0
