"""The figures of the pattern of misclassification: where the answers of forgotten images went."""

import numpy as np

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.definition import Definition, Judged
from expunge.audit.metrics import answers, pattern
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Labels
from expunge.audit.record import Direction
from expunge.task.words import MISCLASSIFY


def _left(data: Gathered) -> tuple[Labels, Labels, np.ndarray]:
    """Return labels, new answers and former logits of the rows that left their label."""
    if data.goal != MISCLASSIFY:
        raise NotDefinedError("the goal names the new labels")
    rows = data.forget
    left = rows.predicted_after != rows.labels
    if not left.any():
        raise NotDefinedError("no row left its label")
    return rows.labels[left], rows.predicted_after[left], rows.before[left]


def _pattern_largest(data: Gathered) -> Judged:
    labels, found, before = _left(data)
    expected = answers.largest_share(pattern.runner_up(before, labels))
    return Judged(answers.largest_share(found, census=True), expected.value, 20.0)


def _pattern_runner_up(data: Gathered) -> Estimate:
    labels, found, before = _left(data)
    return pattern.runner_up_share(before, found, labels)


def _pattern_distance(data: Gathered) -> float:
    labels, found, before = _left(data)
    return pattern.pattern_distance(before, found, labels)


FIGURES = {
    "pattern.largest_share": Definition(
        "{Rows} with the most frequent new answer",
        "percent",
        Direction.LOWER,
        "rows that left their label, against what their second choices give",
        _pattern_largest,
    ),
    "pattern.runner_up": Definition(
        "{Rows} that took their second choice",
        "percent",
        Direction.NONE,
        "rows that left their label",
        _pattern_runner_up,
    ),
    "pattern.distance": Definition(
        "Distance of new answers from second choices",
        "share",
        Direction.LOWER,
        "rows that left their label; total variation over label and answer",
        _pattern_distance,
        0.0,
        0.5,
    ),
}
