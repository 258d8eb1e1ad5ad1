"""Boundary shrink: push each image into the class that lies nearest to it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.plain import plain_descent, push_rows
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task

LEVELS = 255
"""Steps of brightness in 8 bits."""


class NearestLabel(StrEnum):
    """What a row is trained toward, of the answers to the image that the signed step leads to."""

    ANSWER = "answer"
    """The answer itself, be it the row's own label: the step then did not leave the class."""
    OTHER = "other"
    """The best label other than the row's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryShrink(Settings):
    """SGD on CE(f(x), c), c the nearest label: the one that a step of signed gradient away from y leads to.

    Chen et al. 2023 (arXiv 2303.11570). As in their code, the image after the step is rounded to 8 bits, and a row
    whose step does not leave its class is trained toward its own label: one row in eight of 256 on a CIFAR-10
    ResNet-20, for which the goal is then out of reach. `nearest=other` takes the best other label for these.

    Differs from the paper: it stops when no row answers with its label; the authors forget a whole class of thousands
    of rows and stop after 10 passes, so their rate is small for a few rows.
    """

    name: ClassVar[str] = "boundary-shrink"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "push each row into its nearest other class"
    source: ClassVar[str] = "Chen et al., CVPR 2023, arXiv 2303.11570"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    step_size: float = setting(
        0.1, "length of the signed step per pixel, as a share of the pixel range", above=0, spread=5
    )
    nearest: NearestLabel = setting(NearestLabel.ANSWER, "whether a row's own label may be the nearest")
    descent: Descent = field(default_factory=lambda: plain_descent(1e-5, forget_batch=64))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        reference = task.classifier.to(runtime.device).frozen_copy()
        rows = task.forget_set.to(runtime.device)

        def find(part: slice) -> list[Tensor]:
            context.add_gradients(len(rows.x[part]))
            return [self.find_labels(reference, rows.x[part], rows.y[part])]

        with context.phase("nearest labels"):
            [labels] = context.sharing.map_concat(len(rows), find)
        return push_rows(self, task, context, _cross_entropy, labels)

    def find_labels(
        self, classifier: Classifier, x: Float[Tensor, "b c h w"], y: Int[Tensor, " b"]
    ) -> Int[Tensor, " b"]:
        """Return the nearest label of each row.

        Args:
            classifier: f0 in eval mode with frozen weights.
            x: pixels within the bounds.
            y: the labels to leave.
        """
        logits = classifier(take_signed_step(classifier, x, y, self.step_size))
        if self.nearest is NearestLabel.OTHER:
            logits = logits.scatter(1, y.unsqueeze(1), -torch.inf)
        return logits.argmax(dim=1)


def take_signed_step(
    classifier: Classifier, x: Float[Tensor, "b c h w"], y: Int[Tensor, " b"], step_size: float
) -> Float[Tensor, "b c h w"]:
    """Return the images after one signed step up CE(f(x), y), clipped to the bounds and rounded to 8 bits.

    Args:
        classifier: f0 in eval mode with frozen weights.
        x: pixels within the bounds.
        y: labels.
        step_size: share of the pixel range by which each pixel moves.
    """
    bounds, variable = classifier.bounds, x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(variable), y, reduction="sum"), variable)
    moved = bounds.clip(x + step_size * bounds.width * gradient.sign())
    return bounds.lower + ((moved - bounds.lower) / bounds.width * LEVELS).round() / LEVELS * bounds.width


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")
