"""What became of an edit: was the goal reached, and is the classifier still good for anything; needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Int

from expunge.base.words import plural
from expunge.task.words import GoalWords, part_words

Labels = Int[np.ndarray, " n"]
SURROGATES = "surrogates"
SPREAD, WHEN = ("largest_share", "entropy", "most_frequent"), ("before", "after")
HALF = 0.5
MOST_CHANGED = 70.0
"""Percent of the answers to surrogates. These lie nearer to boundaries than photographs: where 48% of the answers to
test images changed, 73% of those to surrogates did, and 58% where it was 18% (CIFAR-10, docs/exit_codes.md)."""
LEAST_ENTROPY = 0.3
"""In nats: where answers were already as uneven before, a further fall says nothing."""
NOT_MEASURED = "What it costs on other images was not measured."


class Outcome(StrEnum):
    """What became of an edit."""

    REACHED = "reached"
    MISSED = "missed"
    RUINED = "ruined"
    """Whatever the goal says, the classifier is of no use any more."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Spread:
    """How answers spread over the classes.

    Args:
        largest_share: percent of the answers that are the most frequent one.
        entropy: of the shares of the answers, in nats; 0 if all are the same, ln(classes) if all are as frequent.
        most_frequent: that answer.
    """

    largest_share: float
    entropy: float
    most_frequent: int

    @classmethod
    def of(cls, answers: Labels) -> "Spread":
        """Return the spread of the answers to at least one image.

        >>> spread = Spread.of(np.array([2, 2, 2, 2]))
        >>> spread.largest_share, spread.entropy, spread.most_frequent
        (100.0, 0.0, 2)
        """
        counts = np.bincount(answers)
        shares = counts[counts > 0] / len(answers)
        return cls(100 * float(shares.max()), float(np.abs(-(shares * np.log(shares)).sum())), int(counts.argmax()))


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an edited classifier is still of use, from its answers to images that the edit was not asked to change.

    Args:
        measured_on: test, retain or surrogates.
        images: how many.
        before: spread of the answers before.
        after: the same after.
        churn: percent of the answers that changed.
        accuracy_before: percent; None on surrogates, which have no labels.
        accuracy_after: the same after.
        classes: number of classes.
    """

    measured_on: str
    images: int
    before: Spread
    after: Spread
    churn: float
    accuracy_before: float | None
    accuracy_after: float | None
    classes: int

    @classmethod
    def of(
        cls, measured_on: str, before: Labels, after: Labels, *, classes: int, labels: Labels | None = None
    ) -> "Health":
        """Return the health from the answers before and after to the same images, and their labels if they have any."""
        old, new = (None if labels is None else 100 * float((each == labels).mean()) for each in (before, after))
        churn = 100 * float((before != after).mean())
        return cls(measured_on, len(before), Spread.of(before), Spread.of(after), churn, old, new, classes)

    @property
    def ruined(self) -> bool:
        """Return whether the classifier is of no use any more."""
        return bool(self.reasons())

    def reasons(self) -> list[str]:
        """Return why the classifier is ruined, as halves of sentences; none if it is not.

        It is if it lost at least half of what it was better than guessing, if the entropy of its answers fell to less
        than half, or, where no image has a label, if `MOST_CHANGED` of the answers changed.
        """
        found = []
        if self.accuracy_before is not None and self.accuracy_after is not None:
            chance = 100 / self.classes
            if self.accuracy_before > chance and self.accuracy_after - chance <= HALF * (self.accuracy_before - chance):
                found.append(f"it is right on {self.accuracy_after:.1f}%, and was on {self.accuracy_before:.1f}%")
        elif self.churn >= MOST_CHANGED:
            found.append(f"{self.churn:.0f}% of its answers changed")
        if self.before.entropy >= LEAST_ENTROPY and self.after.entropy < HALF * self.before.entropy:
            found.append(
                f"{self.after.largest_share:.0f}% of its answers are the same class, "
                f"and {self.before.largest_share:.0f}% were before"
            )
        return found

    def to_json(self) -> dict[str, object]:
        """Return what result.json says of it."""
        spread = {name: {"before": getattr(self.before, name), "after": getattr(self.after, name)} for name in SPREAD}
        return {
            "measured_on": self.measured_on,
            "images": self.images,
            **spread,
            "churn": self.churn,
            "accuracy": {"before": self.accuracy_before, "after": self.accuracy_after},
            "classes": self.classes,
            "ruined": self.ruined,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Health":
        """Return what `to_json` wrote."""
        before, after = (Spread(*(content[name][when] for name in SPREAD)) for when in WHEN)
        old, new = (content["accuracy"][when] for when in WHEN)
        where, count, classes = content["measured_on"], content["images"], content["classes"]
        return cls(where, count, before, after, content["churn"], old, new, classes)


def judge(reached: bool, health: Health | None, *, interrupted: bool = False) -> Outcome:
    """Return what became of an edit, from whether it reached its goal and what else became of the classifier."""
    if interrupted:
        return Outcome.INTERRUPTED
    if health is not None and health.ruined:
        return Outcome.RUINED
    return Outcome.REACHED if reached else Outcome.MISSED


def say_outcome(words: GoalWords, share: float, rows: int, *, copies: float | None = None) -> str:
    """Return in a sentence whether the goal was met.

    Args:
        words: of the goal.
        share: of the rows for which it holds on the exact pixels, 0..1.
        rows: how many there are.
        copies: of copies for which it holds, 0..1, where it was to hold on them, too, and does not on enough.

    >>> from expunge.task.words import goal_words
    >>> say_outcome(goal_words("correct"), 0.5, 16)
    'The goal was not met: it holds for only 8 of 16 images.'
    """
    if share >= 1 and copies is not None:
        return (
            f"The goal was not met: {words.met}, but only {100 * copies:.1f}% of changed copies {words.held}, so "
            f"{words.brittle}."
        )
    if share >= 1:
        return f"The goal was met: {words.met}."
    held = round(share * rows)
    return f"The goal was not met: it holds for {f'only {held:,}' if held else 'none'} of {plural(rows, 'image')}."


def say_health(health: Health | None, names: Mapping[str, str] | None = None) -> list[str]:
    """Return sentences on a classifier that is ruined or was not looked at; none on a sound one.

    Args:
        health: None where there was nothing to measure it on.
        names: what the parts are called, where not as usual.
    """
    if health is None:
        return [NOT_MEASURED]
    reasons = health.reasons()
    if not reasons:
        return []
    where = (
        "surrogates"
        if health.measured_on == SURROGATES
        else (names or {}).get(health.measured_on, part_words(health.measured_on, "misclassify"))
    )
    return [f"The classifier is ruined: on {health.images:,} {where}, {' and '.join(reasons)}."]


def choose_part(measured: Sequence[str], used: Sequence[str]) -> str | None:
    """Return the part on which health is measured: test, or else retain if the edit did not see it; None of neither."""
    return next((name for name in ("test", "retain") if name in measured and name not in used), None)
