"""`expunge requests undo`."""

from pathlib import Path

import click

from expunge.cli.requests import options
from expunge.requests.recovery import writing
from expunge.requests.rewind import undo


@click.command()
@options.project
@options.wait
def command(project: Path, wait: float) -> None:
    """Restore the weights before the newest version, bit for bit; its requests wait again.

    A request that should not be applied again: `expunge requests withdraw`.
    """
    with writing(project, wait_seconds=wait) as ledger:
        version = undo(ledger)
        click.echo(f"version {version.number} undone: {', '.join(version.requests)} wait again")
        click.echo(f"version {ledger.state.newest} ({ledger.state.weights_sha256[:12]}...)")
