"""`expunge compare`: several audits side by side in one page."""

from pathlib import Path

import click

from expunge.report import write_comparison


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), default=Path("compare.html"), show_default=True
)
def command(folders: tuple[Path, ...], out: Path) -> int:
    """Set the audits in FOLDERS side by side; best after edits of the same classifier and the same images."""
    click.echo(f"wrote {write_comparison(folders, out)}")
    return 0
