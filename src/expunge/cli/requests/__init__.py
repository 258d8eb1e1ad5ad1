"""`expunge requests`: one command a file; nothing is imported for a command that isn't called."""

from collections.abc import Mapping
from typing import ClassVar

import click

from expunge.cli import LazyGroup

REQUESTS = {
    "init": ("expunge.cli.requests.init", "Make a project folder around a trained classifier."),
    "add": ("expunge.cli.requests.add", "Add a request, and show other copies of its pictures."),
    "list": ("expunge.cli.requests.list", "List the requests and where they are."),
    "show": ("expunge.cli.requests.show", "Show one request with its history."),
    "apply": ("expunge.cli.requests.apply", "Make the next version of the classifier from what is waiting."),
    "verify": ("expunge.cli.requests.verify", "Find any later change of entries, weights, patches and images."),
    "undo": ("expunge.cli.requests.undo", "Restore the weights before the newest version, bit for bit."),
    "withdraw": ("expunge.cli.requests.withdraw", "Take a request back; later ones are applied anew."),
    "export": ("expunge.cli.requests.export", "Write the classifier for others, with what was unlearned."),
    "purge": ("expunge.cli.requests.purge", "Delete images that are no longer needed."),
}


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
