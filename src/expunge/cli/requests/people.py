"""`expunge requests invite` and `dismiss`: who may work at the desk."""

from pathlib import Path

import click

from expunge.cli.requests import port_option, project_option, wait_option
from expunge.requests.desk.people import ROLES, Role, dismiss, give_role, invite
from expunge.requests.desk.store import Store
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing


@click.command()
@click.argument("person")
@click.option("--role", type=click.Choice(list(ROLES)), default=Role.READER.word, show_default=True)
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), default=24.0, show_default=True, help="Until it ends."
)
@port_option
@project_option
@wait_option
def invite_command(person: str, role: str, hours: float, port: int, project: Path, wait: float) -> None:
    """Print a link that signs PERSON in at the desk, once; the role stands in the ledger, for good.

    A reader sees requests, their pictures and the ledger. A requester adds requests, too. An approver also approves,
    applies, undoes, withdraws, purges and exports.
    """
    ledger = Ledger.open(project)
    if ledger.state.people.get(person) != role:
        with writing(project, wait_seconds=wait) as opened:
            give_role(opened, person, ROLES[role])
    token = invite(Store.open(project, ledger.keys), person, hours=hours)
    click.echo(f"http://127.0.0.1:{port}/login?token={token}")


@click.command()
@click.argument("person")
@project_option
@wait_option
def dismiss_command(person: str, project: Path, wait: float) -> None:
    """Take PERSON's role at the desk, and end their sessions."""
    with writing(project, wait_seconds=wait) as ledger:
        dismiss(ledger, Store.open(project, ledger.keys), person)
    click.echo(f"{person} has no role any more")
