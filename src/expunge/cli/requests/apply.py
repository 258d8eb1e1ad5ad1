"""`expunge requests apply`."""

from pathlib import Path

import click

from expunge.cli.display import Bars
from expunge.cli.requests import options
from expunge.cli.requests.report import show_report
from expunge.compute.runtime import Runtime
from expunge.requests.apply import apply_waiting
from expunge.requests.recovery import writing
from expunge.requests.versions import Start


@click.command()
@click.argument("requests", nargs=-1)
@click.option("--batch", type=click.IntRange(min=1), help="At most so many requests in one version.  [default: all]")
@click.option(
    "--from",
    "start",
    type=click.Choice([start.value for start in Start]),
    default=Start.NEWEST.value,
    show_default=True,
    help="Edit the newest version, or the first classifier, so that it forgets all rows together: less damage after "
    "many requests, more time, and the images of all earlier requests must be kept.",
)
@options.project
@options.wait
@options.device
@options.batch_size
def command(  # noqa: PLR0913 - one for each option
    requests: tuple[str, ...],
    batch: int | None,
    *,
    start: str,
    project: Path,
    wait: float,
    device: str,
    batch_size: int,
) -> int:
    """Apply all waiting requests, or these REQUESTS (failed ones, too), and make the next version of the classifier.

    Every earlier row whose images are kept is checked, and forgotten again in the same run if it came back; requests
    without images are named as not checked. What was applied is verified in the weights as they are on the disk.
    Then images that nothing keeps are deleted.
    """
    runtime = Runtime.on(device, batch_size=batch_size, progress=Bars())
    with writing(project, wait_seconds=wait) as ledger:
        report = apply_waiting(ledger, runtime, names=requests, batch=batch, start=Start(start))
    if not report.versions and not report.failed and not report.without_images:
        click.echo("nothing is waiting")
    return show_report(report)
