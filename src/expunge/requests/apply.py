"""Waiting requests become the next versions of the classifier."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from expunge.base.errors import ExpungeError, ForgetSetError, LedgerError, OutputError, SettingsError
from expunge.compute.runtime import Runtime
from expunge.requests.approval import is_approved
from expunge.requests.cache import tidying, unpack_cache
from expunge.requests.continual import ContinualEdit
from expunge.requests.images import images_are_gone, load_rows
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, Request, State, StoredFile, Version
from expunge.requests.versions import (
    NewVersion,
    OpenProject,
    Start,
    make_version,
    require_first,
    same_how,
    verify_applied,
)
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
        error: that ended the command early, when it had done something already; the others still wait.
    """

    versions: tuple[Version, ...]
    verified: tuple[str, ...]
    failed: dict[str, str]
    without_images: tuple[str, ...]
    deleted: tuple[StoredFile, ...]
    ruined: tuple[str, ...] = ()
    error: ExpungeError | None = None


@dataclass(slots=True)
class _Done:
    """What was done so far: versions, why requests failed, and which of them since they ruin the classifier."""

    versions: list[Version] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    ruined: list[str] = field(default_factory=list)


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
    requests fail. So do those whose method or images give an error, while the others go on.

    Args:
        ledger: open for writing.
        runtime: where to compute.
        names: these requests only, failed ones too; empty for all that wait.
        batch: at most so many requests in one version; None for all together.
        start: which weights each edit goes on from.

    Raises:
        LedgerError: a named request is not waiting, or its images are gone; or the edits are to start from the first
            classifier, and an earlier request has no images; or the project needs to be looked at.
        OutputError: the disk is full, or fails. Of these errors, one that comes when something was done already is in
            the report instead.
    """
    waiting = _choose(ledger, names)
    ready = [request for request in waiting if request.images is not None]
    lacking = tuple(request.name for request in waiting if request.images is None)
    if ready and start is Start.FIRST:
        require_first(ledger, ledger.state.in_state(*FORGOTTEN))
    project, done, ended = OpenProject.open(ledger, runtime), _Done(), None
    with tidying(ledger) as deleted:
        if ready:
            unpack_cache(ledger)
        verify_applied(project)
        try:
            for group in same_how(ready):
                size = batch or len(group)
                for place in range(0, len(group), size):
                    _apply_group(project, group[place : place + size], start, done)
        except ExpungeError as error:
            if not done.versions and not done.failed:
                raise
            ended = error
    named = (name for version in done.versions for name in version.requests)
    verified = tuple(name for name in named if ledger.state.find(name).state is State.VERIFIED)
    return Report(
        tuple(done.versions), verified, done.failed, lacking, tuple(deleted), ruined=tuple(done.ruined), error=ended
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


def _apply_group(project: OpenProject, group: list[Request], start: Start, done: _Done) -> None:
    """Make one version of the group, or of what is left of it when those that fail are out."""
    ledger = project.ledger
    while group:
        made = _try_version(project, group, start)
        if isinstance(made, NewVersion):
            ledger.append([("applied", made.entry)])
            try:
                write_current(ledger, made.weights)
            except OutputError as error:
                hint = f"version {made.entry['version']} stands in the ledger, and the next command writes its weights"
                raise error.hinted(hint) from error
            done.versions.append(ledger.state.versions[made.entry["version"]])
            verify_applied(project)
            return
        why = {"outcome": Outcome.RUINED.value} if made.ruined else {}
        ledger.append([("failed", {"request": name, "reason": reason, **why}) for name, reason in made.failed.items()])
        done.failed |= made.failed
        if made.ruined:
            done.ruined += made.failed
            return
        group = [request for request in group if request.name not in made.failed]


def _try_version(project: OpenProject, group: list[Request], start: Start) -> NewVersion | ContinualEdit:
    """Return the version that forgets the group, or the failed edit; an error that is the requests' fails them.

    Raises:
        ExpungeError: what is nobody's fault: the disk, the memory, the test data, or a project to be looked at.
    """
    ledger, state = project.ledger, project.ledger.state
    try:
        return make_version(
            project,
            read_current(ledger),
            group,
            state.in_state(*FORGOTTEN),
            number=state.next_version(),
            parent=state.newest,
            start=start,
        )
    except (SettingsError, ForgetSetError, LedgerError) as error:
        return ContinualEdit(project.first.classifier, failed=_blame(ledger, group, error))


def _blame(ledger: Ledger, group: list[Request], error: ExpungeError) -> dict[str, str]:
    """Return which requests an error is of, and why: those whose images can't be read, or all.

    Raises:
        LedgerError: the error is the project's, not theirs.
    """
    if not isinstance(error, LedgerError):
        return {request.name: str(error) for request in group}
    blamed: dict[str, str] = {}
    for request in group:
        try:
            load_rows(ledger, request)
        except LedgerError as own:
            blamed[request.name] = str(own)
    if not blamed:
        raise error
    return blamed
