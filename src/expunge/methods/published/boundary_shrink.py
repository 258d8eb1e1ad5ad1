"""Boundary shrink: push each row into the class that lies nearest to it."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.plain import plain_descent, push_rows
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryShrink:
    """SGD on CE(f(x), c), c the nearest wrong label: the one that a step of signed gradient away from y leads to.

    Chen et al. 2023 (arXiv 2303.11570).

    Differs from the paper: a row whose step does not leave its class gets the best other label there, where the paper's
    argmax would train it toward the label that it is to lose. It stops when no row answers with its label; the authors
    forget a whole class of thousands of rows and stop after 10 passes, so their rate is small for a few rows.
    """

    name: ClassVar[str] = "boundary-shrink"
    summary: ClassVar[str] = "push each row into its nearest other class"
    source: ClassVar[str] = "Chen et al., CVPR 2023, arXiv 2303.11570"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    step_size: float = setting(
        0.1, "length of the signed step per pixel, as a share of the pixel range", above=0, spread=5
    )
    descent: Descent = field(default_factory=lambda: plain_descent(1e-5))

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        reference = task.classifier.to(runtime.device).frozen_copy()
        rows = task.forget_set.to(runtime.device)
        parts = zip(rows.x.split(runtime.batch_size), rows.y.split(runtime.batch_size), strict=True)
        with meter.phase("nearest labels"):
            nearest = torch.cat([find_nearest_labels(reference, x, y, self.step_size) for x, y in parts])
            meter.add_gradients(len(rows))
        return push_rows(self, task, meter, _cross_entropy, nearest)


def find_nearest_labels(
    classifier: Classifier, x: Float[Tensor, "b c h w"], y: Int[Tensor, " b"], step_size: float
) -> Int[Tensor, " b"]:
    """Return for each row the best label other than `y` after one signed step up CE(f(x), y).

    Args:
        classifier: f0 in eval mode with frozen weights.
        x: pixels within the bounds.
        y: the labels to leave.
        step_size: share of the pixel range by which each pixel moves.
    """
    variable = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(variable), y, reduction="sum"), variable)
    moved = classifier.bounds.clip(x + step_size * classifier.bounds.width * gradient.sign())
    logits = compute_logits(classifier, moved)
    return logits.scatter(1, y.unsqueeze(1), -torch.inf).argmax(dim=1)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")
