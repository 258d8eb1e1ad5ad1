"""Random label: train on everything, the rows to forget under a random wrong label."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F

from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.data.images import Joined
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, Training, require_retain, to_images, train
from expunge.task.edit import Edit
from expunge.task.goals import draw_other_labels
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomLabel:
    """SGD on CE over D_r and D_f together, each row of D_f under one random label other than its own.

    Graves et al. 2021 (arXiv 2010.10981), with rate and epochs as in Fan et al. 2024 (arXiv 2310.12508).
    Without retain data it is `correct` with the goal to misclassify.

    Differs from the paper: the wrong label of a row is drawn once and not anew each epoch, so that it can be learnt.
    """

    name: ClassVar[str] = "random-label"
    summary: ClassVar[str] = "train on everything, the rows under a random wrong label"
    source: ClassVar[str] = "Graves et al., AAAI 2021, arXiv 2010.10981"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    training: Training = field(default_factory=Training)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        working = task.classifier.to(runtime.device).copy()
        return train(
            self,
            Trainer(task, working, self.training, meter),
            images=mislabel(task),
            losses=lambda batch: {"everything": F.cross_entropy(working(batch.x), batch.y)},
        )


def mislabel(task: Task) -> Joined:
    """Return the rows to forget, each under a random label other than its own, and then the retain data."""
    labels = draw_other_labels(task.forget_set.y, task.classifier.num_classes, task.generator("random labels"))
    return Joined(to_images(task.forget_set, labels), require_retain(task))
