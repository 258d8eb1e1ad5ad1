"""Waiting requests become the next versions of the classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.base.errors import LedgerError
from expunge.compute.runtime import Runtime
from expunge.requests.approval import is_approved
from expunge.requests.cache import pack_cache, unpack_cache
from expunge.requests.images import images_are_gone
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_due
from expunge.requests.state import FORGOTTEN, Request, State, StoredFile, Version
from expunge.requests.versions import NewVersion, OpenProject, Start, make_version, same_how, verify_applied
from expunge.requests.weights import read_current, write_current
from expunge.task.outcome import Outcome

RETRIABLE = (State.VALIDATED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Report:
    """What a command did.

    Args:
        versions: made, in order.
        verified: names of the requests that hold in the weights on the disk.
        failed: why, by request; they left the classifier as it was.
        without_images: names of waiting requests that need their images once more.
        deleted: files that were purged.
        ruined: names of those that failed since their edit would have ruined the classifier.
    """

    versions: tuple[Version, ...]
    verified: tuple[str, ...]
    failed: dict[str, str]
    without_images: tuple[str, ...]
    deleted: tuple[StoredFile, ...]
    ruined: tuple[str, ...] = ()


def apply_waiting(
    ledger: Ledger,
    runtime: Runtime,
    *,
    names: Sequence[str] = (),
    batch: int | None = None,
    start: Start = Start.NEWEST,
) -> Report:
    """Apply what is waiting, verify it in the weights on the disk, and delete the images nothing keeps.

    Requests that share method and settings are applied together, as one version. A request that cannot be forgotten
    is noted as failed and left out, and the others are tried again without it. Of a version that would be ruined, all
    requests fail.

    Args:
        ledger: open for writing.
        runtime: where to compute.
        names: these requests only, failed ones too; empty for all that wait.
        batch: at most so many requests in one version; None for all together.
        start: which weights each edit goes on from.

    Raises:
        LedgerError: a named request is not waiting, or its images are gone; or the edits are to start from the first
            classifier, and an earlier request has no images.
    """
    waiting = _choose(ledger, names)
    ready = [request for request in waiting if request.images is not None]
    lacking = tuple(request.name for request in waiting if request.images is None)
    project = OpenProject.open(ledger, runtime)
    unpack_cache(ledger)
    verify_applied(project)
    versions: list[Version] = []
    failed: dict[str, str] = {}
    ruined: list[str] = []
    for group in same_how(ready):
        size = batch or len(group)
        for place in range(0, len(group), size):
            made, reasons, ruining = _apply_group(project, group[place : place + size], start)
            failed |= reasons
            ruined += ruining
            versions += made
    pack_cache(ledger)
    deleted = purge_due(ledger)
    return Report(
        tuple(versions),
        tuple(name for version in versions for name in version.requests),
        failed,
        lacking,
        tuple(deleted),
        tuple(ruined),
    )


def _choose(ledger: Ledger, names: Sequence[str]) -> list[Request]:
    if not names:
        return [request for request in ledger.state.in_state(State.VALIDATED) if is_approved(ledger.state, request)]
    chosen = [ledger.state.find(name) for name in dict.fromkeys(names)]
    for request in chosen:
        if request.state not in RETRIABLE:
            raise LedgerError(request.name, "a request that waits or has failed", request.state.value)
        if not is_approved(ledger.state, request):
            raise LedgerError(request.name, "a request that was approved", "one that waits for it", "approve it first")
        if request.images is None:
            raise images_are_gone(request)
    return chosen


def _apply_group(
    project: OpenProject, group: list[Request], start: Start
) -> tuple[list[Version], dict[str, str], list[str]]:
    """Make one version of the group, or of what is left of it when those that fail are out.

    Returns:
        The version if there is one, why requests failed, and which of them since they ruin the classifier.
    """
    ledger, failed = project.ledger, dict[str, str]()
    while group:
        state = ledger.state
        made = make_version(
            project,
            read_current(ledger),
            group,
            state.in_state(*FORGOTTEN),
            number=state.next_version(),
            parent=state.newest,
            start=start,
        )
        if isinstance(made, NewVersion):
            ledger.append([("applied", made.entry)])
            write_current(ledger, made.weights)
            verify_applied(project)
            return [state.versions[made.entry["version"]]], failed, []
        why = {"outcome": Outcome.RUINED.value} if made.ruined else {}
        ledger.append([("failed", {"request": name, "reason": reason, **why}) for name, reason in made.failed.items()])
        failed |= made.failed
        if made.ruined:
            return [], failed, list(made.failed)
        group = [request for request in group if request.name not in made.failed]
    return [], failed, []
