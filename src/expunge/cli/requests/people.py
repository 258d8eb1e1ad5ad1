"""`expunge requests invite`, `dismiss` and `approval`: who may work at the desk, and who has to approve a request."""

from pathlib import Path

import click

from expunge.cli.requests import by_option, port_option, project_option, wait_option
from expunge.cli.say import say
from expunge.requests.approval import Approval, approval_of, set_approval
from expunge.requests.desk.people import COMMAND_LINE, ROLES, Role, check_name, dismiss, give_role, invite
from expunge.requests.desk.store import Store
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing


@click.command()
@click.argument("person")
@click.option("--role", type=click.Choice(list(ROLES)), default=Role.READER.word, show_default=True)
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), default=24.0, show_default=True, help="Until it ends."
)
@by_option
@port_option
@project_option
@wait_option
def invite_command(  # noqa: PLR0913 - one for each option
    person: str, role: str, hours: float, by: str | None, port: int, *, project: Path, wait: float
) -> None:
    """Print a link that signs PERSON in at the desk, once; that, and the role, stand in the ledger for good.

    A reader sees requests, their pictures and the ledger. A requester adds requests, too. An approver also approves,
    applies, undoes, withdraws, deletes and exports.
    """
    ledger, signature = Ledger.open(project), _signature(by)
    store = Store.open(project, ledger.keys)
    if ledger.state.people.get(person) == role:
        store.note(signature["actor"], "invited", of=person)
    else:
        with writing(project, wait_seconds=wait) as ledger:
            ledger.signature = signature
            give_role(ledger, person, ROLES[role])
    say(f"http://127.0.0.1:{port}/login?token={invite(store, person, hours=hours)}")


@click.command()
@click.argument("person")
@by_option
@project_option
@wait_option
def dismiss_command(person: str, by: str | None, project: Path, wait: float) -> None:
    """Take PERSON's role at the desk, and end their sessions."""
    with writing(project, wait_seconds=wait) as ledger:
        ledger.signature = _signature(by)
        dismiss(ledger, Store.open(project, ledger.keys), person)
    say(f"{person} has no role any more")


@click.command()
@click.argument("approval", type=click.Choice([approval.value for approval in Approval]))
@by_option
@project_option
@wait_option
def approval_command(approval: str, by: str | None, project: Path, wait: float) -> None:
    """Say who approves a request from now on, before it is applied: nobody; one person; or one who did not add it.

    Who says so (--by) stands in the ledger, and at the desk above the requests. Whoever has the project's key can say
    so; nobody can at the desk.
    """
    with writing(project, wait_seconds=wait) as ledger:
        before = approval_of(ledger.state)
        ledger.signature = {} if by is None else _signature(by)
        set_approval(ledger, Approval(approval))
    say(f"approval: {approval} (before: {before}), by {by}")


def _signature(by: str | None) -> dict[str, str]:
    return {"actor": COMMAND_LINE if by is None else check_name(by)}
