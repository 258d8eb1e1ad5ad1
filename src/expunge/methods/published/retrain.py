"""Retrain: from scratch, without the forget set. The reference for "as if never seen"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from expunge.base.settings import setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, require_retain, run_epochs
from expunge.models.classifier import Classifier
from expunge.models.reinitialise import reinitialise
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Algorithm, Recipe, make_losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """New weights, then SGD on CE(D_r) with a cosine from rate 0.1, flips and crops: nothing is left of the old ones.

    The recipe is the usual one of CIFAR (He et al. 2016, arXiv 1512.03385, with a cosine in place of the steps); any
    that `expunge train` takes will do. It is a fair reference only if it is the one that the given classifier was
    trained with, or reaches its accuracy. Weights that require no
    gradients stay as they were, and whatever they know of the rows with them. Until the first epoch is over, the state
    that an interruption keeps is the classifier as it was given.
    """

    name: ClassVar[str] = "retrain"
    summary: ClassVar[str] = "train from scratch on the retain data: the reference"
    source: ClassVar[str] = "He et al., CVPR 2016, arXiv 1512.03385 (recipe)"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    training: Recipe = field(default_factory=lambda: Recipe(epochs=200, warmup=0.0, algorithm=Algorithm.SGD))
    seed_offset: int = setting(0, "added to the seed: another training without the same rows", at_least=0)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        drawing = replace(task, seed=task.seed + self.seed_offset)
        retain, trainer = require_retain(task), Trainer(drawing, working, self.training, context)
        trainer.task = task  # the seed that the edit tells is the one that was asked for
        fresh = task.classifier.to(runtime.device).copy()
        reinitialise(fresh, drawing.generator("new weights"))
        losses = make_losses(working, self.training)

        def run_epoch(epoch: int) -> Mapping[str, float]:
            if epoch == 0:
                _take_over(working, fresh)
            return trainer.run_pass(retain, losses, epoch=epoch)

        return run_epochs(self, trainer, run_epoch)


def _take_over(working: Classifier, fresh: Classifier) -> None:
    """Copy weights and buffers, except for weights that require no gradients."""
    with torch.no_grad():
        for weight, drawn in zip(working.module.parameters(), fresh.module.parameters(), strict=True):
            if weight.requires_grad:
                weight.copy_(drawn)
        for buffer, new in zip(working.module.buffers(), fresh.module.buffers(), strict=True):
            buffer.copy_(new)
