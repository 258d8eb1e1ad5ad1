"""The figures of distance to a classifier that never saw the forget set, and of what goes on inside."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from expunge.audit.collect import relearning
from expunge.audit.collect.collected import FeaturePart, Gathered, need
from expunge.audit.figures.definition import Definition, Judged
from expunge.audit.metrics import answers, geometry, retrained
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Logits
from expunge.audit.record import Direction

Answers = TypeVar("Answers")
"""Of one classifier: accuracies by part, or logits of the forgotten rows."""
RETRAINED_CURVE = "retrained 1"
THRESHOLDS = {"half": 0.5, "full": 1.0}


def _edited_accuracies(data: Gathered) -> dict[str, float]:
    return {name: answers.accuracy(part.after, part.labels).value for name, part in data.parts.items()}


def _retrained_accuracies(data: Gathered) -> list[dict[str, float]]:
    return [
        {name: answers.accuracy(one[name], part.labels).value for name, part in data.parts.items()}
        for one in data.need_retrained().logits
    ]


def _judge(
    figure: Callable[[Answers, list[Answers]], Estimate],
    edited: Answers,
    others: list[Answers],
    tolerance: float,
) -> Judged:
    """Return a comparison with retrained classifiers; its target is what they score against each other, if several."""
    if len(others) < 2:
        return Judged(figure(edited, others), None, tolerance, "no target: one says nothing of how far several differ")
    among = [figure(one, others[:number] + others[number + 1 :]).value for number, one in enumerate(others)]
    return Judged(figure(edited, others), float(np.mean(among)), tolerance)


def _of_accuracies(
    figure: Callable[[Mapping[str, float], list[Mapping[str, float]]], Estimate], tolerance: float
) -> Callable[[Gathered], Judged]:
    def compute(data: Gathered) -> Judged:
        others: list[Mapping[str, float]] = [*_retrained_accuracies(data)]
        return _judge(figure, _edited_accuracies(data), others, tolerance)

    return compute


def _of_answers(figure: Callable[[Logits, list[Logits]], Estimate], tolerance: float) -> Callable[[Gathered], Judged]:
    def compute(data: Gathered) -> Judged:
        others = [one["forget"] for one in data.need_retrained().logits]
        return _judge(figure, data.forget.after, others, tolerance)

    return compute


def _neighbours(data: Gathered) -> Estimate:
    asked, others = data.features("forget"), data.features("retain")
    nearest = np.unique(geometry.nearest_rows(asked.before, others.before))
    rows, retain = others.rows[nearest], data.part("retain")
    return answers.churn(retain.predicted_before[rows], retain.predicted_after[rows])


def _noised(data: Gathered) -> Estimate:
    noised = need(data.need_deep().noised, "there are no test images")
    return answers.churn(noised.before, noised.after)


def _relearned(share: str, classifier: str) -> Callable[[Gathered], Judged]:
    def compute(data: Gathered) -> Judged:
        old = answers.accuracy(data.forget.before, data.forget.labels).value
        if old == 0:
            raise NotDefinedError("no row was right before")
        wanted = THRESHOLDS[share] * old
        steps = relearning.steps_until(data.curve(classifier), wanted)
        target, why = _steps_of_retrained(data, wanted) if classifier == "edited" else (None, "")
        return Judged(Estimate(steps), target, 0.0, why)

    return compute


def _steps_of_retrained(data: Gathered, wanted: float) -> tuple[float | None, str]:
    """Return the steps that a retrained classifier takes, more than were made if it never gets there, or why none."""
    try:
        curve = data.curve(RETRAINED_CURVE)
    except NotDefinedError as error:
        return None, f"no target: {error}"
    try:
        steps = relearning.steps_until(curve, wanted)
    except NotDefinedError as error:
        return float(curve.steps[-1] + relearning.EVERY), f"of a retrained classifier, {error}"
    if steps == 0:
        return None, "no target: a retrained classifier is there before any step"
    return float(steps), ""


def _probe(which: str) -> Callable[[Gathered], Judged]:
    """Return the probe's accuracy on forgotten rows; the target is its accuracy on test rows, which nobody saw."""

    def compute(data: Gathered) -> Judged:
        if which == "retrained":
            data.need_retrained()
        parts = {name: data.features(name) for name in ("forget", "retain")}
        labels = {name: data.part(name).labels[part.rows] for name, part in parts.items()}
        probe = geometry.Probe(_features(parts["retain"], which), labels["retain"])
        census = len(parts["forget"].rows) == len(data.forget.ids)
        value = answers.share(probe.predict(_features(parts["forget"], which)) == labels["forget"], census=census)
        target = None
        if "test" in data.need_deep().features:
            unseen = data.features("test")
            right = probe.predict(_features(unseen, which)) == data.part("test").labels[unseen.rows]
            target = answers.share(right).value
        return Judged(value, target, 5.0)

    return compute


def _features(part: FeaturePart, which: str) -> np.ndarray:
    features = {"before": part.before, "after": part.after, "retrained": part.retrained}[which]
    return need(features, "there is no retrained classifier")


def _cka(forgotten: str) -> Callable[[Gathered], float]:
    def compute(data: Gathered) -> float:
        name = forgotten if forgotten == "forget" else _other_part(data)
        part = data.features(name)
        return geometry.linear_cka(part.before, part.after)

    return compute


def _other_part(data: Gathered) -> str:
    return "test" if "test" in data.need_deep().features else "retain"


RETRAINED = {
    "retrained.gap": Definition(
        "Difference of accuracies to retrained classifiers",
        "points",
        Direction.LOWER,
        "{parts} images, {retrained} retrained classifiers; the target is what they differ by among themselves",
        _of_accuracies(retrained.gap, 1.0),
    ),
    "retrained.tug_of_war": Definition(
        "Tug of war with retrained classifiers",
        "share",
        Direction.HIGHER,
        "{parts} images, {retrained} retrained classifiers; the target is their own among themselves",
        _of_accuracies(retrained.tug_of_war, 0.03),
    ),
    "retrained.agreement": Definition(
        "{Rows} answered as retrained classifiers do",
        "percent",
        Direction.HIGHER,
        "{forget} {rows}, {retrained} retrained classifiers; the target is their own among themselves",
        _of_answers(retrained.agreement, 5.0),
    ),
    "retrained.distance": Definition(
        "Distance of the probabilities of {rows} to those of retrained classifiers",
        "",
        Direction.LOWER,
        "{forget} {rows}, {retrained} retrained classifiers; the target is their own among themselves",
        _of_answers(retrained.distance, 0.03),
    ),
    "retrained.divergence": Definition(
        "Divergence of the probabilities of {rows} from those of retrained classifiers",
        "nats",
        Direction.LOWER,
        "{forget} {rows}, {retrained} retrained classifiers; the target is their own among themselves",
        _of_answers(retrained.divergence, 0.02),
    ),
}

NEIGHBOURS = {
    "neighbours.retain": Definition(
        "Answers that changed on images like the {rows}",
        "percent",
        Direction.LOWER,
        f"the {geometry.NEIGHBOURS} nearest retain images of each {{row}}, in the original's features",
        _neighbours,
        0.0,
        1.0,
    ),
    "neighbours.noised": Definition(
        "Answers that changed on noised copies of test images",
        "percent",
        Direction.LOWER,
        "at most 1,000 test images with Gaussian noise",
        _noised,
        0.0,
        1.0,
    ),
}

RELEARNING = {
    f"relearning.{share}_{name}": Definition(
        f"Steps until {share if share == 'half' else 'all'} of the old accuracy on them is back, {name} classifier",
        "steps",
        Direction.HIGHER if name == "edited" else Direction.NONE,
        "fine-tuning on retain images; the target is what a retrained classifier takes",
        _relearned(share, RETRAINED_CURVE if name == "retrained" else name),
    )
    for share in THRESHOLDS
    for name in ("original", "edited", "retrained")
}

PROBE = {
    f"probe.{which}": Definition(
        f"{{Rows}} that a linear probe gets right, {which}",
        "percent",
        Direction.LOWER,
        "{forget} {rows}, fitted on features of retain images; the target is its accuracy on test images",
        _probe(which),
    )
    for which in ("before", "after", "retrained")
}

CKA = {
    "cka.forget": Definition(
        "Likeness of features before and after, {rows}",
        "share",
        Direction.NONE,
        "linear CKA of what goes into the last layer",
        _cka("forget"),
    ),
    "cka.other": Definition(
        "Likeness of features before and after, other images",
        "share",
        Direction.NONE,
        "linear CKA of what goes into the last layer",
        _cka("other"),
    ),
}

FIGURES = {**RETRAINED, **NEIGHBOURS, **RELEARNING, **PROBE, **CKA}
