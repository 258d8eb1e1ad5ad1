"""Random label: train the forget set on random labels, and the rest on its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.images import ConcatImages, Images
from expunge.methods.protocol import Aim, Method, Needs
from expunge.methods.published.epochs import Trainer, require_retain, run_epochs, to_images
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Batch, Training
from expunge.training.trainer import do_nothing


class Order(StrEnum):
    """In which order an epoch goes through the rows to forget and the retain data."""

    ROWS_FIRST = "rows_first"
    """The rows by themselves, then the retain data: what Fan et al. do on CIFAR-10."""
    MIXED = "mixed"
    """Both in one random order: what they do on CIFAR-100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomLabel(Settings):
    """SGD on CE: each epoch first the rows of D_f, each under a random label, its own possible, and then D_r.

    Graves et al. 2021 (arXiv 2010.10981), as in the code of Fan et al. 2024 (arXiv 2310.12508). The labels are drawn
    anew each epoch. Without retain data it is `relabel-only` with the goal to misclassify.
    """

    name: ClassVar[str] = "random-label"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "train the rows on random labels and the rest on its own"
    source: ClassVar[str] = "Graves et al., AAAI 2021, arXiv 2010.10981"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    order: Order = setting(Order.ROWS_FIRST, "in which order an epoch goes through the rows and the retain data")
    training: Training = field(default_factory=lambda: Training(batch_size=256))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        return train_on_random_labels(self, Trainer(task, working, self.training, context), self.order)


def train_on_random_labels(
    method: Method, trainer: Trainer, order: Order, after_step: Callable[[], None] = do_nothing
) -> Edit:
    """Return the edit that descends CE over the retain data and the rows to forget, under labels drawn anew each epoch.

    Args:
        method: whose edit it is.
        trainer: trains the working copy of a task with retain data.
        order: of the two in an epoch.
        after_step: called after each step of the optimiser.
    """
    task, working = trainer.task, trainer.working
    rows, retain, generator = task.forget_set, require_retain(task), trainer.generator("random labels")

    def pass_over(name: str, images: Images, epoch: int) -> Mapping[str, float]:
        def losses(batch: Batch) -> Mapping[str, Tensor]:
            return {name: F.cross_entropy(working(batch.x), batch.y)}

        return trainer.run_pass(images, losses, epoch=epoch, after_step=after_step)

    def run_epoch(epoch: int) -> Mapping[str, float]:
        forget = to_images(rows, draw_labels(len(rows), working.num_classes, generator))
        if order is Order.MIXED:
            return pass_over("everything", ConcatImages(forget, retain), epoch)
        return {**pass_over("forget", forget, epoch), **pass_over("retain", retain, epoch)}

    return run_epochs(method, trainer, run_epoch)


def draw_labels(count: int, num_classes: int, generator: torch.Generator) -> Int[Tensor, " k"]:
    """Return labels drawn uniformly from all classes."""
    return torch.randint(num_classes, (count,), generator=generator)
