"""Stochastic gradient descent on a method's losses, with BatchNorm as an explicit setting."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.runtime import Precision
from expunge.compute.sharing import Sharing
from expunge.methods.engine import Step
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.task.task import Strength, Task
from expunge.task.transforms import draw_copies

Losses = Callable[[], Mapping[str, Tensor]]
"""The terms of the total loss by name, weighted, as scalars with gradients."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of one step as a sum over images, so that they can go through in parts.

    Args:
        images: how many there are.
        names: of the terms.
        terms: images from..to -> what they add to each term, weighted, as scalars with gradients.
        once: what no image has a part in, by name.
    """

    images: int
    names: tuple[str, ...]
    terms: Callable[[slice], Sequence[Tensor]]
    once: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """Settings of SGD on the forget rows."""

    learning_rate: float = setting(1e-3, "SGD step size", above=0, spread=30)
    momentum: float = setting(0.9, "SGD momentum", at_least=0, at_most=1)
    weight_decay: float = setting(0.0, "SGD weight decay", at_least=0)
    batchnorm: BatchNormMode = setting(BatchNormMode.FROZEN, "BatchNorm (and dropout) during the edit")
    forget_batch: int = setting(32, "forget rows in a step (n_f)", at_least=1)
    passes: int = setting(1000, "passes over the forget set at most", at_least=1)
    precision: Precision = setting(Precision.FLOAT32, "in what numbers layers compute: float32, bfloat16, auto")

    def __post_init__(self) -> None:
        check_settings(self)

    def count_steps(self, rows: int) -> int:
        """Return how many steps `passes` over that many rows are."""
        return self.passes * -(-rows // self.forget_batch)

    def make_step(self, working: Classifier, losses: Losses) -> Step:
        """Return a step that lowers the sum of `losses` once, on all weights that require gradients."""
        optimiser = self._make_optimiser(working)

        def step() -> Mapping[str, float]:
            with editing(working.module, self.batchnorm):
                terms = losses()
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
            return {name: term.item() for name, term in terms.items()}

        return step

    def make_step_in_parts(self, working: Classifier, draw: Callable[[], Objective], sharing: Sharing) -> Step:
        """Return a step that lowers the objective drawn for it; its images go through in batches, shared by processes.

        With BatchNorm in training mode they go through at once and everywhere, since each depends on all others.
        """
        optimiser = self._make_optimiser(working)
        weights: list[Tensor] = optimiser.param_groups[0]["params"]

        def step() -> Mapping[str, float]:
            objective = draw()
            with editing(working.module, self.batchnorm):
                *gradients, used, values = self._differentiate(objective, weights, sharing)
            once = dict(objective.once)
            added = _gradients(list(once.values()), weights) if once else [None] * len(weights)
            for weight, gradient, is_used, more in zip(weights, gradients, used.tolist(), added, strict=True):
                weight.grad = gradient if is_used else None
                if more is not None:
                    weight.grad = more if weight.grad is None else weight.grad + more
            optimiser.step()
            return {
                **dict(zip(objective.names, values.tolist(), strict=True)),
                **{name: term.item() for name, term in once.items()},
            }

        return step

    def _differentiate(self, objective: Objective, weights: list[Tensor], sharing: Sharing) -> list[Tensor]:
        """Return the gradients by the weights, which weights have any, and the terms' values."""

        def work(part: slice) -> list[Tensor]:
            terms = objective.terms(part)
            gradients = _gradients(terms, weights)
            used = torch.tensor([float(gradient is not None) for gradient in gradients], device=weights[0].device)
            filled = [
                torch.zeros_like(weight) if gradient is None else gradient
                for weight, gradient in zip(weights, gradients, strict=True)
            ]
            return [*filled, used, torch.stack([term.detach() for term in terms])]

        if self.batchnorm is BatchNormMode.BATCH:
            return work(slice(0, objective.images))
        return sharing.sum(objective.images, work)

    def _make_optimiser(self, working: Classifier) -> torch.optim.SGD:
        return torch.optim.SGD(
            [weight for weight in working.module.parameters() if weight.requires_grad],
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


def _gradients(terms: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    total = torch.stack(list(terms)).sum()
    if not total.requires_grad:
        return (None,) * len(weights)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(total, weights, allow_unused=True)
    return gradients


def present_rows(
    task: Task, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"], generator: torch.Generator
) -> tuple[Float[Tensor, "m c h w"], Int[Tensor, " m"]]:
    """Return the rows that a step pushes: those given and, if forgetting is to be robust, a fresh copy of each."""
    if task.strength is Strength.EXACT:
        return x, labels
    copies = draw_copies(x, task.classifier.bounds, generator, task.transforms)
    return torch.cat([x, copies]), torch.cat([labels, labels])


def endless_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield row numbers, at most `batch_size` at a time, in a new random order each time all have been used.

    >>> batches = endless_batches(3, 2, torch.Generator().manual_seed(0))
    >>> [len(next(batches)) for _ in range(4)]
    [2, 1, 2, 1]
    """
    while True:
        yield from torch.randperm(count, generator=generator).split(batch_size)
