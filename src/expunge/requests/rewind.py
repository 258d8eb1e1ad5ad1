"""The way back: undo the newest version, or withdraw a request and apply the later ones anew."""

from collections.abc import Sequence
from typing import Any

from expunge.base.errors import LedgerError, RuinedError
from expunge.compute.runtime import Runtime
from expunge.requests.apply import Report
from expunge.requests.cache import tidying, unpack_cache
from expunge.requests.project import Ledger
from expunge.requests.purge import purge_due
from expunge.requests.state import FORGOTTEN, Request, State, Version
from expunge.requests.versions import NewVersion, OpenProject, Start, make_version, verify_applied
from expunge.requests.weights import follow, read_current, rebuild, write_current

Events = list[tuple[str, Any]]


def undo(ledger: Ledger) -> Version:
    """Restore the weights before the newest version, bit for bit, and return the version that was undone.

    Its requests wait again. The earlier weights are made and checked before anything is changed.

    Raises:
        LedgerError: there is no version, or its patch is missing, damaged or another one.
    """
    state = ledger.state
    if not state.newest:
        raise LedgerError("undo", "a version to undo", "the first classifier", "nothing was applied")
    if state.newest == state.base:
        raise LedgerError("undo", "a version to undo", f"none; `purge --versions` deleted what led to {state.base}")
    version = state.versions[state.newest]
    weights = follow(ledger, read_current(ledger), version)
    ledger.append([("undone", {"version": version.number})])
    write_current(ledger, weights)
    return version


def withdraw(ledger: Ledger, name: str, reason: str, runtime: Runtime) -> Report:
    """Take a request back; if it was applied, every later version is made anew without it.

    The deployed weights stay as they are until all new versions are there, so that no forgotten instance comes back
    meanwhile.

    Raises:
        LedgerError: it is withdrawn already; later requests have no images left; or one of them fails without it.
        RuinedError: one of them ruins the classifier without it.
    """
    request = ledger.state.find(name)
    if request.state is State.WITHDRAWN:
        raise LedgerError(name, "a request that is not withdrawn", "a withdrawn one")
    taken_back = ("withdrawn", {"request": name, "reason": reason})
    if request.state not in FORGOTTEN:
        ledger.append([taken_back])
        return Report((), (), {}, (), tuple(purge_due(ledger)))
    project = OpenProject.open(ledger, runtime)
    with tidying(ledger) as deleted:
        unpack_cache(ledger)
        verify_applied(project)
        made, events = _remake(project, request)
        ledger.append([taken_back, *events])
        if made:
            write_current(ledger, made[-1].weights)
        else:
            write_current(ledger, rebuild(ledger, ledger.state.newest))
        verify_applied(project)
    versions = tuple(ledger.state.versions[one.entry["version"]] for one in made)
    names = tuple(name for version in versions for name in version.requests)
    return Report(versions, names, {}, (), tuple(deleted))


def _remake(project: OpenProject, request: Request) -> tuple[list[NewVersion], Events]:
    """Return the versions from the request's on, without it, and the entries that put them in place of the old."""
    state = project.ledger.state
    assert request.version is not None  # noqa: S101 - it is forgotten
    lineage = state.lineage()
    position = next((place for place, version in enumerate(lineage) if version.number == request.version), None)
    if position is None:
        found = f"those after version {state.base}; `purge --versions` deleted the others"
        raise LedgerError(request.name, "the versions since it was applied", found)
    replaced = lineage[position:]
    batches = [[state.requests[name] for name in version.requests if name != request.name] for version in replaced]
    _check_images(request, [one for batch in batches for one in batch])
    anew = {name for version in replaced for name in version.requests}
    earlier = [one for one in state.in_state(*FORGOTTEN) if one.name not in anew]
    parent, number = replaced[0].parent, state.next_version()
    weights, made = rebuild(project.ledger, parent), list[NewVersion]()
    for old, batch in zip(replaced, batches, strict=True):
        if not batch:
            continue
        start = Start(old.figures.get("start", Start.NEWEST))
        one = make_version(project, weights, batch, earlier, number=number, parent=parent, start=start)
        if not isinstance(one, NewVersion):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in one.failed.items())
            kind = RuinedError if one.ruined else LedgerError
            raise kind(request.name, "later requests that can be applied without it", reasons)
        made.append(one)
        weights, earlier, parent, number = one.weights, [*earlier, *batch], number, number + 1
    undone: Events = [("undone", {"version": version.number}) for version in reversed(replaced)]
    return made, undone + [("applied", one.entry) for one in made]


def _check_images(request: Request, needed: Sequence[Request]) -> None:
    missing = [one.name for one in needed if one.images is None]
    if missing:
        raise LedgerError(
            request.name,
            "the images of the requests that are applied anew",
            f"none for {', '.join(missing)}",
            f"give them once more: expunge requests add --again {missing[0]}",
        )
