"""`expunge report` and `expunge compare`: the page of an audit, made again from its files, or of several audits."""

from pathlib import Path

import click

from expunge.audit.audit_json import read_audit
from expunge.base.folders import locked_folder
from expunge.cli.say import say
from expunge.report import (
    find_audit,
    find_browser,
    write_comparison,
    write_comparison_drawings,
    write_pdf,
    write_report,
    write_report_drawings,
)

WAIT_SECONDS = 10
"""For another command that writes to the same folder."""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--no-images", is_flag=True, help="Leave the forgotten images out: they are what should be forgotten.")
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page.  [default: report.html beside audit.json]",
)
@click.option(
    "--drawings",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the drawings there instead, as SVG files for a document; none shows a forgotten image.",
)
@click.option("--pdf", is_flag=True, help="Write a PDF beside the page, too; that takes an installed Chromium.")
@click.option("--recompute", is_flag=True, help="First compute every figure and table again from what was gathered.")
def report(folder: Path, no_images: bool, out: Path | None, drawings: Path | None, pdf: bool, recompute: bool) -> int:
    """Write the page of the audit in FOLDER, or of the run there: one file that opens in any browser, offline."""
    found = find_audit(folder)
    if recompute:
        from expunge.audit.run import recompute_audit  # noqa: PLC0415 - imports torch

        read_audit(found)
        with locked_folder(found):
            recompute_audit(found)
    if drawings is not None:
        say(f"wrote {len(write_report_drawings(folder, drawings))} drawings to {drawings}")
        return 0
    if pdf:
        find_browser()
    read_audit(found)
    with locked_folder(found if out is None else out.parent, wait_seconds=WAIT_SECONDS):
        page = write_report(folder, images=not no_images, out=out)
        say(f"wrote {page}")
        if pdf:
            say(f"wrote {write_pdf(page, page.with_suffix('.pdf'))}")
    return 0


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
def compare(folders: tuple[Path, ...], names: tuple[str, ...], out: Path, drawings: Path | None) -> int:
    """Set the audits in FOLDERS side by side; best after edits of the same classifier and the same images."""
    if drawings is not None:
        say(f"wrote {len(write_comparison_drawings(folders, drawings, names))} drawings to {drawings}")
        return 0
    with locked_folder(out.parent, wait_seconds=WAIT_SECONDS):
        say(f"wrote {write_comparison(folders, out, names)}")
    return 0
