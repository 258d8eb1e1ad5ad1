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
FILES = ("file", "files")


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
        unit: what is counted, one and several.
        of_requests: whether it can be deleted of single requests.
    """

    label: str
    after: str
    unit: tuple[str, str] = ("picture", "pictures")
    of_requests: bool = False


CHOICES: Mapping[What, Choice] = {
    What.DUE: Choice("Pictures whose day has passed", WITHOUT_PICTURES),
    What.PICTURES: Choice("Pictures, whatever day they were to be kept until", WITHOUT_PICTURES, of_requests=True),
    What.KEEPERS: Choice(
        "Keepers: what is kept in place of pictures",
        "Edits that come later no longer hold these rows: they may come back, and where the pictures are gone too, "
        "nobody can check. Keepers can't be made again without the pictures.",
        ("keeper", "keepers"),
        of_requests=True,
    ),
    What.FINGERPRINTS: Choice(
        "Perceptual hashes",
        "Near duplicates of these pictures are no longer found when others come in. What is known of the training data "
        "goes as well; the next search reads all of the training data again.",
        ("perceptual hash", "perceptual hashes"),
        of_requests=True,
    ),
    What.VERSIONS: Choice(
        "The first weights, and every patch",
        "There is no way back: nothing can be undone, what was applied can't be withdrawn, and no edit can start from "
        "the first classifier. Later edits charge for the change since today's weights, and the drift so far is added.",
        FILES,
    ),
    What.QUARANTINE: Choice(
        "Files in the quarantine, which no entry names",
        "They can't be brought back. A command that was interrupted left them, or somebody put them there.",
        FILES,
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
        return _counted(versions_files(ledger.state), FILES)
    if what is What.QUARANTINE:
        return _counted(len(list(files_below(ledger.folder, QUARANTINE_FOLDER))), FILES)
    requests = concerned(ledger, what, names, ledger.last.number)
    rows = _counted(sum(request.rows for request in requests), CHOICES[what].unit)
    return f"{rows} of {_counted(len(requests), ('request', 'requests'))}" if requests else ""


def versions_files(state: LedgerState) -> int:
    """Return how many patches and first weights there are that `purge --versions` would delete."""
    if not state.versions or state.newest == state.base:
        return 0
    patches = [one for one in state.versions.values() if one.patch.path not in state.purged]
    return len(patches) + sum(file is not None for file in (state.first, state.cache))


def _counted(number: int, unit: tuple[str, str]) -> str:
    """Return a number with its unit; empty for none.

    >>> _counted(1, FILES), _counted(2, FILES), _counted(0, FILES)
    ('1 file', '2 files', '')
    """
    return f"{number} {unit[number != 1]}" if number else ""
