"""`expunge report`: the page of an audit, made again from its files."""

from pathlib import Path

import click

from expunge.report import write_report


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--no-images", is_flag=True, help="Leave the forgotten images out: they are what should be forgotten.")
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page.  [default: report.html beside audit.json]",
)
def command(folder: Path, no_images: bool, out: Path | None) -> int:
    """Write the page of the audit in FOLDER, or of the run there: one file that opens in any browser, offline."""
    click.echo(f"wrote {write_report(folder, images=not no_images, out=out)}")
    return 0
