"""The tables of an audit, as rows of text; a table that is not defined raises the reason."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures import ulira
from expunge.audit.figures.answers import OTHER_ARCHITECTURE
from expunge.audit.figures.membership import ATTACKS
from expunge.audit.figures.residual import need_perturbed, recognised, recognised_by_retrained
from expunge.audit.figures.rmia import rmia_scores
from expunge.audit.metrics import answers, auc, pattern
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.residual import residual_knowledge
from expunge.audit.record import WHEN
from expunge.base.cells import escape_cell
from expunge.task.words import RELABEL

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows; None is an empty cell, floats are written with six digits."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]

    def to_text(self) -> Iterable[list[str]]:
        """Yield the header, then the rows, as text."""
        yield list(self.columns)
        for row in self.rows:
            yield [_to_text(cell) for cell in row]


def _rows(data: Gathered) -> Table:
    part = data.forget
    confidences = answers.confidence(part.before), answers.confidence(part.after)
    margins = answers.margins(part.after, data.goal_labels, data.goal, data.allowed)
    met = answers.goal_met(part.after, data.goal_labels, data.goal, data.allowed)
    rows: list[list[Cell]] = []
    for number, name in enumerate(part.ids):
        rows.append(
            [
                number,
                escape_cell(name),
                int(part.labels[number]),
                int(data.goal_labels[number]) if data.goal == RELABEL else None,
                int(part.predicted_before[number]),
                float(confidences[0][number]),
                int(part.predicted_after[number]),
                float(confidences[1][number]),
                float(margins[number]),
                data.copies.by_row[number],
                "yes" if met[number] else "no",
                picture(data, number),
            ]
        )
    columns = "row id label new_label predicted_before confidence_before predicted_after confidence_after"
    return Table((*columns.split(), "margin", "robust", "goal_met", "image"), rows)


def picture(data: Gathered, number: int) -> str | None:
    """Return the file of a forgotten row's picture, None if the audit was made without."""
    return f"images/{number:04d}.png" if data.pictures else None


def _classes(data: Gathered) -> Table:
    rows: list[list[Cell]] = []
    for name, part in data.parts.items():
        judged = data.judged_labels(name)
        right = part.predicted_before == judged, part.predicted_after == judged
        changed = part.predicted_before != part.predicted_after
        for label in range(part.num_classes):
            chosen = part.labels == label
            count = int(chosen.sum())
            shares = [float(100 * flags[chosen].mean()) if count else None for flags in (*right, changed)]
            rows.append([name, label, count, *shares])
    return Table(("part", "label", "n", "accuracy_before", "accuracy_after", "churn"), rows)


def _copies(data: Gathered) -> Table:
    before = {} if data.copies_before is None else data.copies_before.by_kind
    rows: list[list[Cell]] = [[kind, before.get(kind), share] for kind, share in data.copies.by_kind.items()]
    return Table(("kind", "held_before", "held"), rows)


def _layers(data: Gathered) -> Table:
    shifts = need(data.shifts, OTHER_ARCHITECTURE)
    rows = [[each.name, each.size, each.l2, each.relative, each.changed / each.size] for each in shifts]
    return Table(("name", "size", "l2", "relative", "share"), rows)


def _cka(data: Gathered) -> Table:
    deep = data.need_deep()
    if not deep.layers:
        raise NotDefinedError(deep.reasons.get("layers", "no layer was compared"))
    return Table(("layer", "part", "cka"), [[each.layer, each.part, each.cka] for each in deep.layers])


def _pattern(data: Gathered) -> Table:
    part = data.forget
    found = pattern.answer_matrix(part.labels, part.predicted_after, part.num_classes)
    second = pattern.answer_matrix(part.labels, pattern.runner_up(part.before, part.labels), part.num_classes)
    pairs = np.argwhere((found > 0) | (second > 0))
    rows = [[int(i), int(j), int(found[i, j]), int(second[i, j])] for i, j in pairs]
    return Table(("label", "answer", "rows", "runner_up"), rows)


def _membership(data: Gathered) -> Table:
    rows: list[list[Cell]] = []
    reasons: list[str] = []
    for attack, when, scores in _attacks(data):
        try:
            curve = auc.curve(*scores())
        except NotDefinedError as error:
            reasons.append(str(error))
            continue
        rows += [[attack, when, float(x), float(y)] for x, y in zip(curve.fpr, curve.tpr, strict=True)]
    if not rows:
        raise NotDefinedError(reasons[0])
    return Table(("attack", "when", "fpr", "tpr"), rows)


def _attacks(data: Gathered) -> Iterable[tuple[str, str, Callable[[], tuple[np.ndarray, np.ndarray]]]]:
    for score, attack in ATTACKS.items():
        for when in WHEN:
            yield score, when, partial(attack.scores, data, when)
    for when in WHEN:
        yield "rmia", when, partial(rmia_scores, data, when)
    for never, name in ulira.NAMES.items():
        yield name, "after", partial(ulira.ulira_scores, data, never)


def _residual(data: Gathered) -> Table:
    found = need_perturbed(data)
    before, after = (recognised(data, when) for when in WHEN)
    none = np.full(len(found.rows), np.nan)
    reference = np.mean(recognised_by_retrained(data), axis=0) if found.retrained else none
    shares = zip(before, after, reference, residual_knowledge(after, reference), strict=True)
    rows: list[list[Cell]] = [
        [int(row), escape_cell(data.forget.ids[row]), *(None if np.isnan(each) else float(each) for each in values)]
        for row, values in zip(found.rows, shares, strict=True)
    ]
    return Table(("row", "id", "before", "after", "retrained", "knowledge"), rows)


def _relearning(data: Gathered) -> Table:
    deep = data.need_deep()
    if not deep.relearning:
        raise NotDefinedError(deep.reasons.get("relearning", "it was not measured"))
    rows: list[list[Cell]] = [
        [curve.classifier, step, reached]
        for curve in deep.relearning
        for step, reached in zip(curve.steps, curve.accuracy, strict=True)
    ]
    return Table(("classifier", "step", "accuracy"), rows)


def _tsne(data: Gathered) -> Table:
    deep = data.need_deep()
    if not deep.embeddings:
        raise NotDefinedError(deep.reasons.get("tsne", "it was not measured"))
    rows: list[list[Cell]] = []
    for when in WHEN:
        for name, embedding in deep.embeddings.items():
            part = data.part(name)
            for number, (x, y) in zip(embedding.rows, getattr(embedding, when), strict=True):
                identity = escape_cell(part.ids[number])
                rows.append([when, name, identity, int(part.labels[number]), float(x), float(y)])
    return Table(("when", "part", "id", "label", "x", "y"), rows)


def _cost(data: Gathered) -> Table:
    cost = need(data.cost, "it is not known what the edit took")
    return Table(("phase", "seconds"), [[phase, seconds] for phase, seconds in cost.seconds_by_phase.items()])


def _pools(data: Gathered) -> Table:
    if data.shadows is None and data.retrained is None:
        raise NotDefinedError("there are no pools of other classifiers")
    rows: list[list[Cell]] = []
    if data.shadows is not None:
        pool, test = data.shadows, data.nonmembers
        labels = test.labels[pool.test_rows]
        for number, (forget, others) in enumerate(zip(pool.forget, pool.test, strict=True)):
            both = answers.accuracy(forget, data.forget.labels).value, answers.accuracy(others, labels).value
            rows.append(["shadow", number, *both])
    if data.retrained is not None:
        for number, logits in enumerate(data.retrained.logits, 1):
            shares = [
                answers.accuracy(logits[name], data.parts[name].labels).value if name in logits else None
                for name in ("forget", "test")
            ]
            rows.append(["retrained", number, *shares])
    return Table(("kind", "number", "forget_accuracy", "test_accuracy"), rows)


TABLES: dict[str, Callable[[Gathered], Table]] = {
    "rows": _rows,
    "classes": _classes,
    "copies": _copies,
    "layers": _layers,
    "cka": _cka,
    "pattern": _pattern,
    "membership": _membership,
    "residual": _residual,
    "relearning": _relearning,
    "tsne": _tsne,
    "cost": _cost,
    "pools": _pools,
}


def _to_text(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
