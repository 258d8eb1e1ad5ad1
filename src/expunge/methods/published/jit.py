"""JiT: make the classifier smooth around the rows, so that it no longer knows them better than their surroundings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Augmentation, Batch, Trainer, Training, to_images, train
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class JiT:
    """SGD on the mean of ||f(x) - f(x + xi)|| / ||xi|| over Gaussian xi, for one pass over D_f.

    Foster et al. 2024 (arXiv 2402.01401). The noisy branch has no gradient, and noisy
    images stay in the range of their batch.

    Differs from the paper: sigma is a share of the pixel range, since images here are not normalised; BatchNorm is
    frozen.
    """

    name: ClassVar[str] = "jit"
    summary: ClassVar[str] = "smooth the classifier around the rows"
    source: ClassVar[str] = "Foster et al., 2024, arXiv 2402.01401"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    perturbations: int = setting(25, "noisy copies of each row in a step", at_least=1)
    sigma: float = setting(0.01, "standard deviation of the noise, as a share of the pixel range", above=0, spread=30)
    training: Training = field(
        default_factory=lambda: Training(
            epochs=1,
            learning_rate=3e-4,
            weight_decay=0.0,
            batchnorm=BatchNormMode.FROZEN,
            augmentation=Augmentation.NONE,
        )
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        working = task.classifier.to(runtime.device).copy()
        noise = task.generator("jitter")
        sigma = self.sigma * working.bounds.width

        def losses(batch: Batch) -> Mapping[str, Tensor]:
            logits = working(batch.x)
            drawn = [sigma * torch.randn(batch.x.shape, generator=noise) for _ in range(self.perturbations)]
            ratios = [measure_roughness(working, batch.x, logits, each.to(batch.x)) for each in drawn]
            return {"roughness": torch.stack(ratios).mean()}

        images = to_images(task.forget_set, task.forget_set.y)
        return train(self, Trainer(task, working, self.training, meter), images=images, losses=losses)


def measure_roughness(
    classifier: Classifier,
    x: Float[Tensor, "b c h w"],
    logits: Float[Tensor, "b classes"],
    noise: Float[Tensor, "b c h w"],
) -> Float[Tensor, " b"]:
    """Return ||f(x) - f(x + xi)|| / ||xi|| of each row, with a gradient through f(x) only.

    Args:
        classifier: f.
        x: the rows.
        logits: f(x).
        noise: xi; x + xi is clamped to the range of x.
    """
    with torch.no_grad():
        noisy = classifier((x + noise).clamp(float(x.min()), float(x.max())))
    ratio: Tensor = (logits - noisy).norm(dim=1) / noise.flatten(1).norm(dim=1)
    return ratio
