"""JiT: make the classifier smooth around the forget set, so that it is known no better than its surroundings."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, to_images, train_by
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.models.normalised import Normalised
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Augmentation, Batch, Training
from expunge.training.step import Pass, Terms

SMALLEST = 1e-12
"""Under a noise that the clamp has taken away altogether."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JiT(Settings):
    """SGD on the sum over rows of the mean of ||f(x) - f(x + xi)|| / ||xi|| over Gaussian xi, for one pass over D_f.

    Foster et al. 2024 (arXiv 2402.01401); reduction, noise and step as in their code. x is the normalised image, and
    so are the units of xi. The noisy image is clamped to the range of its batch before the distance is taken, and its
    branch has no gradient. Their code never resets the gradients: those of successive batches add up, which is a
    momentum of 1.

    Like theirs, the network is in training mode. Theirs have no BatchNorm; on a ResNet-20 of CIFAR-10, 64 rows leave 88
    points of test accuracy so, and 28 with frozen statistics.
    """

    name: ClassVar[str] = "jit"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "smooth the classifier around the rows"
    source: ClassVar[str] = "Foster et al., 2024, arXiv 2402.01401"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    perturbations: int = setting(25, "noisy copies of each row in a step", at_least=1)
    sigma: float = setting(
        0.01, "standard deviation of the noise, in units of the normalised image", above=0, spread=30
    )
    training: Training = field(
        default_factory=lambda: Training(
            epochs=1,
            learning_rate=3e-4,
            momentum=1.0,
            weight_decay=0.0,
            batchnorm=BatchNormMode.BATCH,
            augmentation=Augmentation.NONE,
        )
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        trainer = Trainer(task, working, self.training, context)
        generator = trainer.generator("jitter")

        def draw(batch: Batch) -> list[Pass]:
            state = generator.get_state()

            def terms(part: slice) -> Terms:
                generator.set_state(state)  # each part draws the noise of the whole batch, and takes its own
                x, ratios = batch.x[part], []
                logits = working(x)
                for _ in range(self.perturbations):
                    noise = self.sigma * draw_noise(batch.x.shape, generator)[part].to(x)
                    ratios.append(measure_roughness(working, x, logits, noise, whole=batch.x))
                return {"roughness": torch.stack(ratios).mean(dim=0).sum()}

            return [trainer.make_pass(len(batch.x), terms)]

        return train_by(self, trainer, images=to_images(task.forget_set, task.forget_set.y), draw=draw)


def draw_noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of deviation 1, on the CPU."""
    return torch.randn(shape, generator=generator)


def measure_roughness(
    classifier: Classifier,
    x: Float[Tensor, "b c h w"],
    logits: Float[Tensor, "b classes"],
    noise: Float[Tensor, "b c h w"],
    *,
    whole: Float[Tensor, "n c h w"] | None = None,
) -> Float[Tensor, " b"]:
    """Return ||f(x) - f(x + xi)|| / ||xi|| of each row, with a gradient through f(x) only.

    Args:
        classifier: f, of pixels.
        x: pixels of the rows.
        logits: f(x).
        noise: xi, in units of the normalised image; normalised x + xi is clamped to the range of normalised x, and xi
            is what is left of it then.
        whole: the batch whose range that is; None: x.
    """
    module = classifier.module
    mean, std = (module.mean, module.std) if isinstance(module, Normalised) else (x.new_zeros(1), x.new_ones(1))
    normalised, limits = (x - mean) / std, ((x if whole is None else whole) - mean) / std
    moved = (normalised + noise).clamp(float(limits.min()), float(limits.max()))
    with torch.no_grad():
        answers = classifier(moved * std + mean)
    distance = (moved - normalised).flatten(1).norm(dim=1).clamp_min(SMALLEST)
    ratio: Tensor = (logits - answers).norm(dim=1) / distance
    return ratio
