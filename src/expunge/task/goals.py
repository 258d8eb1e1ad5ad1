"""What "forgotten" means, image by image.

A goal speaks of one label a row: the label to leave (`Misclassify`) or the label to reach (`Relabel`).
Everything else follows from the gap, the distance of a row's logits to the nearest boundary that it must cross.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.base.errors import ForgetSetError
from expunge.data.forget import ForgetSet


class Goal(Protocol):
    """A loss and a test of "achieved", per row."""

    name: ClassVar[str]

    def labels(self, forget_set: ForgetSet, num_classes: int, generator: torch.Generator) -> Int[Tensor, " k"]:
        """Return the label that the goal speaks of, one a row."""
        ...

    def loss(self, logits: Float[Tensor, "b classes"], labels: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return L_UL, the loss that unlearning descends, one a row."""
        ...

    def gap(self, logits: Float[Tensor, "b classes"], labels: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return how far each row is from the boundary it must cross: logits, negative once it has crossed."""
        ...


@dataclass(frozen=True, slots=True)
class Misclassify:
    """Every row answers with any label but its own.

    >>> Misclassify().gap(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0])).item()
    1.0
    """

    name: ClassVar[str] = "misclassify"

    def labels(self, forget_set: ForgetSet, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the labels to leave."""
        return forget_set.y

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return -CE(f(x), y) (Cha et al. 2024, arXiv 2301.11578, section 3)."""
        return -F.cross_entropy(logits, labels, reduction="none")

    def gap(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return f_y - max over c != y of f_c."""
        own, other = _own_and_best_other(logits, labels)
        return own - other


@dataclass(frozen=True, slots=True)
class Unseen(Misclassify):
    """Every row's label leads by no more than that of a classifier would that had never seen it (`task/unseen.py`).

    Most rows keep their answer, less certain than before; as many lose it as the classifier is wrong about images that
    it never saw. What each may lead by is what it may fall short of the boundary, see `achieved`. A transformed copy
    may lead by what it led by before the edit, less what its row is to lose.
    """

    name: ClassVar[str] = "unseen"


@dataclass(frozen=True, slots=True)
class Relabel:
    """Every row answers with its new label: the one given, or one drawn at random from the others.

    >>> Relabel().gap(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([2])).item()
    1.0
    """

    name: ClassVar[str] = "relabel"

    def labels(self, forget_set: ForgetSet, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the labels to reach; where none are given, draw each uniformly from the K - 1 others."""
        if forget_set.y_new is not None:
            return forget_set.y_new
        return draw_other_labels(forget_set.y, num_classes, generator)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return CE(f(x), y*) (Cha et al. 2024, arXiv 2301.11578, section 3)."""
        return F.cross_entropy(logits, labels, reduction="none")

    def gap(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return max over c != y* of f_c - f_y*."""
        own, other = _own_and_best_other(logits, labels)
        return other - own


@dataclass(frozen=True, slots=True)
class Correct(Relabel):
    """Every row, which is a mistake of the classifier, answers with its label in the data.

    It is a relabelling from the classifier's answer (`y` of the forget set) to the label in the data (`y_new`), and
    methods pursue it as one; who judges the edit asks for the label in the data, see `true_labels`.
    """

    name: ClassVar[str] = "correct"

    def labels(self, forget_set: ForgetSet, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return the labels in the data.

        Raises:
            ForgetSetError: none are given.
        """
        if forget_set.y_new is None:
            raise ForgetSetError("y_new", "the label in the data of each mistake", "none")
        return forget_set.y_new


GOALS: dict[str, Goal] = {goal.name: goal for goal in (Misclassify(), Relabel(), Correct(), Unseen())}


def pursued_as(goal: str) -> str:
    """Return the goal that a method must be able to pursue, for the goal of that name.

    >>> pursued_as("correct"), pursued_as("misclassify")
    ('relabel', 'misclassify')
    """
    return Relabel.name if goal == Correct.name else goal


def true_labels(goal: Goal, rows: ForgetSet) -> Int[Tensor, " k"]:
    """Return the label in the data of each row: of a correction the one to reach, otherwise the one to leave."""
    return rows.y_new if goal.name == Correct.name and rows.y_new is not None else rows.y


def achieved(
    goal: Goal,
    logits: Float[Tensor, "b classes"],
    labels: Int[Tensor, " b"],
    allowed: Float[Tensor, " b"] | None = None,
) -> Bool[Tensor, " b"]:
    """Return which rows hold the goal; a tie or a NaN does not.

    Args:
        goal: what is to hold.
        logits: of the rows.
        labels: that the goal speaks of.
        allowed: logits by which each may fall short of its boundary; None: none may.
    """
    gaps = goal.gap(logits, labels)
    return gaps < (0 if allowed is None else allowed.to(gaps.device))


def count_unchanged(held: Bool[Tensor, " k"], before: Int[Tensor, " k"], after: Int[Tensor, " k"]) -> int:
    """Return for how many rows the goal holds with the answer that they had before the edit.

    >>> count_unchanged(torch.tensor([True, True, False]), torch.tensor([1, 1, 1]), torch.tensor([1, 2, 1]))
    1
    """
    return int((held & (before == after)).sum())


def draw_other_labels(labels: Int[Tensor, " b"], num_classes: int, generator: torch.Generator) -> Int[Tensor, " b"]:
    """Return for each row one label drawn uniformly from the K - 1 labels that are not its own.

    >>> drawn = draw_other_labels(torch.tensor([0, 1, 2]), 3, torch.Generator().manual_seed(0))
    >>> bool((drawn != torch.tensor([0, 1, 2])).all())
    True
    """
    offset = torch.randint(1, num_classes, labels.shape, generator=generator).to(labels.device)
    return (labels + offset) % num_classes


def check_labels(forget_set: ForgetSet, num_classes: int) -> None:
    """Check that labels and new labels are classes of the classifier.

    Raises:
        ForgetSetError: one isn't; the first of them is named.
    """
    for name, labels in (("label", forget_set.y), ("new label", forget_set.y_new)):
        wrong = [] if labels is None else (labels >= num_classes).nonzero().flatten().tolist()
        if labels is not None and wrong:
            first = f"{name} {int(labels[wrong[0]])} of image {forget_set.ids[wrong[0]]}"
            more = f" and {len(wrong) - 1} more" if wrong[1:] else ""
            raise ForgetSetError(name, f"{name}s in 0..{num_classes - 1}", first + more, "check the class list")


def _own_and_best_other(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    index = labels.unsqueeze(1)
    own = logits.gather(1, index).squeeze(1)
    other = logits.scatter(1, index, -torch.inf).amax(dim=1)
    return own, other
