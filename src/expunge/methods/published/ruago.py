"""RUAGO: learn adversarial answers for the rows, and the old answers on images made from the classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.data.images import Subset, TensorImages
from expunge.methods.descent import endless_batches
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.amun import NearestSearch, find_nearest
from expunge.methods.published.delete import divergence
from expunge.methods.published.epochs import Augmentation, Batch, Trainer, Training, run_epochs
from expunge.methods.published.scrub import distillation_loss
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.surrogates.inverted import Inversion, invert_classifier
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruago:
    """Descend KL(q || softmax f) on D_f and KL(f0 || f) on synthetic images, the easiest of these first.

    q is the softmax of f0 at a row's adversarial example, softened by a temperature: a wrong but plausible answer, so
    that a row is not pushed further than unseen ones are. In epoch e of E the synthetic images are the e / E of them of
    which f0 is surest. NeurIPS 2025, "RUAGO: Effective and Practical Retain-Free Unlearning via Adversarial Attack and
    OOD Generator" (OpenReview 1YzRtbaAzZ).

    Differs from the paper: images are inverted from BatchNorm statistics one by one, from dead leaves, not by a
    generator that was trained on other data; the adversarial example is the nearest one that was found (see `Amun`);
    BatchNorm is frozen. Without BatchNorm, dead leaves are the images.
    """

    name: ClassVar[str] = "ruago"
    summary: ClassVar[str] = "learn adversarial soft answers for the rows, the old answers on inverted images"
    source: ClassVar[str] = "RUAGO, NeurIPS 2025, OpenReview 1YzRtbaAzZ"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    softness: float = setting(2.0, "temperature of the adversarial answers", above=0, spread=4)
    images: int = setting(
        1536, "synthetic images; as many as least-change inverts, so that they are made once", at_least=1
    )
    distillation_weight: float = setting(1.0, "weight of KL on the synthetic images", at_least=0, spread=10)
    search: NearestSearch = field(default_factory=NearestSearch)
    inversion: Inversion = field(default_factory=Inversion)
    training: Training = field(
        default_factory=lambda: Training(
            learning_rate=1e-3, weight_decay=0.0, batchnorm=BatchNormMode.FROZEN, augmentation=Augmentation.NONE
        )
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        reference = task.classifier.to(runtime.device).frozen_copy()
        working = task.classifier.to(runtime.device).copy()
        rows = task.forget_set.to(runtime.device)
        wanted = self.soften(reference, rows.x, meter)
        shape = (rows.x.shape[1], rows.x.shape[2], rows.x.shape[3])
        synthetic = invert_classifier(reference, self.images, shape, self.inversion, meter)
        logits = compute_logits(reference, synthetic, runtime.batch_size)
        numbered = TensorImages([str(row) for row in range(len(logits))], logits.argmax(1).cpu(), synthetic.cpu())
        order = logits.softmax(dim=1).amax(dim=1).argsort(descending=True, stable=True).tolist()
        chosen = endless_batches(len(rows), self.training.batch_size, task.generator("forget batches"))

        def losses(batch: Batch) -> Mapping[str, Tensor]:
            forget = next(chosen).to(runtime.device)
            meter.add_gradients(len(forget))
            kept = distillation_loss(working(batch.x), reference(batch.x), 1.0)
            return {
                "rows": divergence(working(rows.x[forget]), wanted[forget]).mean(),
                "distillation": self.distillation_weight * kept,
            }

        trainer = Trainer(task, working, self.training, meter)

        def run_epoch(epoch: int) -> Mapping[str, float]:
            easy = order[: count_easy(len(order), epoch, self.training.epochs)]
            return trainer.run_pass(Subset(numbered, easy), losses, epoch=epoch)

        return run_epochs(self, trainer, run_epoch)

    def soften(
        self, reference: Classifier, x: Float[Tensor, "k c h w"], meter: CostMeter
    ) -> Float[Tensor, "k classes"]:
        """Return q: the softened answers of f0 to the rows' nearest adversarial examples."""
        nearest = find_nearest(reference, x, self.search, meter)
        logits = compute_logits(reference, nearest.x, meter.runtime.batch_size)
        return torch.softmax(logits / self.softness, dim=1)


def count_easy(count: int, epoch: int, epochs: int) -> int:
    """Return how many of the synthetic images, the easiest first, an epoch uses; the last one uses all.

    >>> [count_easy(10, epoch, 4) for epoch in range(4)]
    [3, 5, 8, 10]
    """
    return ceil(count * (epoch + 1) / epochs)
