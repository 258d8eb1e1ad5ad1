"""MU-Mis: take back the sensitivity to the rows that training has built up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.base.settings import check_settings, setting, to_mapping
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Augmentation, Batch, Trainer, Training, to_images
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.task.edit import Edit
from expunge.task.goals import draw_other_labels
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class MuMis:
    """SGD on the mean of ||d f_y / dx||^2 - ||d f_c / dx||^2, c a random wrong class of each row.

    Stops after the first pass in which the second norm has left its minimum and is back at `regrowth` times its first
    value. Cheng et al. 2026 (arXiv 2402.15109).

    Differs from the paper: both norms are divided by the rows' mean ||d f_y / dx||^2 before the edit, so that the rate
    does not depend on the units of the pixels and on how steep the network is (on a CIFAR ResNet-20 that mean is over
    10,000, and the plain loss at the authors' rate of 1e-4 ruins it in one step); the wrong class of a row is drawn
    once, so that the stop rule follows the weights and not the draw; it ends at 1.2 times the first value and not at
    once where the second norm only grows; BatchNorm is frozen.
    """

    name: ClassVar[str] = "mu-mis"
    summary: ClassVar[str] = "lower the sensitivity of the rows' logits to their pixels"
    source: ClassVar[str] = "Cheng et al., ICLR 2026, arXiv 2402.15109"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    regrowth: float = setting(
        1.2, "multiple of its first value at which the second norm ends it (delta)", above=0, spread=2
    )
    training: Training = field(
        default_factory=lambda: Training(
            epochs=100,
            learning_rate=1e-3,
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
        rows = task.forget_set
        others = draw_other_labels(rows.y, working.num_classes, task.generator("irrelevant classes"))
        irrelevant = others.to(runtime.device)
        trainer, images, norms = Trainer(task, working, self.training, meter), to_images(rows, rows.y), list[float]()
        unit = _mean_sensitivity(task, meter)

        def losses(batch: Batch) -> Mapping[str, Tensor]:
            own, other = measure_sensitivities(working, batch.x, batch.y, irrelevant[batch.rows])
            return {"own class": own.mean() / unit, "irrelevant class": -other.mean() / unit}

        def step() -> Mapping[str, float]:
            means = trainer.run_pass(images, losses, epoch=len(norms))
            norms.append(-means["irrelevant class"])
            return means

        plan = Plan(
            self.name,
            to_mapping(self),
            working,
            step,
            self.training.epochs,
            completed=lambda steps: has_grown_back(norms, self.regrowth),
        )
        return edit_until_goal(task, plan, meter)


def measure_sensitivities(
    classifier: Classifier, x: Float[Tensor, "b c h w"], y: Int[Tensor, " b"], other: Int[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Return ||d f_y / dx||^2 and ||d f_other / dx||^2 of each row, both with a gradient by the weights.

    Args:
        classifier: f; rows must not see each other in it, as they would by batch statistics.
        x: the rows.
        y: first class of each.
        other: second class of each.
    """
    variable = x.detach().requires_grad_(True)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
        logits = classifier(variable)
    norms = []
    for labels in (y, other):
        chosen = logits.gather(1, labels.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, variable, create_graph=True)
        norms.append(gradient.square().flatten(1).sum(dim=1))
    return norms[0], norms[1]


def _mean_sensitivity(task: Task, meter: CostMeter) -> float:
    """Return the mean over rows of ||d f_y / dx||^2 before the edit; 1 if it is 0."""
    reference = task.classifier.to(meter.runtime.device).frozen_copy()
    rows, total = task.forget_set.to(meter.runtime.device), 0.0
    batch_size = meter.runtime.batch_size
    with meter.phase("sensitivity"):
        for x, y in zip(rows.x.split(batch_size), rows.y.split(batch_size), strict=True):
            own, _ = measure_sensitivities(reference, x, y, y)
            total += float(own.detach().sum())
            meter.add_gradients(len(x))
    return total / len(rows) or 1.0


def has_grown_back(norms: list[float], regrowth: float) -> bool:
    """Return whether the last norm is above the least so far and at least `regrowth` times the first.

    >>> [has_grown_back([4.0, 2.0, 3.0, 4.5][:count], 1.0) for count in range(5)]
    [False, False, False, False, True]
    """
    return bool(norms) and norms[-1] > min(norms) and norms[-1] >= regrowth * norms[0]
