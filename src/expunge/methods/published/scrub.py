"""SCRUB: a student that disobeys its teacher on the forget set and follows it on the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, require_retain, run_epochs, to_images
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Augmentation, Batch, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub(Settings):
    """Each epoch first raises KL(teacher || student) on D_f, then lowers b KL(teacher || student) + g CE on D_r.

    The teacher is the classifier as it was; the optimiser holds the student only. Kurmanji et al. 2023 (arXiv
    2302.09880); the settings are those of their large-scale notebook, which augments nothing. KL is at temperature T
    and times T^2, as in distillation.

    Differs from the paper: no rewinding to an earlier epoch (SCRUB+R), since that needs a validation set.
    """

    name: ClassVar[str] = "scrub"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "a student disobeys its teacher on the rows and follows it on the rest"
    source: ClassVar[str] = "Kurmanji et al., NeurIPS 2023, arXiv 2302.09880"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    temperature: float = setting(4.0, "temperature of both softmaxes (T)", above=0)
    distillation_weight: float = setting(0.001, "weight of KL on the retain data", at_least=0, spread=100)
    label_weight: float = setting(0.99, "weight of CE on the retain data", at_least=0)
    raising_epochs: int = setting(2, "first epochs, in which KL on the rows is raised", at_least=0)
    forget_batch: int = setting(512, "rows in a step that raises KL", at_least=1)
    training: Training = field(
        default_factory=lambda: Training(epochs=3, learning_rate=5e-4, batch_size=256, augmentation=Augmentation.NONE)
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        teacher = task.classifier.to(runtime.device).frozen_copy()
        student = task.classifier.to(runtime.device).copy()
        trainer = Trainer(task, student, self.training, context)
        forget, retain = to_images(task.forget_set, task.forget_set.y), require_retain(task)

        def raise_divergence(batch: Batch) -> Mapping[str, Tensor]:
            return {"forget": -distillation_loss(student(batch.x), teacher(batch.x), self.temperature)}

        def lower_divergence(batch: Batch) -> Mapping[str, Tensor]:
            logits = student(batch.x)
            distilled = distillation_loss(logits, teacher(batch.x), self.temperature)
            return {
                "distillation": self.distillation_weight * distilled,
                "retain": self.label_weight * F.cross_entropy(logits, batch.y),
            }

        def run_epoch(epoch: int) -> Mapping[str, float]:
            raised = dict[str, float]()
            if epoch < self.raising_epochs:
                raised = trainer.run_pass(forget, raise_divergence, epoch=epoch, batch_size=self.forget_batch)
            return {**raised, **trainer.run_pass(retain, lower_divergence, epoch=epoch)}

        return run_epochs(self, trainer, run_epoch)


def distillation_loss(
    student: Float[Tensor, "b classes"], teacher: Float[Tensor, "b classes"], temperature: float
) -> Float[Tensor, ""]:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over rows (Hinton et al. 2015).

    >>> logits = Tensor([[3.0, 1.0, 2.0]])
    >>> distillation_loss(logits, logits, 4.0).item()
    0.0
    """
    wanted = F.log_softmax(teacher / temperature, dim=1)
    given = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(given, wanted, reduction="batchmean", log_target=True)
