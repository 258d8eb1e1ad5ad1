"""What earlier edits of a classifier leave to the next: the classifier that was first, and rows that stay forgotten."""

from collections.abc import Mapping
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
from expunge.task.transforms import TRANSFORMS, Transform, draw_copies, shifted

CHECKED_EVERY = 4
"""Of the kept copies of a row, each fourth has no part in an edit: whether they hold is what is looked at."""
SHIFTED = 0.75
"""Share of the copies made of kept ones that are shifted."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The classifier before the first edit, and the rows of earlier edits.

    Args:
        first: whose answers on other images should stay; an edit charges for the whole change since it.
        rows: forgotten earlier; None if there are none. Where there is a cut, `x` is what goes through it.
        cut: the module after which layers may change, see `expunge.models.tails`; None for all layers.
        copies: (m, n, ...) what goes through the cut for n transformed copies of each row; None where none are kept.
        within: how many of the rows to forget, the first ones, were forgotten earlier: their images are there.
    """

    first: Classifier
    rows: ForgetSet | None = None
    cut: str | None = None
    copies: Float[Tensor, "m n d e f"] | None = None
    within: int = 0

    @property
    def count(self) -> int:
        """Return how many rows earlier edits forgot that are not among those to forget."""
        return 0 if self.rows is None else len(self.rows)

    @property
    def begun(self) -> bool:
        """Return whether there were earlier edits, from whose weights this one goes on."""
        return self.count + self.within > 0

    def part(self, classifier: Classifier, x: Float[Tensor, "b c h w"]) -> Classifier:
        """Return the part of a classifier that takes what `rows` hold; it shares the classifier's weights.

        Args:
            classifier: with the first one's architecture, and its weights before the cut.
            x: an image, for the sizes.
        """
        return cut_at(classifier, self.cut, x)

    def labels(self, goal: Goal) -> Int[Tensor, " m"]:
        """Return the labels that the goal speaks of."""
        assert self.rows is not None  # noqa: S101 - asked of rows
        if isinstance(goal, Misclassify) or self.rows.y_new is None:
            return self.rows.y
        return self.rows.y_new

    def draw_copies(
        self,
        chosen: Int[Tensor, " b"],
        generator: torch.Generator,
        *,
        checked: bool = False,
        transforms: Mapping[str, Transform] = TRANSFORMS,
    ) -> Float[Tensor, "b d e f"]:
        """Return a transformed copy of each chosen row: a fresh one of an image, else one made of those that are kept.

        A dozen copies are soon learnt by heart, so an edit gets what lies between two of them, mostly shifted.

        Args:
            chosen: numbers of rows.
            generator: on the CPU.
            checked: of those kept, one that has no part in edits, as it is.
            transforms: what makes a fresh copy of an image, by name.
        """
        assert self.rows is not None  # noqa: S101 - asked of rows
        if self.cut is None:
            return draw_copies(self.rows.x[chosen], self.first.bounds, generator, transforms)
        if self.copies is None:
            return self.rows.x[chosen]
        one = self._draw_kept(chosen, generator, checked=checked)
        if checked:
            return one
        share = torch.rand(len(one), 1, 1, 1, generator=generator)
        mixed = one + share * (self._draw_kept(chosen, generator, checked=False) - one)
        if min(mixed.shape[2:]) == 1:  # tokens or plain vectors, which can't be shifted
            return mixed
        moved = torch.rand(len(one), 1, 1, 1, generator=generator) < SHIFTED
        return torch.where(moved, shifted(mixed, self.first.bounds, generator), mixed)

    def _draw_kept(self, chosen: Tensor, generator: torch.Generator, *, checked: bool) -> Tensor:
        """Return a kept copy of each chosen row, of those that are checked or of the others."""
        assert self.copies is not None  # noqa: S101 - asked of copies
        fitting = [number for number in range(self.copies.shape[1]) if checked == (number % CHECKED_EVERY == 0)]
        numbers = torch.tensor(fitting)[torch.randint(len(fitting), (len(chosen),), generator=generator)]
        return self.copies[chosen, numbers]

    def holds(self, part: Classifier, goal: Goal, sharing: Sharing, *, robust: bool) -> bool:
        """Return whether all rows hold; after robust edits, also 95% of the copies that no edit has seen.

        Args:
            part: that takes what `rows` hold, of the edited classifier.
            goal: what should hold.
            sharing: how many go through at a time.
            robust: whether copies are to hold, too.
        """
        if self.rows is None:
            return True
        labels = self.labels(goal).to(part.device)
        held = achieved(goal, compute_logits(part, self.rows.x, sharing), labels)
        if self.copies is None or not robust or not bool(held.all()):
            return bool(held.all())
        checked = self.copies[:, ::CHECKED_EVERY]
        logits = compute_logits(part, checked.flatten(0, 1), sharing)
        copies_held = achieved(goal, logits, labels.repeat_interleave(checked.shape[1]))
        return float(copies_held.float().mean()) >= SHARE_OF_COPIES
