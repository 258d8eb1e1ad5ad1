"""The form in which figures are declared; the tables of them are in the files named after what they speak of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.audit.collect.collected import Gathered
from expunge.audit.metrics.chance import USUAL
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Part
from expunge.audit.record import Direction, Figure

WORDS = (
    *("Rows", "rows", "row", "share", "held", "class_name", "test_words", "retain_words", "nonmembers", "parts"),
    *("forget", "retain", "test", "class", "copies", "surrogates", "shadows", "retrained"),
)
"""What may stand in braces in a figure's title and in what it was measured on; the second row are numbers."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An estimate whose target, or tolerance, is only known with it; `on` says more of what it was measured on."""

    estimate: Estimate
    target: float | None
    tolerance: float
    on: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One figure.

    Args:
        title: what it is, in a few plain words; in braces may stand a word of `WORDS`, such as {rows}.
        unit: see `record.Figure`.
        direction: which way is better.
        measured_on: in words, the same; {forget}, {retain}, {test} and {class} are numbers of images.
        compute: the figure; raises NotDefinedError with the reason where there is none.
        target: what it should be; None if it only describes.
        tolerance: how far beyond the target it may be without being flagged, in its own unit.
        for_class: whether it is only of a class that is forgotten as a whole.
    """

    title: str
    unit: str
    direction: Direction
    measured_on: str
    compute: Callable[[Gathered], Estimate | Judged | float]
    target: float | None = None
    tolerance: float = 0.0
    for_class: bool = False


def to_figure(definition: Definition, computed: Estimate | Judged | float, *, title: str, measured_on: str) -> Figure:
    """Return the figure that was computed, flagged if it misses its target."""
    if not isinstance(computed, Judged):
        plain = computed if isinstance(computed, Estimate) else Estimate(computed)
        computed = Judged(plain, definition.target, definition.tolerance)
    estimate, target = computed.estimate, computed.target
    return Figure(
        title=title,
        value=_short(estimate.value),
        unit=definition.unit,
        direction=definition.direction,
        target=None if target is None else _short(target),
        measured_on=f"{measured_on}; {computed.on}" if computed.on else measured_on,
        flagged=None if target is None else misses(estimate, definition.direction, target, computed.tolerance),
        interval=None if estimate.interval is None else (_short(estimate.interval[0]), _short(estimate.interval[1])),
    )


def misses(estimate: Estimate, direction: Direction, target: float, tolerance: float) -> bool | None:
    """Return whether a value is beyond its target by more than the tolerance; None where no side is better.

    A value that should be near its target must also exclude it from its interval, since few rows scatter. Without an
    interval nobody knows, so that it is None as well; an exact value has itself at both ends.

    >>> misses(Estimate(0.6, (0.48, 0.7)), Direction.NEAR, 0.5, 0.05)
    False
    >>> misses(Estimate(0.6), Direction.NEAR, 0.5, 0.05)
    """
    if direction is Direction.NONE or (direction is Direction.NEAR and estimate.interval is None):
        return None
    if direction is Direction.HIGHER:
        return estimate.value < target - tolerance
    if direction is Direction.LOWER:
        return estimate.value > target + tolerance
    low, high = estimate.interval or (-np.inf, np.inf)
    return abs(estimate.value - target) > tolerance and not low <= target <= high


def above_chance(estimate: Estimate, chance: Float[np.ndarray, " d"], least: float = 0.0, on: str = "") -> Judged:
    """Return an estimate whose target is its mean by chance; it misses it above 95% of chance, and by over `least`."""
    target = float(chance.mean())
    return Judged(estimate, target, max(least, float(np.quantile(chance, USUAL)) - target), on)


def generator(data: Gathered, purpose: str) -> np.random.Generator:
    """Return a generator that depends on the seed and on what it is for."""
    return np.random.default_rng([data.seed, *purpose.encode()])


def logits_of(part: Part, when: str) -> np.ndarray:
    """Return the logits of a part, (n, classes), before or after the edit."""
    return part.before if when == "before" else part.after


def require_answers(data: Gathered, when: str) -> None:
    """Check that the classifier tells anything apart: attacks on one that doesn't find nothing, whatever it saw.

    Raises:
        NotDefinedError: it gives every image the same answer.
    """
    answers = np.concatenate([logits_of(part, when).argmax(axis=1) for part in data.parts.values()])
    if len(np.unique(answers)) < 2:
        raise NotDefinedError("the classifier gives every image the same answer")


def _short(value: float) -> float:
    """Return six digits, which are more than any of these figures is good for."""
    return float(f"{value:.6g}")
