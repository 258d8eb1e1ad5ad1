"""What earlier edits of a classifier leave to the next: the classifier that was first, and rows that stay forgotten."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.models.tails import cut_at
from expunge.task.evaluation import SHARE_OF_COPIES, compute_logits
from expunge.task.goals import Goal, Misclassify, achieved
from expunge.task.transforms import draw_copies

CHECKED_EVERY = 4
"""Of the kept copies of a row, each fourth has no part in an edit: whether they hold is what is looked at."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The classifier before the first edit, and the rows of earlier edits.

    Args:
        first: whose answers on other images should stay; an edit charges for the whole change since it.
        rows: forgotten earlier; None if there are none. Where there is a cut, `x` is what goes through it.
        cut: the module after which layers may change, see `expunge.models.tails`; None for all layers.
        copies: (m, n, ...) what goes through the cut for n transformed copies of each row; None where none are kept.
    """

    first: Classifier
    rows: ForgetSet | None = None
    cut: str | None = None
    copies: Float[Tensor, "m n d e f"] | None = None

    def part(self, classifier: Classifier, x: Float[Tensor, "b c h w"]) -> Classifier:
        """Return the part of a classifier that takes what `rows` hold; it shares the classifier's weights.

        Args:
            classifier: with the first one's architecture, and its weights before the cut.
            x: an image, for the sizes.
        """
        return classifier if self.cut is None else cut_at(classifier, self.cut, x)

    def labels(self, goal: Goal) -> Int[Tensor, " m"]:
        """Return the labels that the goal speaks of."""
        assert self.rows is not None  # noqa: S101 - asked of rows
        if isinstance(goal, Misclassify) or self.rows.y_new is None:
            return self.rows.y
        return self.rows.y_new

    def draw_copies(self, chosen: Int[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b d e f"]:
        """Return a transformed copy of each chosen row: a fresh one of an image, else one of those kept for edits."""
        assert self.rows is not None  # noqa: S101 - asked of rows
        if self.cut is None:
            return draw_copies(self.rows.x[chosen], self.first.bounds, generator)
        if self.copies is None:
            return self.rows.x[chosen]
        learnt = [number for number in range(self.copies.shape[1]) if number % CHECKED_EVERY]
        numbers = torch.tensor(learnt)[torch.randint(len(learnt), (len(chosen),), generator=generator)]
        return self.copies[chosen, numbers]

    def holds(
        self, classifier: Classifier, x: Float[Tensor, "b c h w"], goal: Goal, sharing: Sharing, *, robust: bool
    ) -> bool:
        """Return whether all rows hold; after robust edits, also 95% of the copies that no edit has seen.

        Args:
            classifier: the edited one.
            x: an image, for the sizes.
            goal: what should hold.
            sharing: how many go through at a time.
            robust: whether copies are to hold, too.
        """
        if self.rows is None:
            return True
        part, labels = self.part(classifier, x), self.labels(goal).to(classifier.device)
        held = achieved(goal, compute_logits(part, self.rows.x, sharing), labels)
        if self.copies is None or not robust or not bool(held.all()):
            return bool(held.all())
        checked = self.copies[:, ::CHECKED_EVERY]
        logits = compute_logits(part, checked.flatten(0, 1), sharing)
        copies_held = achieved(goal, logits, labels.repeat_interleave(checked.shape[1]))
        return float(copies_held.float().mean()) >= SHARE_OF_COPIES
