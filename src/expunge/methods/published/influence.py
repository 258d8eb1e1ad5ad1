"""Influence unlearning: one Newton step away from the rows, by the WoodFisher inverse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.settings import check_settings, setting, to_mapping
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import require_retain, to_images
from expunge.methods.published.row_gradients import draw_rows, iterate_gradients, trainable
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task

GIGABYTE = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """theta + (a / n) H^-1 sum over D_f of grad CE, H the Fisher matrix of D_r plus damping, n the training rows.

    With a = 1 it is the influence function's answer to "had these rows not been there". Izzo et al. 2021 (arXiv
    2002.10077); in the form of Jia et al. 2023 (arXiv 2304.04934), with the WoodFisher inverse of Singh and
    Alistarh 2020 (arXiv 2004.14340). a has to be tuned.

    Differs from the paper: WoodFisher's recursion over m gradients is replaced by its closed form, the Woodbury
    identity, which needs an m x m matrix; m is as many gradients as memory allows.
    """

    name: ClassVar[str] = "influence"
    summary: ClassVar[str] = "one Newton step away from the rows, by the Fisher matrix of the retain data"
    source: ClassVar[str] = "Izzo et al., AISTATS 2021, arXiv 2002.10077; WoodFisher in arXiv 2304.04934"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    scale: float = setting(1.0, "factor of the step (alpha)", above=0, spread=1000)
    damping: float = setting(0.1, "what is added to the diagonal of the Fisher matrix", above=0, spread=100)
    rows: int = setting(1000, "retain rows that the Fisher matrix is made of at most, drawn at random", at_least=1)
    memory_gigabytes: float = setting(2.0, "memory for their gradients; it may lower the number of rows", above=0)

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        working = task.classifier.to(runtime.device).copy()
        weights, retain = trainable(working), require_retain(task)
        size = sum(weight.numel() * weight.element_size() for weight in weights)
        count = max(1, min(self.rows, int(self.memory_gigabytes * GIGABYTE) // size))
        sample = draw_rows(retain, count, task.generator("fisher rows"))
        forget = to_images(task.forget_set, task.forget_set.y)
        total = len(retain.labels) + len(forget.labels)

        def step() -> Mapping[str, float]:
            lost = torch.zeros(sum(weight.numel() for weight in weights), device=runtime.device)
            for gradients in iterate_gradients(working, forget, meter):
                lost += _flatten(gradients) / total
            fisher = torch.stack([_flatten(gradients) for gradients in iterate_gradients(working, sample, meter)])
            change = self.scale * solve_fisher(fisher, lost, self.damping)
            with torch.no_grad():
                for weight, part in zip(weights, change.split([w.numel() for w in weights]), strict=True):
                    weight.add_(part.view_as(weight))
            return {"length of the step": float(change.norm())}

        plan = Plan(self.name, to_mapping(self), working, step, 1, completed=lambda steps: steps >= 1)
        return edit_until_goal(task, plan, meter)


def solve_fisher(
    gradients: Float[Tensor, "m weights"], vector: Float[Tensor, " weights"], damping: float
) -> Float[Tensor, " weights"]:
    """Return (damping I + G'G / m)^-1 v by the Woodbury identity: (v - G' (damping m I + G G')^-1 G v) / damping.

    The m x m system is solved in double precision.

    >>> solve_fisher(torch.zeros(1, 2), torch.tensor([1.0, 2.0]), 0.5)
    tensor([2., 4.])
    """
    kernel = (gradients @ gradients.T).double()
    kernel.diagonal().add_(damping * len(gradients))
    weights = torch.linalg.solve(kernel, (gradients @ vector).double()).to(vector.dtype)
    solved: Tensor = (vector - gradients.T @ weights) / damping
    return solved


def _flatten(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
