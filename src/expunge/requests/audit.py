"""An audit of the newest version against the first classifier, on the pictures of requests that are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.audit.record import Level, Subject
from expunge.audit.run import Comparison, run_audit
from expunge.base.errors import LedgerError
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import draw_numbers, seeded_generator
from expunge.data import load_data
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset
from expunge.methods.continual import goal_of
from expunge.models.sources import LoadedClassifier
from expunge.report import write_report
from expunge.requests.images import find_places, load_rows
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, Request
from expunge.requests.weights import load_first, read_current, with_weights

MOST_RETAIN, MOST_TEST = 5_000, 10_000
"""Images that are measured on, drawn at random."""
MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Audited:
    """The audit of all rows of one goal.

    Args:
        goal: misclassify or relabel.
        rows: how many were looked at.
        forgotten: how many of this goal were forgotten; the pictures of the others are gone.
        page: the report, one HTML file that shows no picture.
    """

    goal: str
    rows: int
    forgotten: int
    page: str


def audit_newest(ledger: Ledger, source: str | None, level: Level, folder: Path, runtime: Runtime) -> list[Audited]:
    """Return an audit for each goal that requests had.

    Args:
        ledger: as it is now.
        source: of training and test images, such as npz:FILE; None to measure on the forgotten rows alone.
        level: how much is measured.
        folder: an empty one, for what the audits leave beside their pages: answers and features, unsealed.
        runtime: where to compute.

    Raises:
        LedgerError: nothing was applied since the first weights, or no picture is kept.
    """
    state = ledger.state
    if state.newest == state.base:
        raise LedgerError("audit", "a version that was made since the first weights", "none", "apply a request first")
    forgotten = state.in_state(*FORGOTTEN)
    groups = [[one for one in forgotten if one.goal == goal] for goal in dict.fromkeys(one.goal for one in forgotten)]
    kept = [group for group in groups if any(request.images is not None for request in group)]
    if not kept:
        hint = "give a request its pictures once more, or keep those of the next"
        raise LedgerError("audit", "pictures of a forgotten request", "none that is kept", hint)
    first = load_first(ledger)
    images = {} if source is None else _measured(ledger, first, source, forgotten)
    scene = _Scene(ledger, first, images, source or "", level)
    return [_audit(scene, group, folder / group[0].goal, runtime) for group in kept]


@dataclass(frozen=True, slots=True)
class _Scene:
    ledger: Ledger
    first: LoadedClassifier
    images: dict[str, Images]
    source: str
    level: Level


def _audit(scene: _Scene, requests: Sequence[Request], folder: Path, runtime: Runtime) -> Audited:
    ledger, classifier, total = scene.ledger, scene.first.classifier, sum(request.rows for request in requests)
    there = [request for request in requests if request.images is not None]
    rows = ForgetSet.join([load_rows(ledger, request) for request in there])
    goal, labels = goal_of(rows)
    comparison = Comparison(
        before=classifier,
        after=with_weights(classifier, read_current(ledger)),
        rows=rows,
        goal=goal,
        goal_labels=labels,
        images=scene.images,
        subject=_describe(scene, there, rows),
        notes=_notes(ledger, len(rows), total),
        whole=("forget",) if len(rows) == total else (),
    )
    folder.mkdir()
    run_audit(comparison, folder, level=scene.level, pictures=False, runtime=runtime)
    page = write_report(folder, images=False).read_text("utf-8")
    return Audited(goal.name, len(rows), total, page)


def _measured(ledger: Ledger, first: LoadedClassifier, source: str, forgotten: Sequence[Request]) -> dict[str, Images]:
    """Return training images that were not forgotten, and test images, at most so many of each."""
    splits = load_data(source, first.request())
    wanted = {content for request in forgotten for content in request.each_content()}
    places = find_places(ledger, splits.train, wanted)
    gone = {row for found in places.values() for row, _ in found}
    others = [row for row in range(len(splits.train.ids)) if row not in gone]
    parts = {"retain": _draw(splits.train, others, MOST_RETAIN)}
    if splits.test is not None:
        parts["test"] = _draw(splits.test, range(len(splits.test.ids)), MOST_TEST)
    return {name: part for name, part in parts.items() if len(part.labels)}


def _draw(images: Images, rows: Sequence[int], most: int) -> Subset:
    return Subset(images, [rows[at] for at in draw_numbers(most, len(rows), seeded_generator(0, "measured rows"))])


def _describe(scene: _Scene, requests: Sequence[Request], rows: ForgetSet) -> Subject:
    """Return what a reader is told of the two classifiers, the images and the requests."""
    state, first, names = scene.ledger.state, scene.first, [request.name for request in requests]
    more = len(names) - MOST_NAMES
    methods = {request.how["method"] for request in requests}
    alike = all(request.how == requests[0].how for request in requests)
    classes = first.classifier.class_names or tuple(map(str, range(first.classifier.num_classes)))
    return Subject(
        before={"architecture": first.architecture, "weights_sha256": first.weights_sha256},
        after={"architecture": first.architecture, "weights_sha256": state.weights_sha256},
        data=scene.source,
        forget_sha256=rows.sha256(),
        goal=requests[0].goal,
        class_names=tuple(classes),
        sizes={"forget": len(rows), **{name: len(part.labels) for name, part in scene.images.items()}},
        used_by_edit=("forget",),
        method=methods.pop() if len(methods) == 1 else None,
        settings=requests[0].how["settings"] if alike else None,
        reference=", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else ""),
        finished=state.versions[state.newest].time,
    )


def _notes(ledger: Ledger, rows: int, total: int) -> tuple[str, ...]:
    """Return what a reader should know: pictures that are gone, first weights that are not the first."""
    notes = []
    if rows < total:
        notes.append(f"Of {total} forgotten images, {rows} are kept and were looked at; the others can't be.")
    if ledger.state.base:
        notes.append(f"What was before is version {ledger.state.base}: older weights were deleted.")
    return tuple(notes)
