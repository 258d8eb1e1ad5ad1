"""SSD: dampen the weights that matter far more for the forget set than for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.images import ConcatImages, Images
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import require_retain, to_images
from expunge.methods.published.row_gradients import draw_rows, iterate_gradients, trainable
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SSD(Settings):
    """Where I_f > a I_D, theta becomes theta min(l I_D / I_f, 1); I is the mean over batches of the squared gradient.

    Foster et al. 2024 (arXiv 2308.07707). D is all of the training data.

    Differs from the paper: I is what the authors' code makes of it, the gradient of a batch's mean loss, squared, in
    which the rows of a batch cancel. The paper squares the gradient of each row: a batch size of 1.
    """

    name: ClassVar[str] = "ssd"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "dampen the weights that matter more for the rows than for the rest"
    source: ClassVar[str] = "Foster et al., AAAI 2024, arXiv 2308.07707"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    selection: float = setting(10.0, "how many times I_D a weight's I_f must be (alpha)", above=0, spread=30)
    dampening: float = setting(1.0, "factor of I_D / I_f that the weight is scaled with (lambda)", above=0, spread=10)
    batch_size: int = setting(128, "images whose mean loss has the gradient that is squared", at_least=1)
    rows: int | None = setting(None, "training rows that I_D is measured on, drawn at random; none: all", at_least=1)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        forget = to_images(task.forget_set, task.forget_set.y)
        everything: Images = ConcatImages(require_retain(task), forget)
        if self.rows is not None:
            everything = draw_rows(everything, self.rows, task.generator("importance rows"))

        def step() -> Mapping[str, float]:
            weights = trainable(working)
            on_rows = mean_squared_gradients(working, forget, self.batch_size, context)
            on_all = mean_squared_gradients(working, everything, self.batch_size, context)
            chosen = 0
            with torch.no_grad():
                for weight, rows, rest in zip(weights, on_rows, on_all, strict=True):
                    factor = dampening_factors(rows, rest, selection=self.selection, dampening=self.dampening)
                    chosen += int((factor < 1).sum())
                    weight.mul_(factor)
            return {"share dampened": chosen / sum(weight.numel() for weight in weights)}

        plan = Plan(self.name, to_mapping(self), working, step, 1, completed=lambda steps: steps >= 1)
        return edit_until_goal(task, plan, context)


def mean_squared_gradients(classifier: Classifier, images: Images, batch_size: int, context: Context) -> list[Tensor]:
    """Return I: for each weight that requires gradients, the mean over batches of its squared gradient."""
    total, count = [torch.zeros_like(weight) for weight in trainable(classifier)], 0
    for gradients in iterate_gradients(classifier, images, context, batch_size=batch_size):
        count += 1
        for so_far, gradient in zip(total, gradients, strict=True):
            so_far.add_(gradient.square())
    return [each / count for each in total]


def dampening_factors(on_rows: Tensor, on_all: Tensor, *, selection: float, dampening: float) -> Tensor:
    """Return min(dampening on_all / on_rows, 1) where on_rows > selection on_all, and 1 elsewhere.

    >>> dampening_factors(torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0]), selection=2, dampening=1)
    tensor([0.2500, 1.0000, 1.0000])
    """
    ratio = (dampening * on_all / on_rows).clamp_max(1.0)
    return torch.where(on_rows > selection * on_all, ratio, 1.0)
