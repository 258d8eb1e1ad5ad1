"""The figures of answers, weights and cost: all that a quick audit needs."""

import math
from collections.abc import Callable

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures.definition import Definition, Judged
from expunge.audit.metrics import answers, weights
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.weights import Shift
from expunge.audit.record import WHEN, Direction
from expunge.compute.context import Cost
from expunge.task.outcome import Spread
from expunge.task.words import CLASS_PART, UNSEEN, part_words

HELD_SHARE = 95.0
PARTS = ("retain", "test")
PART_WORDS = {
    "forget": "{forget} {rows}",
    "retain": "{retain} {retain_words}",
    "test": "{test} {test_words}",
    CLASS_PART: "{class} test images of the class {class_name}",
}
PART_NAMES = {name: words.partition(" ")[2] for name, words in PART_WORDS.items()}
OTHER_ARCHITECTURE = "the two classifiers have different architectures"


def _goal_exact(data: Gathered) -> Estimate:
    return answers.share(answers.goal_met(data.forget.after, data.goal_labels, data.goal, data.allowed), census=True)


def _unchanged(data: Gathered) -> Estimate:
    if data.goal == UNSEEN:
        raise NotDefinedError("most answers are to stay, only less certain")
    if data.forgotten_class:
        raise NotDefinedError("a class was forgotten as a whole, with its mistakes")
    met = answers.goal_met(data.forget.after, data.goal_labels, data.goal, data.allowed)
    return answers.share(met & (data.forget.predicted_before == data.forget.predicted_after), census=True)


def _copies_before(data: Gathered) -> float:
    if data.goal == UNSEEN:
        raise NotDefinedError("the goal asks how much each lead falls, which it had not before")
    return 100 * need(data.copies_before, "it was not measured").share


def _accuracy(part: str, when: str) -> Callable[[Gathered], Estimate]:
    def compute(data: Gathered) -> Estimate:
        rows = data.part(part)
        logits = rows.before if when == "before" else rows.after
        return answers.accuracy(logits, data.judged_labels(part), census=part in data.whole)

    return compute


def _drop(part: str) -> Callable[[Gathered], float]:
    return lambda data: _accuracy(part, "before")(data).value - _accuracy(part, "after")(data).value


def _churn(part: str) -> Callable[[Gathered], Estimate]:
    def compute(data: Gathered) -> Estimate:
        rows = data.part(part)
        return answers.churn(rows.predicted_before, rows.predicted_after, census=part in data.whole)

    return compute


def _expected_churn(data: Gathered) -> float:
    return need(data.expected, "the edit's cost was not measured on surrogates").churn


def _largest_share(data: Gathered) -> Judged:
    rows = data.others
    before = answers.largest_share(rows.predicted_before)
    found = answers.largest_share(rows.predicted_after, census=rows.name in data.whole)
    return Judged(found, before.value, 5.0, data_words(data, rows.name))


def _in_use(data: Gathered) -> Judged:
    """Return how many equally frequent classes would have the entropy of the answers."""
    rows = data.others
    before, after = (math.exp(Spread.of(each).entropy) for each in (rows.predicted_before, rows.predicted_after))
    return Judged(Estimate(after), before, 0.1 * before, data_words(data, rows.name))


def data_words(data: Gathered, part: str) -> str:
    """Return how many images of a part there are, and what they are called."""
    return f"{len(data.parts[part].ids):,} {part_words(part, data.goal, data.forgotten_class)}"


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
    "goal.unchanged": Definition(
        "{Rows} for which the goal held before, and whose answer is the same",
        "percent",
        Direction.LOWER,
        PART_WORDS["forget"],
        _unchanged,
        0.0,
    ),
    "goal.robust": Definition(
        "Goal achieved, transformed copies",
        "percent",
        Direction.HIGHER,
        "{copies} fresh copies of each of {forget} {rows}",
        lambda data: 100 * data.copies.share,
        100.0,
        100 - HELD_SHARE,
    ),
    "goal.robust_before": Definition(
        "Goal held before the edit, transformed copies",
        "percent",
        Direction.NONE,
        "the same {copies} copies of each of {forget} {rows}",
        _copies_before,
    ),
    "goal.robust_rows": Definition(
        "{Rows} of which at least 95% of the copies {held}",
        "percent",
        Direction.HIGHER,
        "{copies} fresh copies of each of {forget} {rows}",
        lambda data: 100 * data.copies.rows_held,
        100.0,
    ),
    "goal.robust_worst": Definition(
        "Goal achieved after the worst transform",
        "percent",
        Direction.HIGHER,
        "copies of {forget} {rows}, by transform or pair",
        lambda data: 100 * data.copies.by_kind[data.copies.worst_kind],
        100.0,
        100 - HELD_SHARE,
    ),
}

OF_GOAL = {
    f"accuracy.forget_{when}": Definition(
        f"{{Rows}} {{share}}, {when}", "percent", Direction.NONE, PART_WORDS["forget"], _accuracy("forget", when)
    )
    for when in WHEN
} | {
    "accuracy.forget_drop": Definition(
        "Fall of that share", "points", Direction.NONE, PART_WORDS["forget"], _drop("forget")
    )
}

OF_OTHERS = {
    name: definition
    for part in PARTS
    for name, definition in {
        **{
            f"accuracy.{part}_{when}": Definition(
                f"Accuracy on {PART_NAMES[part]}, {when}",
                "percent",
                Direction.NONE,
                PART_WORDS[part],
                _accuracy(part, when),
            )
            for when in WHEN
        },
        f"accuracy.{part}_drop": Definition(
            f"Accuracy lost on {PART_NAMES[part]}",
            "points",
            Direction.LOWER,
            PART_WORDS[part],
            _drop(part),
            0.0,
            1.0,
        ),
    }.items()
}

OF_CLASS = {
    "accuracy.class_before": Definition(
        "Test images of the class {class_name} answered with it, before",
        "percent",
        Direction.NONE,
        PART_WORDS[CLASS_PART],
        _accuracy(CLASS_PART, "before"),
        for_class=True,
    ),
    "accuracy.class_after": Definition(
        "Test images of the class {class_name} answered with it, after",
        "percent",
        Direction.LOWER,
        PART_WORDS[CLASS_PART],
        _accuracy(CLASS_PART, "after"),
        0.0,
        5.0,
        for_class=True,
    ),
}

ACCURACIES = {**OF_GOAL, **OF_OTHERS, **OF_CLASS}

CHURN = {
    **{
        f"churn.{part}": Definition(
            f"Answers that changed on {PART_NAMES[part]}",
            "percent",
            Direction.LOWER,
            PART_WORDS[part],
            _churn(part),
            0.0,
            1.0,
        )
        for part in PARTS
    },
    "churn.expected": Definition(
        "Answers that changed on surrogates",
        "percent",
        Direction.LOWER,
        "{surrogates} surrogates, made-up images that lie nearer to boundaries than photographs",
        _expected_churn,
    ),
    "answers.largest_share": Definition(
        "Answers that are the most frequent class",
        "percent",
        Direction.LOWER,
        "other images; the target is its value before",
        _largest_share,
    ),
    "answers.in_use": Definition(
        "Classes in use, by the entropy of the answers",
        "",
        Direction.HIGHER,
        "other images; the target is its value before",
        _in_use,
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
        "images through one forward and one backward pass, over {forget} {rows}",
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

FIGURES = {**GOALS, **ACCURACIES, **CHURN, **WEIGHTS, **COST}
