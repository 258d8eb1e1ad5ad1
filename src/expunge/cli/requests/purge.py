"""`expunge requests purge`."""

from pathlib import Path

import click

from expunge.cli.requests import options
from expunge.requests.purge import purge_due, purge_fingerprints, purge_images
from expunge.requests.recovery import writing
from expunge.requests.state import State


@click.command()
@click.argument("requests", nargs=-1)
@click.option("--now", is_flag=True, help="Images of all verified requests, whatever date they were to be kept until.")
@click.option("--fingerprints", is_flag=True, help="Perceptual hashes too; near duplicates are then no longer found.")
@options.project
@options.wait
def command(requests: tuple[str, ...], now: bool, fingerprints: bool, project: Path, wait: float) -> None:
    """Delete kept images whose date has passed, or those of these REQUESTS, and every cache made meanwhile.

    `apply` does so by itself for requests without --keep-until. The ledger keeps path, hash and size of what went.
    Deleting a file does not overwrite the disk; older versions' weights and patches stay, since undo needs them, and
    they still hold what was unlearned. So do backups.
    """
    with writing(project, wait_seconds=wait) as ledger:
        state = ledger.state
        chosen = [state.find(name) for name in requests]
        done = state.in_state(State.VERIFIED, State.WITHDRAWN)
        deleted = purge_images(ledger, chosen or done) if requests or now else purge_due(ledger)
        for file in deleted:
            click.echo(f"deleted {file.path}  {file.sha256[:16]}...  {file.bytes} bytes")
        if fingerprints:
            count = purge_fingerprints(ledger, chosen or done)
            click.echo(f"deleted the perceptual hashes of {count} requests")
        if not deleted and not fingerprints:
            click.echo("nothing is due")
