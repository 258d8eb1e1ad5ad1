"""Everything that the figures of one audit are computed from; what is missing says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.audit.collect.features import LayerSimilarity
from expunge.audit.collect.given_away import GivenAway
from expunge.audit.collect.relearning import Relearning
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.predicted import Labels, Logits, Part
from expunge.audit.metrics.shadows import Stack
from expunge.audit.metrics.weights import Shift
from expunge.audit.record import Slice
from expunge.compute.context import Cost
from expunge.task.evaluation import RobustGoal
from expunge.task.expected import ExpectedCost
from expunge.task.outcome import Health, choose_part
from expunge.task.words import CLASS_PART, GoalWords, goal_words

T = TypeVar("T")
ONLY_FULL = "only a full audit measures this"


@dataclass(frozen=True, slots=True)
class FeaturePart:
    """Features of some rows of a part, before and after; and of a retrained classifier, if there is one.

    Args:
        rows: row numbers within the part.
        before: (n, d) features of the original classifier.
        after: (n, e) features of the edited one.
        retrained: (n, f) features of the first retrained classifier.
    """

    rows: Int[np.ndarray, " n"]
    before: Float[np.ndarray, "n d"]
    after: Float[np.ndarray, "n e"]
    retrained: Float[np.ndarray, "n f"] | None = None


@dataclass(frozen=True, slots=True)
class Shadows:
    """Logits of shadow classifiers, each trained on some of the rows.

    Args:
        seen: which classifier was trained on which forgotten row.
        forget: logits on the forgotten rows, as trained.
        test_rows: row numbers of the test part that were asked.
        test: logits on those.
        unlearned_forget: logits on the forgotten rows after each unlearned those of them that it was trained on.
        unlearned_test: the same on the test rows.
        how: how they were trained, in words.
    """

    seen: Bool[np.ndarray, "s k"]
    forget: Stack
    test_rows: Int[np.ndarray, " n"]
    test: Stack
    unlearned_forget: Stack | None
    unlearned_test: Stack | None
    how: str


@dataclass(frozen=True, slots=True)
class Retrained:
    """Logits of classifiers that were trained without the forgotten rows, one array a classifier, by part."""

    logits: tuple[Mapping[str, Logits], ...]
    how: str


@dataclass(frozen=True, slots=True)
class Noised:
    """Answers on noised copies of test rows, before and after."""

    before: Labels
    after: Labels


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Answers on copies of forgotten rows with Gaussian noise, the same copies for every classifier.

    Args:
        rows: (k,) numbers of the rows.
        before: (c, k) answers of the original classifier to c copies of each.
        after: (c, k) those of the edited one.
        retrained: (c, k) those of each classifier that was trained without the rows.
    """

    rows: Int[np.ndarray, " k"]
    before: Int[np.ndarray, "c k"]
    after: Int[np.ndarray, "c k"]
    retrained: tuple[Int[np.ndarray, "c k"], ...]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Where some rows of a part lie on the map of the features.

    Args:
        rows: (n,) numbers of the rows.
        before: (n, 2) positions by the original classifier's features.
        after: (n, 2) the same by those of the edited one.
    """

    rows: Int[np.ndarray, " n"]
    before: Float[np.ndarray, "n 2"]
    after: Float[np.ndarray, "n 2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deep:
    """What only a full audit gathers.

    Args:
        features: by part.
        noised: answers on noised copies of test rows.
        perturbed: answers on noised copies of the forgotten rows.
        layers: similarity of each layer, by part.
        relearning: one curve a classifier.
        embeddings: by part.
        slices: through decision boundaries.
        given_away: how the change of the weights answers to images.
        untrained: (draws, k, classes) logits on the forgotten rows of the same architecture with random weights.
        reasons: why a piece of that name is missing.
    """

    features: Mapping[str, FeaturePart] = field(default_factory=dict)
    noised: Noised | None = None
    perturbed: Perturbed | None = None
    layers: Sequence[LayerSimilarity] = ()
    relearning: Sequence[Relearning] = ()
    embeddings: Mapping[str, Embedding] = field(default_factory=dict)
    slices: Sequence[Slice] = ()
    given_away: GivenAway | None = None
    untrained: Stack | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The inputs of every figure.

    Args:
        goal: a name of `GOALS`.
        goal_labels: the labels that the goal speaks of.
        parts: forget, and retain, test and class where there are any; labels are those in the data.
        copies: how well the goal holds on transformed copies.
        copies_before: how well it held on the same ones before; None: that was not measured.
        seed: of resampling.
        shifts: of the weights; None if the architectures differ.
        cost: what the edit took, if that is known.
        deep: of a full audit.
        shadows: of a pool of shadow classifiers.
        retrained: of a pool of retrained ones.
        pictures: whether the images of the goal are part of the folder.
        forgotten_class: name of the class that was forgotten as a whole; empty where rows were.
        whole: the parts of which every image there is was asked, so that a share of them is no estimate.
        expected: the edit's cost on surrogates, if that is known.
        used: the parts that the edit saw.
        allowed: logits by which each row may fall short of the goal's boundary; None: none may.
    """

    goal: str
    goal_labels: Labels
    parts: Mapping[str, Part]
    copies: RobustGoal
    seed: int
    shifts: tuple[Shift, ...] | None = None
    cost: Cost | None = None
    deep: Deep | None = None
    shadows: Shadows | None = None
    retrained: Retrained | None = None
    pictures: bool = False
    forgotten_class: str = ""
    whole: tuple[str, ...] = ("forget",)
    expected: ExpectedCost | None = None
    used: tuple[str, ...] = ()
    allowed: Float[np.ndarray, " k"] | None = None
    copies_before: RobustGoal | None = None

    @property
    def words(self) -> GoalWords:
        """Return the words of the goal."""
        return goal_words(self.goal, self.forgotten_class)

    @property
    def forget(self) -> Part:
        """Return the rows that the goal speaks of."""
        return self.parts["forget"]

    def judged_labels(self, name: str) -> Labels:
        """Return the labels that accuracies of a part count: those that the goal speaks of, or else those in the data.

        Raises:
            NotDefinedError: there are no such images.
        """
        return self.goal_labels if name == "forget" else self.part(name).labels

    @property
    def nonmembers(self) -> Part:
        """Return images that were never trained on and are like the rows: of a whole class, its test images.

        Raises:
            NotDefinedError: there are none.
        """
        return self.part(CLASS_PART if self.forgotten_class else "test")

    @property
    def others(self) -> Part:
        """Return images that the edit was not asked to change: test, or else retain.

        Raises:
            NotDefinedError: there are neither.
        """
        return self.part("test" if "test" in self.parts else "retain")

    def find_health(self) -> Health | None:
        """Return whether the classifier is still of use; None if there was nothing to tell it from."""
        name = choose_part(tuple(self.parts), self.used)
        if name is None:
            return None if self.expected is None else self.expected.health
        part = self.parts[name]
        both = part.predicted_before, part.predicted_after
        return Health.of(name, *both, classes=part.num_classes, labels=part.labels)

    def part(self, name: str) -> Part:
        """Return a part by name.

        Raises:
            NotDefinedError: there are no such images.
        """
        return need(self.parts.get(name), f"there are no {name} images")

    def need_deep(self) -> Deep:
        """Return what a full audit gathers.

        Raises:
            NotDefinedError: this is a quick one.
        """
        return need(self.deep, ONLY_FULL)

    def features(self, name: str) -> FeaturePart:
        """Return the features of a part.

        Raises:
            NotDefinedError: there are none.
        """
        deep = self.need_deep()
        return need(deep.features.get(name), deep.reasons.get("features", f"there are no {name} images"))

    def need_shadows(self) -> Shadows:
        """Return the shadow classifiers' logits.

        Raises:
            NotDefinedError: there are none.
        """
        return need(self.shadows, "there are no shadow classifiers")

    def need_retrained(self) -> Retrained:
        """Return the retrained classifiers' logits.

        Raises:
            NotDefinedError: there are none.
        """
        return need(self.retrained, "there is no retrained classifier")

    def curve(self, name: str) -> Relearning:
        """Return the relearning curve of a classifier.

        Raises:
            NotDefinedError: there is none.
        """
        deep = self.need_deep()
        found = [curve for curve in deep.relearning if curve.classifier == name]
        if not found:
            reason = "there is no retrained classifier" if name.startswith("retrained") and deep.relearning else ""
            raise NotDefinedError(reason or deep.reasons.get("relearning", "it was not measured"))
        return found[0]


def need(value: T | None, reason: str) -> T:
    """Return a value that is there.

    Raises:
        NotDefinedError: it is not.
    """
    if value is None:
        raise NotDefinedError(reason)
    return value
