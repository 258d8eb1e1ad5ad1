"""Bad teacher: a student learns the forget set from a network that knows nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import draw_numbers
from expunge.data.images import ConcatImages, Images, Subset
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, require_retain, to_images, train
from expunge.methods.published.scrub import distillation_loss
from expunge.models.reinitialise import reinitialise
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Algorithm, Augmentation, Batch, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class BadTeacher(Settings):
    """Descend KL(random network || student) on D_f and KL(f0 || student) on a part of D_r, drawn together.

    Chundawat et al. 2023 (arXiv 2205.08096): Adam, one pass, 30% of D_r, no augmentation. As in their code, the loss is
    the mean over rows and classes: KL over the number of classes, which Adam takes no notice of.
    """

    name: ClassVar[str] = "bad-teacher"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "learn the rows from an untrained network, the rest from the old one"
    source: ClassVar[str] = "Chundawat et al., AAAI 2023, arXiv 2205.08096"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    temperature: float = setting(1.0, "temperature of both softmaxes (T)", above=0, spread=4)
    retain_share: float = setting(0.3, "share of the retain data that is used, drawn at random", above=0, at_most=1)
    training: Training = field(
        default_factory=lambda: Training(
            epochs=1,
            learning_rate=1e-4,
            weight_decay=0.0,
            batch_size=256,
            algorithm=Algorithm.ADAM,
            augmentation=Augmentation.NONE,
        )
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        good, bad = (task.classifier.to(runtime.device).frozen_copy() for _ in range(2))
        reinitialise(bad, task.generator("bad teacher"))
        student = task.classifier.to(runtime.device).copy()
        images = ConcatImages(to_images(task.forget_set, task.forget_set.y), self._draw_retain(task))
        forgotten = len(task.forget_set)

        def losses(batch: Batch) -> Mapping[str, Tensor]:
            to_forget = (batch.rows < forgotten).unsqueeze(1)
            wanted = torch.where(to_forget, bad(batch.x), good(batch.x))
            return {"distillation": mean_divergence(student(batch.x), wanted, self.temperature)}

        return train(self, Trainer(task, student, self.training, context), images=images, losses=losses)

    def _draw_retain(self, task: Task) -> Images:
        retain = require_retain(task)
        total = len(retain.labels)
        count = max(1, int(self.retain_share * total))
        return Subset(retain, draw_numbers(count, total, task.generator("retain part")))


def mean_divergence(
    student: Float[Tensor, "b classes"], teacher: Float[Tensor, "b classes"], temperature: float
) -> Float[Tensor, ""]:
    """Return KL(softmax(teacher / T) || softmax(student / T)) over the number of classes, the mean over rows.

    >>> logits = Tensor([[3.0, 1.0, 2.0]])
    >>> mean_divergence(logits, logits, 4.0).item()
    0.0
    """
    return distillation_loss(student, teacher, temperature) / (temperature**2 * student.shape[1])
