"""`expunge requests withdraw`."""

from pathlib import Path

import click

from expunge.cli.display import Bars
from expunge.cli.requests import options
from expunge.cli.requests.report import show_report
from expunge.compute.runtime import Runtime
from expunge.requests.recovery import writing
from expunge.requests.rewind import withdraw


@click.command()
@click.argument("request")
@click.option("--reason", default="", help="Why, for the ledger.")
@options.project
@options.wait
@options.device
@options.batch_size
def command(request: str, reason: str, project: Path, wait: float, device: str, batch_size: int) -> int:
    """Take a REQUEST back. If it was applied, later versions are made anew without it, which needs their images."""
    runtime = Runtime.on(device, batch_size=batch_size, progress=Bars())
    with writing(project, wait_seconds=wait) as ledger:
        report = withdraw(ledger, request, reason, runtime)
        click.echo(f"{request}: withdrawn; version {ledger.state.newest} ({ledger.state.weights_sha256[:12]}...)")
    return show_report(report)
