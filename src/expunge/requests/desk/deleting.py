"""What can be deleted at the desk, what can't be done afterwards, and which requests that concerns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from expunge.requests.place import QUARANTINE_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.purge import DONE, files_below, find_due
from expunge.requests.state import LedgerState, Request

WITHOUT_PICTURES = (
    "Nobody can look at them any more. An edit that comes later may bring them back, and unless a keeper holds them, "
    "nobody notices. To withdraw such a request, or to apply it again after an undo, somebody has to give its pictures "
    "once more."
)


class What(StrEnum):
    """What is deleted, as fields of forms and of the API name it."""

    DUE = "due"
    PICTURES = "pictures"
    KEEPERS = "keepers"
    FINGERPRINTS = "fingerprints"
    VERSIONS = "versions"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Choice:
    """One kind of what can be deleted, in words.

    Args:
        label: what it is.
        after: what can't be done afterwards, in sentences.
        of_requests: whether it can be deleted of single requests.
    """

    label: str
    after: str
    of_requests: bool = False


CHOICES: Mapping[What, Choice] = {
    What.DUE: Choice("Pictures whose day has passed", WITHOUT_PICTURES),
    What.PICTURES: Choice("Pictures, whatever day they were to be kept until", WITHOUT_PICTURES, of_requests=True),
    What.KEEPERS: Choice(
        "Keepers: what is kept in place of pictures",
        "Edits that come later no longer hold these rows: they may come back, and where the pictures are gone too, "
        "nobody can check. Keepers can't be made again without the pictures.",
        of_requests=True,
    ),
    What.FINGERPRINTS: Choice(
        "Perceptual hashes",
        "Near duplicates of these pictures are no longer found when others come in. What is known of the training data "
        "goes as well; the next search reads all of the training data again.",
        of_requests=True,
    ),
    What.VERSIONS: Choice(
        "The first weights, and every patch",
        "There is no way back: nothing can be undone, what was applied can't be withdrawn, and no edit can start from "
        "the first classifier. Later edits charge for the change since today's weights, and the drift so far is added.",
    ),
    What.QUARANTINE: Choice(
        "Files in the quarantine, which no entry names",
        "They are gone. A command that was interrupted left them, or somebody put them there.",
    ),
}

HOLDS: Mapping[What, Callable[[Request], bool]] = {
    What.DUE: lambda request: request.images is not None,
    What.PICTURES: lambda request: request.images is not None,
    What.KEEPERS: lambda request: request.keeper is not None,
    What.FINGERPRINTS: lambda request: request.fingerprints is not None,
}


def concerned(ledger: Ledger, what: What, names: Sequence[str], seen: int) -> list[Request]:
    """Return the requests of which something is to be deleted.

    Args:
        ledger: as it is now.
        what: is deleted.
        names: of these requests; empty for all that are done.
        seen: the newest entry when a person said yes: what came about later is not meant.
    """
    if what not in HOLDS:
        return []
    done = find_due(ledger) if what is What.DUE else ledger.state.in_state(*DONE)
    chosen = [ledger.state.find(name) for name in names] or [one for one in done if one.history[-1] <= seen]
    return [request for request in chosen if HOLDS[what](request)]


def count(ledger: Ledger, what: What, names: Sequence[str]) -> str:
    """Return in words how much would be deleted now; empty for nothing."""
    if what is What.VERSIONS:
        files = versions_files(ledger.state)
    elif what is What.QUARANTINE:
        files = len(list(files_below(ledger.folder, QUARANTINE_FOLDER)))
    else:
        requests = concerned(ledger, what, names, ledger.last.number)
        rows = sum(request.rows for request in requests)
        return f"{rows} pictures of {len(requests)} requests" if requests else ""
    return f"{files} files" if files else ""


def versions_files(state: LedgerState) -> int:
    """Return how many patches and first weights there are that `purge --versions` would delete."""
    if not state.versions or state.newest == state.base:
        return 0
    patches = [one for one in state.versions.values() if one.patch.path not in state.purged]
    return len(patches) + sum(file is not None for file in (state.first, state.cache))
