"""`expunge requests verify`; needs no torch."""

from pathlib import Path

import click

from expunge.base.errors import LedgerError
from expunge.cli import EXIT_BAD_INPUT
from expunge.cli.requests import options
from expunge.requests.project import Ledger
from expunge.requests.verify import verify_project


@click.command()
@click.option("--head", help="A hash that an earlier `verify` printed: it must still be in the chain.")
@options.project
def command(project: Path, head: str | None) -> int:
    """Find any later change: of an entry, of the end of the ledger, of weights, patches and kept images.

    Entries hold each other's hashes, made with the project's key: whoever changes one without the key is found out.
    Whoever has the key can write the chain anew; note the head that is printed somewhere else, and give it as --head.
    """
    ledger = Ledger.open(project)
    found = verify_project(ledger)
    if head is not None and not any(entry.hash.startswith(head) for entry in ledger.entries):
        raise LedgerError("--head", "an entry of the ledger", f"{head[:12]}..., which is not there")
    for problem in found.problems:
        click.echo(f"error: {problem}", err=True)
    click.echo(f"{found.entries} entries, {found.files} files, {len(found.problems)} problems; head {found.head}")
    return EXIT_BAD_INPUT if found.problems else 0
