"""The job: a classifier, the instances it is to forget, and what counts as forgotten."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.base.errors import ClassifierError, DataError, ExpungeError, ExpungeWarning, ForgetSetError, SettingsError
from expunge.compute.seeds import seeded_generator
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.models.classifier import Classifier, check_logits
from expunge.models.steadiness import check_copy, check_steadiness
from expunge.task.earlier import Earlier
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Misclassify, Relabel, check_labels
from expunge.task.transforms import TRANSFORMS, Transform

BOUNDS_TOLERANCE = 1e-6
DARKEST = 1 / 255
"""Share of the pixel range that some pixel of 8-bit images exceeds, unless they are all black or were scaled twice."""


class StopReason(StrEnum):
    """Why an edit ended."""

    GOAL_REACHED = "goal_reached"
    COMPLETED = "completed"
    """The method's own rule ended it, and the goal does not hold for every row."""
    STEP_LIMIT = "step_limit"
    TIME_LIMIT = "time_limit"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"


class Strength(StrEnum):
    """When a row counts as forgotten."""

    EXACT = "exact"
    """The goal holds on the very pixels given."""
    ROBUST = "robust"
    """It also holds on at least 95% of fresh copies: mirrored, shifted, resized, recompressed, noised by default."""


class Effort(StrEnum):
    """How much work an edit may be: less work changes other answers more."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


@dataclass(frozen=True, slots=True)
class Limits:
    """When to give up; None leaves the number of steps to the method, and the time open."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise SettingsError("max_steps", "at least 1", str(self.steps))
        if self.seconds is not None and not self.seconds > 0:
            raise SettingsError("max_seconds", "above 0", str(self.seconds))


@dataclass(frozen=True, slots=True)
class Task:
    """A classifier and a forget set that fit each other, and the goal; `Task.create` checks that they do.

    Args:
        classifier: f0; no method may change it.
        forget_set: the k rows.
        goal: what is to hold for each of them.
        labels: (k,) the labels that the goal speaks of.
        right: (k,) which rows the classifier predicts as labelled.
        seed: where all randomness of the edit comes from.
        limits: when to give up.
        strength: whether the goal is to hold on copies of the rows, too.
        retain: the rest of the training data, only for a method that declares that it needs it.
        transforms: what makes a copy, by name.
        earlier: what earlier edits left, for a method that goes on from them; None for a first edit.
        allowed: (k,) logits by which each row may fall short of the boundary, see `find_allowed`; None: none may.
    """

    classifier: Classifier
    forget_set: ForgetSet
    goal: Goal
    labels: Int[Tensor, " k"]
    right: Bool[Tensor, " k"]
    seed: int = 0
    limits: Limits = Limits()
    strength: Strength = Strength.EXACT
    retain: Images | None = None
    transforms: Mapping[str, Transform] = field(default_factory=lambda: TRANSFORMS)
    earlier: Earlier | None = None
    allowed: Float[Tensor, " k"] | None = None

    @classmethod
    def create(  # noqa: PLR0913 - the parts of a task, nine of them optional
        cls,
        classifier: Classifier,
        forget_set: ForgetSet,
        *,
        goal: Goal | None = None,
        seed: int = 0,
        limits: Limits = Limits(),
        minimum_right: float = 0.5,
        strength: Strength = Strength.EXACT,
        retain: Images | None = None,
        transforms: Mapping[str, Transform] = TRANSFORMS,
        at_once: Sharing | int = 256,
        earlier: Earlier | None = None,
    ) -> "Task":
        """Return the task, after checking once that classifier and forget set fit each other.

        Args:
            classifier: the trained classifier.
            forget_set: the rows to forget, pixels within the classifier's bounds.
            goal: default: `Relabel` if the forget set has new labels, otherwise `Misclassify`.
            seed: source of all randomness.
            limits: when to give up.
            minimum_right: share of rows (0..1) that the classifier must predict as labelled. Fewer mean most often
                that the normalisation or the labels are wrong.
            strength: whether the goal is to hold on copies of the rows, too.
            retain: the rest of the training data, for a method that needs it.
            transforms: what makes a copy, by name.
            at_once: rows in one pass; see `compute_logits`.
            earlier: what earlier edits left, for a method that goes on from them.

        Raises:
            ForgetSetError: labels or pixels out of range, or too few rows predicted as labelled.
            DataError: retain data are empty, of other classes or another size, or hold a row to forget.
            ClassifierError: no weight to edit, wrong number of outputs, NaN, probabilities, or answers that depend on
                the batch or on chance.

        Warns:
            ExpungeWarning: some rows are not predicted as labelled.
        """
        if not any(weight.requires_grad for weight in classifier.module.parameters()):
            raise ClassifierError(
                "classifier", "a weight that requires gradients", "none", "call requires_grad_(True) on those to edit"
            )
        check_labels(forget_set, classifier.num_classes)
        _check_pixels(classifier, forget_set)
        logits = _compute_first_logits(classifier, forget_set, at_once)
        right = logits.argmax(dim=1).cpu() == forget_set.y.cpu()
        _check_right(right, minimum_right)
        if retain is not None:
            _check_retain(classifier, forget_set, retain)
        chosen = goal or (Misclassify() if forget_set.y_new is None else Relabel())
        labels = chosen.labels(forget_set, classifier.num_classes, seeded_generator(seed, "labels"))
        return cls(classifier, forget_set, chosen, labels, right, seed, limits, strength, retain, transforms, earlier)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a CPU generator of this task's own for one purpose, the same each time."""
        return seeded_generator(self.seed, purpose)


def _check_pixels(classifier: Classifier, forget_set: ForgetSet) -> None:
    bounds = classifier.bounds
    lowest, highest = float(forget_set.x.min()), float(forget_set.x.max())
    slack = BOUNDS_TOLERANCE * bounds.width
    if lowest < bounds.lower - slack or highest > bounds.upper + slack:
        raise ForgetSetError(
            "x",
            f"pixels within {bounds.lower}..{bounds.upper}",
            f"{lowest:.4g}..{highest:.4g}",
            "scale the images, leave normalisation to the classifier, or state the bounds",
        )
    if 0 < highest - bounds.lower <= DARKEST * bounds.width + slack:
        raise ForgetSetError(
            "x",
            f"pixels that use the range {bounds.lower}..{bounds.upper}",
            f"{lowest:.4g}..{highest:.4g}",
            "scale the images once, or state their bounds",
        )


def _compute_first_logits(classifier: Classifier, forget_set: ForgetSet, at_once: Sharing | int) -> Tensor:
    try:
        logits = compute_logits(classifier, forget_set.x, at_once)
    except ExpungeError:
        raise
    except Exception as error:  # a network says in its own way that an image is not what it takes
        shape, reason = tuple(forget_set.x.shape[1:]), (str(error).splitlines() or [type(error).__name__])[0]
        raise ForgetSetError("x", "images that the classifier takes", f"{shape} ({reason})") from error
    check_logits(logits, classifier.num_classes)
    check_steadiness(classifier, forget_set.x)
    check_copy(classifier, forget_set.x)
    return logits


def _check_retain(classifier: Classifier, forget_set: ForgetSet, retain: Images) -> None:
    labels = retain.labels
    if len(labels) == 0:
        raise DataError("retain", "at least one image", "none")
    if int(labels.min()) < 0 or int(labels.max()) >= classifier.num_classes:
        found = f"{int(labels.min())}..{int(labels.max())}"
        raise DataError("retain", f"labels in 0..{classifier.num_classes - 1}", found, "check the class list")
    shape, wanted = tuple(retain.load([0]).shape[1:]), tuple(forget_set.x.shape[1:])
    if shape != wanted:
        raise DataError("retain", f"images of the forget set's shape {wanted}", str(shape))
    rows = {name: row for row, name in enumerate(forget_set.ids)}
    shared = [(number, rows[name]) for number, name in enumerate(retain.ids) if name in rows]
    same = [row for number, row in shared if torch.equal(retain.load([number])[0], forget_set.x[row].cpu())]
    if same:
        names = ", ".join(forget_set.ids[row] for row in same[:5])
        raise DataError("retain", "none of the images to forget", f"{len(same)} of them: {names}", "leave them out")


def _check_right(right: Tensor, minimum_right: float) -> None:
    count, total = int(right.sum()), len(right)
    if count < minimum_right * total:
        raise ForgetSetError(
            "forget set",
            f"at least {100 * minimum_right:.0f}% of the forget set predicted as labelled",
            f"{count} of {total}",
            "the normalisation, the labels, the class order or the size that images are brought to may be wrong; "
            "lower the minimum if they are not",
        )
    if count < total:
        warnings.warn(
            f"{total - count} of {total} rows are not predicted as labelled: they are misclassified already, "
            "or the normalisation is wrong",
            ExpungeWarning,
            stacklevel=3,
        )
