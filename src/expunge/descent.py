"""Stochastic gradient descent on a method's losses, with BatchNorm as an explicit setting."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.classifier import Classifier
from expunge.copies import draw_copies
from expunge.engine import Step
from expunge.modes import BatchNormMode, editing
from expunge.settings import check_settings, setting
from expunge.task import Strength, Task

Losses = Callable[[], Mapping[str, Tensor]]
"""The terms of the total loss by name, weighted, as scalars with gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """Settings of SGD on the forget rows."""

    learning_rate: float = setting(1e-3, "SGD step size", above=0, spread=30)
    momentum: float = setting(0.9, "SGD momentum", at_least=0, at_most=1)
    weight_decay: float = setting(0.0, "SGD weight decay", at_least=0)
    batchnorm: BatchNormMode = setting(BatchNormMode.FROZEN, "BatchNorm (and dropout) during the edit")
    forget_batch: int = setting(32, "forget rows in a step (n_f)", at_least=1)
    passes: int = setting(1000, "passes over the forget set at most", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)

    def count_steps(self, rows: int) -> int:
        """Return how many steps `passes` over that many rows are."""
        return self.passes * -(-rows // self.forget_batch)

    def make_step(self, working: Classifier, losses: Losses) -> Step:
        """Return a step that lowers the sum of `losses` once, on all weights that require gradients."""
        optimiser = torch.optim.SGD(
            [weight for weight in working.module.parameters() if weight.requires_grad],
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )

        def step() -> Mapping[str, float]:
            with editing(working.module, self.batchnorm):
                terms = losses()
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
            return {name: term.item() for name, term in terms.items()}

        return step


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
