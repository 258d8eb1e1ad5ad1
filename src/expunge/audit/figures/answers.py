"""The figures of answers, weights and cost: all that a quick audit needs."""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures.definition import Definition, Judged
from expunge.audit.metrics import answers, pattern, weights
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Labels
from expunge.audit.metrics.weights import Shift
from expunge.audit.record import Direction
from expunge.compute.context import Cost

HELD_SHARE = 95.0
PARTS = ("forget", "retain", "test")
PART_WORDS = {"forget": "{forget} forgotten rows", "retain": "{retain} retain images", "test": "{test} test images"}
OTHER_ARCHITECTURE = "the two classifiers have different architectures"


def _goal_exact(data: Gathered) -> Estimate:
    return answers.share(answers.goal_met(data.forget.after, data.goal_labels, data.goal))


def _accuracy(part: str, when: str) -> Callable[[Gathered], Estimate]:
    def compute(data: Gathered) -> Estimate:
        rows = data.part(part)
        return answers.accuracy(rows.before if when == "before" else rows.after, rows.labels)

    return compute


def _drop(part: str) -> Callable[[Gathered], float]:
    return lambda data: _accuracy(part, "before")(data).value - _accuracy(part, "after")(data).value


def _churn(part: str) -> Callable[[Gathered], Estimate]:
    return lambda data: answers.churn(data.part(part).predicted_before, data.part(part).predicted_after)


def _largest_share(data: Gathered) -> Judged:
    test = data.part("test")
    before = answers.largest_share(test.predicted_before)
    return Judged(answers.largest_share(test.predicted_after), before.value, 5.0)


def _left(data: Gathered) -> tuple[Labels, Labels, np.ndarray]:
    """Return labels, new answers and former logits of the rows that left their label."""
    if data.goal == "relabel":
        raise NotDefinedError("the goal names the new labels")
    rows = data.forget
    left = rows.predicted_after != rows.labels
    if not left.any():
        raise NotDefinedError("no row left its label")
    return rows.labels[left], rows.predicted_after[left], rows.before[left]


def _pattern_largest(data: Gathered) -> Judged:
    labels, found, before = _left(data)
    expected = answers.largest_share(pattern.runner_up(before, labels))
    return Judged(answers.largest_share(found), expected.value, 20.0)


def _pattern_runner_up(data: Gathered) -> Estimate:
    labels, found, before = _left(data)
    return pattern.runner_up_share(before, found, labels)


def _pattern_distance(data: Gathered) -> float:
    labels, found, before = _left(data)
    return pattern.pattern_distance(before, found, labels)


def _of_weights(figure: Callable[[tuple[Shift, ...]], float]) -> Callable[[Gathered], float]:
    return lambda data: figure(need(data.shifts, OTHER_ARCHITECTURE))


def _of_cost(figure: Callable[[Cost], float]) -> Callable[[Gathered], float]:
    return lambda data: figure(need(data.cost, "it is not known what the edit took"))


def _gradients_per_row(data: Gathered) -> float:
    return _of_cost(lambda cost: cost.gradient_evaluations / len(data.forget.ids))(data)


GOALS = {
    "goal.exact": Definition(
        "Goal achieved, exact pixels", "percent", Direction.HIGHER, PART_WORDS["forget"], _goal_exact, 100.0
    ),
    "goal.robust": Definition(
        "Goal achieved, transformed copies",
        "percent",
        Direction.HIGHER,
        "{copies} fresh copies of each of {forget} rows",
        lambda data: 100 * data.copies.share,
        100.0,
        100 - HELD_SHARE,
    ),
    "goal.robust_rows": Definition(
        "Rows of which at least 95% of the copies hold",
        "percent",
        Direction.HIGHER,
        "{copies} fresh copies of each of {forget} rows",
        lambda data: 100 * data.copies.rows_held,
        100.0,
    ),
    "goal.robust_worst": Definition(
        "Goal achieved after the worst transform",
        "percent",
        Direction.HIGHER,
        "copies of {forget} rows, by transform or pair",
        lambda data: 100 * data.copies.by_kind[data.copies.worst_kind],
        100.0,
        100 - HELD_SHARE,
    ),
}

ACCURACIES = {
    name: definition
    for part in PARTS
    for name, definition in {
        f"accuracy.{part}_before": Definition(
            f"Accuracy on {part} images before", "percent", Direction.NONE, PART_WORDS[part], _accuracy(part, "before")
        ),
        f"accuracy.{part}_after": Definition(
            f"Accuracy on {part} images after", "percent", Direction.NONE, PART_WORDS[part], _accuracy(part, "after")
        ),
        f"accuracy.{part}_drop": Definition(
            f"Accuracy lost on {part} images",
            "points",
            Direction.NONE if part == "forget" else Direction.LOWER,
            PART_WORDS[part],
            _drop(part),
            None if part == "forget" else 0.0,
            1.0,
        ),
    }.items()
}

CHURN = {
    **{
        f"churn.{part}": Definition(
            f"Answers that changed on {part} images",
            "percent",
            Direction.LOWER,
            PART_WORDS[part],
            _churn(part),
            0.0,
            1.0,
        )
        for part in ("retain", "test")
    },
    "answers.largest_share": Definition(
        "Answers that are the most frequent class", "percent", Direction.LOWER, PART_WORDS["test"], _largest_share
    ),
}

PATTERN = {
    "pattern.largest_share": Definition(
        "Forgotten rows with the most frequent new answer",
        "percent",
        Direction.LOWER,
        "rows that left their label, against what their second choices give",
        _pattern_largest,
    ),
    "pattern.runner_up": Definition(
        "Forgotten rows that took their second choice",
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

WEIGHTS = {
    "weights.l2": Definition(
        "Change of the weights", "L2", Direction.NONE, "all floating-point tensors", _of_weights(weights.total_l2)
    ),
    "weights.relative": Definition(
        "Change of the weights, relative",
        "percent",
        Direction.NONE,
        "all floating-point tensors, against their norm before",
        _of_weights(weights.total_relative),
    ),
    "weights.touched": Definition(
        "Tensors that changed", "percent", Direction.NONE, "all floating-point tensors", _of_weights(weights.touched)
    ),
}

COST = {
    "cost.seconds": Definition(
        "Time of the edit", "seconds", Direction.LOWER, "the edit's own account", _of_cost(lambda cost: cost.seconds)
    ),
    "cost.gradients_per_row": Definition(
        "Gradient evaluations a row",
        "",
        Direction.LOWER,
        "images through one forward and one backward pass, over {forget} rows",
        _gradients_per_row,
    ),
    "cost.memory": Definition(
        "Peak memory",
        "bytes",
        Direction.LOWER,
        "the edit's own account",
        _of_cost(lambda cost: float(cost.peak_memory_bytes)),
    ),
}

FIGURES = {**GOALS, **ACCURACIES, **CHURN, **PATTERN, **WEIGHTS, **COST}
