"""`expunge requests serve`, `invite` and `dismiss`: the desk, and who may work at it."""

from pathlib import Path

import click

from expunge.cli.requests import device_option, project_option, wait_option
from expunge.requests.desk.people import ROLES, Role, dismiss, give_role, invite
from expunge.requests.desk.serve import DEFAULT_PORT, serve
from expunge.requests.desk.store import Store
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing

port_option = click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen at; others see this one only."
)
@port_option
@click.option(
    "--name", "names", multiple=True, help="A further name that the server goes by, as behind a proxy; may repeat."
)
@click.option("--against", metavar="SOURCE", help="The training data, to look for copies in.  [default: the project's]")
@project_option
@device_option
def serve_command(
    host: str, port: int, names: tuple[str, ...], against: str | None, project: Path, device: str
) -> None:
    """Open a desk for the project on this machine: pages for colleagues, and a REST API.

    Nobody may do anything there without a link that `expunge requests invite` makes. The connection is not encrypted:
    for other machines, put a proxy with TLS before it and name it by --name.

    What takes long is done by one worker process, which goes on when the server stops.
    """
    click.echo(f"http://{host}:{port}; Ctrl-C ends it")
    serve(project.resolve(), host=host, port=port, names=[*names, host], against=against, device=device)


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
