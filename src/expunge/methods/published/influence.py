"""Influence unlearning: one step away from the forget set, by an inverse of the Fisher matrix of the retain data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.float64 import to_float64
from expunge.compute.runtime import Runtime
from expunge.data.images import Images, Subset
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import require_retain, to_images
from expunge.methods.published.row_gradients import draw_rows, iterate_gradients, trainable
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Augmentation
from expunge.training.augmentation import augment

GIGABYTE = 2**30


class Inverse(StrEnum):
    """What stands for the inverse of the Fisher matrix of the retain data."""

    RELEASED = "released"
    """The recursion of the authors' code, without damping; all of it lies along the first gradient."""
    DAMPED = "damped"
    """(damping I + G'G / m)^-1, exactly, for as many gradients as memory allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence(Settings):
    """theta + a H^-1 (g_f - g_r), H the Fisher matrix of D_r, for the change that leaving D_f out would make.

    g_f is the gradient of CE summed over D_f, over n, and g_r that of CE summed over D_r times k / (n (n - k)); D has n
    rows, of which k are to be forgotten. Izzo et al. 2021 (arXiv 2002.10077), in the form of Jia et al. 2023 (arXiv
    2304.04934) and of their code: images are augmented, once each. a has to be tuned.

    Differs from the paper: WoodFisher (Singh and Alistarh 2020, arXiv 2004.14340) updates its direction with each new
    gradient. The authors' code, and so this, only ever scales the first one, which leaves g_f - g_r as it is but for
    that one direction. `damped` is the inverse that the paper speaks of.
    """

    name: ClassVar[str] = "influence"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "one step away from the rows, by the Fisher matrix of the retain data"
    source: ClassVar[str] = "Izzo et al., AISTATS 2021, arXiv 2002.10077; WoodFisher in arXiv 2304.04934"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    scale: float = setting(1.0, "factor of the step (alpha)", above=0, spread=1000)
    inverse: Inverse = setting(Inverse.RELEASED, "what stands for the inverse of the Fisher matrix")
    rows: int = setting(1000, "retain rows that the Fisher matrix is made of (N); released: two more", at_least=1)
    augmentation: Augmentation = setting(Augmentation.FLIPS_AND_CROPS, "what is done to the images")
    damping: float = setting(0.1, "damped: what is added to the diagonal of the Fisher matrix", above=0, spread=100)
    memory_gigabytes: float = setting(2.0, "damped: memory for the gradients; it may lower their number", above=0)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        weights, retain = trainable(working), require_retain(task)
        forget, moves = to_images(task.forget_set, task.forget_set.y), task.generator("augmentation")
        present = partial(augment, augmentation=self.augmentation, bounds=working.bounds, generator=moves)
        chosen = self._choose(retain, sum(weight.numel() * weight.element_size() for weight in weights), task)

        def step() -> Mapping[str, float]:
            forgotten, kept = len(forget.labels), len(retain.labels)
            lost = sum_gradients(working, forget, context, present) / (forgotten + kept)
            lost -= sum_gradients(working, retain, context, present) * forgotten / ((forgotten + kept) * kept)
            gradients = map(_flatten, iterate_gradients(working, chosen, context, present=present))
            change = self.scale * self._invert(gradients, lost)
            with torch.no_grad():
                for weight, part in zip(weights, change.split([w.numel() for w in weights]), strict=True):
                    weight.add_(part.view_as(weight))
            return {"length of the step": float(change.norm())}

        plan = Plan(self.name, to_mapping(self), working, step, 1, completed=lambda steps: steps >= 1)
        return edit_until_goal(task, plan, context)

    def _choose(self, retain: Images, bytes_each: int, task: Task) -> Images:
        """Return the retain rows that the Fisher matrix is made of, whose gradients take `bytes_each`."""
        if self.inverse is Inverse.RELEASED:
            return Subset(retain, range(min(self.rows + 2, len(retain.labels))))
        count = max(1, min(self.rows, int(self.memory_gigabytes * GIGABYTE) // bytes_each))
        return draw_rows(retain, count, task.generator("fisher rows"))

    def _invert(self, gradients: Iterable[Tensor], vector: Tensor) -> Tensor:
        if self.inverse is Inverse.RELEASED:
            return take_off_first(gradients, vector, self.rows)
        return solve_fisher(torch.stack(list(gradients)), vector, self.damping)


def sum_gradients(
    classifier: Classifier, images: Images, context: Context, present: Callable[[Tensor], Tensor]
) -> Float[Tensor, " weights"]:
    """Return the gradient of CE summed over `images` as `present` shows them."""
    size, count = context.runtime.batch_size, len(images.labels)
    total = torch.cat([torch.zeros_like(weight).flatten() for weight in trainable(classifier)])
    parts = iterate_gradients(classifier, images, context, batch_size=size, present=present)
    for start, gradients in zip(range(0, count, size), parts, strict=True):
        total += min(size, count - start) * _flatten(gradients)
    return total


def take_off_first(
    gradients: Iterable[Float[Tensor, " weights"]], vector: Float[Tensor, " weights"], count: int
) -> Float[Tensor, " weights"]:
    """Return what the authors' recursion makes of `vector`: it loses parts along the first gradient, and no others.

    With o the first gradient and for each later one g: v loses o (v'g) / (count + o'g), then o loses o (o'g) / (count
    + o'g).
    """
    left, first = vector.clone(), None
    for gradient in gradients:
        if first is None:
            first = gradient.clone()
            continue
        along = first @ gradient
        left -= (left @ gradient) / (count + along) * first
        first -= along / (count + along) * first
    return left


def solve_fisher(
    gradients: Float[Tensor, "m weights"], vector: Float[Tensor, " weights"], damping: float
) -> Float[Tensor, " weights"]:
    """Return (damping I + G'G / m)^-1 v by the Woodbury identity: (v - G' (damping m I + G G')^-1 G v) / damping.

    The m x m system is solved in double precision.

    >>> solve_fisher(torch.zeros(1, 2), torch.tensor([1.0, 2.0]), 0.5)
    tensor([2., 4.])
    """
    kernel = to_float64(gradients @ gradients.T)
    kernel.diagonal().add_(damping * len(gradients))
    weights = torch.linalg.solve(kernel, to_float64(gradients @ vector)).to(vector)
    solved: Tensor = (vector - gradients.T @ weights) / damping
    return solved


def _flatten(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
