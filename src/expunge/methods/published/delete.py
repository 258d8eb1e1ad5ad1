"""DELETE: distil the classifier's own answers with the image's label taken out."""

from dataclasses import dataclass, field
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
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.task import Strength, Task
from expunge.training.augmentation import Augmentation, augment


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(Settings):
    """SGD on KL(q || softmax f(x)), q the softmax of f0(x) with the logit of y at minus infinity.

    Zhou et al. 2025 (arXiv 2503.23751); the settings are theirs for CIFAR-10. Rows are mirrored and cropped anew in
    each step, and f0 answers to the same pixels as f.

    Differs from the paper: it stops when no row answers with its label; the authors forget whole classes and stop after
    20 passes over thousands of rows.
    """

    name: ClassVar[str] = "delete"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "distil the old answers with the row's label taken out"
    source: ClassVar[str] = "Zhou et al., CVPR 2025, arXiv 2503.23751"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    augmentation: Augmentation = setting(Augmentation.FLIPS_AND_CROPS, "what is done to rows in each step")
    descent: Descent = field(default_factory=lambda: plain_descent(1e-4, forget_batch=128))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        reference = task.classifier.to(runtime.device).frozen_copy()
        moves = task.generator("augmentation")

        def show(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            moved = augment(x, self.augmentation, reference.bounds, moves)
            return moved, mask_labels(compute_logits(reference, moved, context.sharing), y)

        return push_rows(self, task, context, divergence, task.forget_set.y, show)


def mask_labels(logits: Float[Tensor, "b classes"], y: Int[Tensor, " b"]) -> Float[Tensor, "b classes"]:
    """Return the softmax of `logits` with the probability of `y` at 0; the others keep their proportions.

    >>> mask_labels(torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([0]))
    tensor([[0.0000, 0.5000, 0.5000]])
    """
    return logits.scatter(1, y.unsqueeze(1), -torch.inf).softmax(dim=1)


def divergence(logits: Float[Tensor, "b classes"], wanted: Float[Tensor, "b classes"]) -> Float[Tensor, " b"]:
    """Return KL(wanted || softmax(logits)) of each row; classes that are wanted with probability 0 add nothing."""
    return F.kl_div(F.log_softmax(logits, dim=1), wanted, reduction="none").sum(dim=1)
