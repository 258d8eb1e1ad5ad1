"""MU-Mis: take back the sensitivity to the forget set that training has built up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, to_images
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, evaluating
from expunge.models.normalised import Normalised
from expunge.task.edit import Edit
from expunge.task.goals import draw_other_labels
from expunge.task.task import Strength, Task
from expunge.training import Augmentation, Batch, Training
from expunge.training.step import Pass, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class MuMis(Settings):
    """SGD on the mean of ||d f_y / dx||^2 - ||d f_c / dx||^2, c a random wrong class, drawn anew for each row and step.

    x is what the network is given: pixels after normalisation. It ends with the first pass after which the norm of
    d f_c / dx over all rows has left its minimum and is back at `regrowth` times its value before the edit. Cheng et
    al. 2026 (arXiv 2402.15109).

    Differs from the paper: written from its text, which leaves open the mode of BatchNorm (here frozen), the batches
    and the rates, which the authors choose for each task. The norm of the stop rule is that of one draw of wrong
    classes: with fresh ones it rose by 4% in the first step by chance (CIFAR-10, ResNet-20, 64 rows), and the rule
    would end the edit there. Where that norm only grows, the rule ends it at `regrowth` times the first value and not
    at once.
    """

    name: ClassVar[str] = "mu-mis"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "lower the sensitivity of the rows' logits to their pixels"
    source: ClassVar[str] = "Cheng et al., ICLR 2026, arXiv 2402.15109"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    regrowth: float = setting(
        1.0, "multiple of its first value at which the second norm ends it (delta)", above=0, spread=2
    )
    training: Training = field(
        default_factory=lambda: Training(
            epochs=100,
            learning_rate=1e-4,
            momentum=0.0,
            weight_decay=0.0,
            batchnorm=BatchNormMode.FROZEN,
            augmentation=Augmentation.NONE,
        )
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        rows, drawn = task.forget_set, task.generator("irrelevant classes")
        watched = draw_other_labels(rows.y, working.num_classes, task.generator("watched classes"))
        trainer, images = Trainer(task, working, self.training, context), to_images(rows, rows.y)
        with context.phase("sensitivity"):
            norms = [_measure_norm(working, rows, watched, context)]

        def draw(batch: Batch) -> list[Pass]:
            irrelevant = draw_other_labels(batch.y.cpu(), working.num_classes, drawn).to(batch.y.device)

            def terms(part: slice) -> Terms:
                own, other = measure_sensitivities(working, batch.x[part], (batch.y[part], irrelevant[part]))
                share = len(own) / len(batch.x)
                return {"own class": share * own.mean(), "irrelevant class": -share * other.mean()}

            return [trainer.make_pass(len(batch.x), terms)]

        def step() -> Mapping[str, float]:
            means = trainer.run_steps(images, draw, epoch=len(norms) - 1)
            norms.append(_measure_norm(working, rows, watched, context))
            return means

        plan = Plan(
            self.name,
            to_mapping(self),
            working,
            step,
            self.training.epochs,
            completed=lambda steps: has_grown_back(norms, self.regrowth),
        )
        return edit_until_goal(task, plan, context)


def measure_sensitivities(
    classifier: Classifier, x: Float[Tensor, "b c h w"], labels: Sequence[Int[Tensor, " b"]]
) -> list[Float[Tensor, " b"]]:
    """Return ||d f_label / dx||^2 of each row for each of `labels`, with a gradient by the weights.

    Args:
        classifier: f; rows must not see each other in it, as they would by batch statistics.
        x: the rows' pixels. The derivative is by what the network is given, after normalisation.
        labels: a class of each row, several times.
    """
    scale = classifier.module.std if isinstance(classifier.module, Normalised) else 1.0
    variable = x.detach().requires_grad_(True)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
        logits = classifier(variable)
    squares = []
    for each in labels:
        chosen = logits.gather(1, each.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, variable, create_graph=True)
        squares.append((gradient * scale).square().flatten(1).sum(dim=1))
    return squares


def _measure_norm(classifier: Classifier, rows: ForgetSet, labels: Int[Tensor, " k"], context: Context) -> float:
    """Return the root of the mean over rows of ||d f_label / dx||^2, in eval mode."""
    device = classifier.device

    def add_up(part: slice) -> list[Tensor]:
        (squares,) = measure_sensitivities(classifier, rows.x[part].to(device), (labels[part].to(device),))
        context.add_gradients(len(squares))
        return [squares.detach().sum()]

    with evaluating(classifier.module):
        [total] = context.sharing.map_sum(len(rows), add_up)
    return sqrt(total.item() / len(rows))


def has_grown_back(norms: list[float], regrowth: float) -> bool:
    """Return whether the last norm is above the least so far and at least `regrowth` times the first.

    >>> [has_grown_back([4.0, 2.0, 3.0, 4.5][:count], 1.0) for count in range(5)]
    [False, False, False, False, True]
    """
    return bool(norms) and norms[-1] > min(norms) and norms[-1] >= regrowth * norms[0]
