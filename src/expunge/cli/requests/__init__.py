"""`expunge requests`: the group, and options of its commands; a command is imported when it is called."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import click

from expunge.cli import LazyGroup

DEFAULT_PORT = 8765
REQUESTS = {
    "init": ("expunge.cli.requests.init", "Make a project folder around a trained classifier."),
    "add": ("expunge.cli.requests.add", "Add a request, and show other copies of its pictures."),
    "list": ("expunge.cli.requests.read:list_requests", "List the requests and where they are."),
    "show": ("expunge.cli.requests.read:show", "Show one request with its history."),
    "apply": (
        "expunge.cli.requests.change:apply_command",
        "Make the next version of the classifier from what is waiting.",
    ),
    "verify": ("expunge.cli.requests.read:verify", "Find any later change of entries, weights, patches and images."),
    "undo": ("expunge.cli.requests.change:undo_command", "Restore the weights before the newest version, bit for bit."),
    "withdraw": ("expunge.cli.requests.change:withdraw_command", "Take a request back; later ones are applied anew."),
    "plan": ("expunge.cli.requests.plan", "Say what retraining would need, and which images are concerned."),
    "export": ("expunge.cli.requests.export", "Write the classifier for others, with what was unlearned."),
    "serve": ("expunge.cli.requests.serve", "Open a desk for colleagues: pages and a REST API."),
    "invite": ("expunge.cli.requests.people:invite_command", "Print a link that signs a person in at the desk."),
    "dismiss": ("expunge.cli.requests.people:dismiss_command", "Take a person's role at the desk."),
    "approval": ("expunge.cli.requests.people:approval_command", "Say who approves a request before it is applied."),
    "purge": ("expunge.cli.requests.change:purge_command", "Delete images that are no longer needed."),
}
project_option = click.option(
    "--project",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    envvar="EXPUNGE_PROJECT",
    help="The project folder.  [default: here, or EXPUNGE_PROJECT]",
)
wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds to wait for another expunge that works on the project.",
)
by_option = click.option("--by", metavar="NAME", help="Who does this, for the ledger; initials will do.")
port_option = click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
device_option = click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps.")
batch_size_option = click.option(
    "--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Images in one pass."
)


class RequestsGroup(LazyGroup):
    """The commands of a project."""

    table: ClassVar[Mapping[str, tuple[str, str]]] = REQUESTS


@click.group(cls=RequestsGroup)
def command() -> None:
    """Keep a ledger of deletion requests: versions of the classifier, undo, and proof of what was done.

    A project is a folder. Every command but `init` works on the one in --project (default: the current folder).

    By default nothing of a picture is kept after its request is verified but salted hashes. That costs: later edits
    can bring it back without anybody noticing, since there is no image to check; and withdrawing an earlier request
    needs the images of later ones once more. `add --keep-until DATE` keeps images encrypted, and both work.
    """
