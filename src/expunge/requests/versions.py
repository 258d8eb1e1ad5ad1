"""The next version of the classifier: its edit, its patch on the disk, and the entry that is to name it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor

from expunge.base.errors import LedgerError
from expunge.base.tensors import sha256_tensors
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.methods.continual import History, goal_of, holds
from expunge.models.classifier import Classifier
from expunge.models.sources import LoadedClassifier
from expunge.requests.chain import Body
from expunge.requests.continual import ContinualEdit, forget_more
from expunge.requests.drift import Compared, compare_with_first, measure_drift
from expunge.requests.health import find_health, say_ruined
from expunge.requests.images import load_rows
from expunge.requests.keepers import find_cut_of, load_keeper, store_keeper
from expunge.requests.patches import make_patch
from expunge.requests.project import Ledger
from expunge.requests.sealed import write_patch
from expunge.requests.state import Request, State
from expunge.requests.weights import load_first, read_current, with_weights
from expunge.task.evaluation import COPIES_PER_ROW, compute_logits, measure_robust_goal
from expunge.task.goals import achieved, count_unchanged
from expunge.task.outcome import Health


class Start(StrEnum):
    """Which weights the edit of a request goes on from."""

    NEWEST = "newest"
    """The newest version: only what is new has to move, but the damage of one request after another adds up."""
    FIRST = "first"
    """The first classifier: all rows forgotten so far move together, whose images must be there, for less damage."""


@dataclass(frozen=True, slots=True)
class OpenProject:
    """What every version of one command is made with."""

    ledger: Ledger
    first: LoadedClassifier
    runtime: Runtime

    @classmethod
    def open(cls, ledger: Ledger, runtime: Runtime) -> "OpenProject":
        """Return the first classifier of the project beside its ledger."""
        return cls(ledger, load_first(ledger), runtime)

    def classifier(self, weights: Mapping[str, Tensor]) -> Classifier:
        """Return the classifier with these weights, on the runtime's device."""
        return with_weights(self.first.classifier, weights).to(self.runtime.device)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version that is on the disk, but in no ledger yet: its weights and its entry."""

    weights: dict[str, Tensor]
    entry: Body


def make_version(  # noqa: PLR0913 - what, on top of what, and under which number
    project: OpenProject,
    base: Mapping[str, Tensor],
    requests: Sequence[Request],
    earlier: Sequence[Request],
    *,
    number: int,
    parent: int,
    start: Start = Start.NEWEST,
) -> NewVersion | ContinualEdit:
    """Return the version that forgets `requests`, or the failed edit; an edit that ruins the classifier has failed.

    Args:
        project: the project and where to compute.
        base: the parent's weights.
        requests: they share one `how`.
        earlier: requests that are to stay forgotten; those without images cannot be checked.
        number: of the new version.
        parent: number of the version that `base` belongs to.
        start: which weights the edit goes on from.

    Raises:
        LedgerError: the edit is to start from the first classifier, and an earlier request has no images.
    """
    ledger, outcome = project.ledger, _forget(project, base, requests, earlier, start)
    if outcome.failed:
        return outcome
    compared = compare_with_first(ledger, project.first, outcome.classifier, project.runtime)
    health = _find_health(project, compared, outcome)
    if health.ruined:
        outcome.failed, outcome.ruined = dict.fromkeys((one.name for one in requests), say_ruined(health)), True
        return outcome
    weights = {name: tensor.detach().cpu() for name, tensor in outcome.classifier.network.state_dict().items()}
    figures = {
        "start": start.value,
        "drift": measure_drift(ledger, compared).to_mapping(),
        "repaired": list(outcome.repaired),
        "checked": sum(request.rows for request in earlier if _is_there(request)),
        "uncheckable": [request.name for request in earlier if not _is_there(request)],
        "unchanged": _count_unchanged(project, base, outcome.classifier, requests),
        **{"steps": outcome.steps, "rounds": outcome.rounds, "seconds": round(outcome.seconds, 3)},
    }
    entry = {
        "version": number,
        "parent": parent,
        "base_sha256": sha256_tensors(base),
        "result_sha256": sha256_tensors(weights),
        "patch": asdict(write_patch(ledger, number, make_patch(base, weights))),
        "requests": [request.name for request in requests],
        "figures": figures,
    }
    return NewVersion(weights, entry)


def _count_unchanged(
    project: OpenProject, base: Mapping[str, Tensor], edited: Classifier, requests: Sequence[Request]
) -> dict[str, dict[str, int]]:
    """Return of each request for how many rows the goal held before, whose answer is the same; without zeros."""
    before, sharing, found = project.classifier(base), project.runtime.sharing, dict[str, dict[str, int]]()
    for request in requests:
        rows = load_rows(project.ledger, request)
        goal, labels = goal_of(rows)
        old, new = (compute_logits(each, rows.x, sharing).cpu() for each in (before, edited))
        count = count_unchanged(achieved(goal, new, labels.cpu()), old.argmax(dim=1), new.argmax(dim=1))
        if count:
            found[request.name] = {"images": count, "of": request.rows}
    return found


def _find_health(project: OpenProject, compared: Compared, outcome: ContinualEdit) -> Health:
    assert outcome.task is not None  # noqa: S101 - there was a round
    first = project.first.classifier.to(project.runtime.device)
    return find_health(compared, first, outcome.classifier, outcome.task, project.runtime.sharing)


def _forget(
    project: OpenProject,
    base: Mapping[str, Tensor],
    requests: Sequence[Request],
    earlier: Sequence[Request],
    start: Start,
) -> ContinualEdit:
    """Return the edit that forgets `requests` and keeps what `earlier` ones forgot; see `make_version`."""
    ledger = project.ledger
    checked = {request.name: load_rows(ledger, request) for request in earlier if request.images is not None}
    history = _read_history(project, earlier, checked)
    new = {request.name: load_rows(ledger, request) for request in requests}
    if start is not Start.FIRST:
        return forget_more(project.classifier(base), new, checked, requests[0].how, project.runtime, history)
    require_first(ledger, earlier)
    first = project.first.classifier.to(project.runtime.device)
    alone = History(first, cut=history.cut) if history.cut else None
    outcome = forget_more(first, {**checked, **new}, {}, requests[0].how, project.runtime, alone)
    outcome.failed = _blame_new(outcome.failed, new)
    return outcome


def _read_history(project: OpenProject, earlier: Sequence[Request], images: Mapping[str, ForgetSet]) -> History:
    """Return what a method that goes on is to keep: keepers in a project that makes them, else images."""
    ledger, first = project.ledger, project.first.classifier.to(project.runtime.device)
    cut = find_cut_of(ledger, first)
    kept = [request for request in earlier if cut and request.keeper is not None]
    names = {request.name for request in kept}
    return History(
        first,
        [rows for name, rows in images.items() if name not in names],
        [load_keeper(ledger, request, cut) for request in kept if cut],
        cut,
    )


def _is_there(request: Request) -> bool:
    return request.images is not None or request.keeper is not None


def verify_applied(project: OpenProject) -> list[Request]:
    """Check in the weights as they are on the disk what was applied, note it, and return the requests.

    A request whose images are gone meanwhile stays applied; one that does not hold is noted as failed.
    """
    ledger = project.ledger
    waiting = [request for request in ledger.state.in_state(State.APPLIED) if request.images is not None]
    if not waiting:
        return []
    classifier = project.classifier(read_current(ledger))
    cut = find_cut_of(ledger, classifier)
    events: list[tuple[str, dict[str, Any]]] = []
    for request in waiting:
        rows = load_rows(ledger, request)
        held = holds(classifier, rows, project.runtime.sharing)
        if bool(held.all()):
            goal, labels = goal_of(rows)
            generator = seeded_generator(request.how["seed"], "robust goal")
            sharing = project.runtime.sharing
            with project.runtime.progress.phase("copies", COPIES_PER_ROW) as advance:
                robust = measure_robust_goal(
                    classifier, rows.x, labels, goal, generator=generator, at_once=sharing, advance=advance
                )
            figures = {"goal_achieved": 1.0, "goal_achieved_robust": round(robust.share, 6)}
            if cut is not None and request.keeper is None:
                events.append(store_keeper(ledger, request, rows, classifier, cut, sharing))
            events.append(("verified", {"request": request.name, "version": request.version, "figures": figures}))
        else:
            reason = f"{int(held.sum())} of {len(held)} rows hold in the weights on the disk"
            events.append(("failed", {"request": request.name, "reason": reason}))
    ledger.append(events)
    return waiting


def same_how(requests: Sequence[Request]) -> list[list[Request]]:
    """Return the requests in groups that share method, settings, strength and seed, oldest first."""
    groups: list[list[Request]] = []
    for request in requests:
        group = next((group for group in groups if group[0].how == request.how), None)
        if group is None:
            groups.append([request])
        else:
            group.append(request)
    return groups


def require_first(ledger: Ledger, earlier: Sequence[Request]) -> None:
    """Check that an edit can start from the first classifier: it is there, and so are all images forgotten since.

    Raises:
        LedgerError: they were purged.
    """
    if ledger.state.base:
        found = f"those from version {ledger.state.base} on; the others were deleted by `purge --versions`"
        raise LedgerError("versions", "the first classifier and all patches", found)
    missing = [request.name for request in earlier if request.images is None]
    if missing:
        raise LedgerError(
            "--from",
            "the images of all earlier requests, to go on from the first classifier",
            f"none for {', '.join(missing)}",
            f"start from the newest, or give them once more: expunge requests add --again {missing[0]}",
        )


def _blame_new(failed: Mapping[str, str], new: Iterable[str]) -> dict[str, str]:
    """Return why the new requests failed; if it was only for earlier ones, all of the new ones did."""
    blamed = {name: failed[name] for name in new if name in failed}
    return blamed or dict.fromkeys(new if failed else (), next(iter(failed.values()), ""))
