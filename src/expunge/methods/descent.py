"""Gradient descent on a method's losses, with BatchNorm as an explicit setting."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.processes import ALONE, Processes
from expunge.compute.runtime import Precision, computing_in
from expunge.methods.engine import Step
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.task.task import Strength, Task
from expunge.task.transforms import draw_copies
from expunge.training.recipe import Algorithm, Training, make_optimiser
from expunge.training.step import Pass, Terms, take_step

FIRST_RATE = 1 / 50
"""Of the full step size, in the first step of a warm-up."""

PartLoss = Callable[[Float[Tensor, "m classes"], slice], Tensor]
"""Logits of a part of a pass, and which part it is -> what it adds to a term of the loss, weighted, as a scalar."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What one step goes down: passes through the network, one after another, and terms that no image has a part in."""

    passes: Sequence[Pass]
    others: Terms = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent(Settings):
    """Settings of the descent on the forget rows."""

    algorithm: Algorithm = setting(Algorithm.SGD, "what turns gradients into steps")
    learning_rate: float = setting(1e-3, "step size", above=0, spread=30)
    momentum: float = setting(0.9, "momentum of SGD", at_least=0, at_most=1)
    weight_decay: float = setting(0.0, "weight decay", at_least=0)
    batchnorm: BatchNormMode = setting(BatchNormMode.FROZEN, "BatchNorm (and dropout) during the edit")
    forget_batch: int = setting(32, "forget rows in a step (n_f)", at_least=1)
    passes: int = setting(1000, "passes over the forget set at most", at_least=1)
    warmup: int = setting(0, "steps in which the step size rises from a fiftieth, by the same factor each", at_least=0)
    precision: Precision = setting(Precision.FLOAT32, "in what numbers layers compute: float32, bfloat16, auto")

    def count_steps(self, rows: int) -> int:
        """Return how many steps `passes` over that many rows are."""
        return self.passes * -(-rows // self.forget_batch)

    def rate(self, step: int) -> float:
        """Return the size of a step, which counts from 0.

        >>> [round(Descent(learning_rate=1.0, warmup=2).rate(step), 2) for step in range(4)]
        [0.02, 0.14, 1.0, 1.0]
        """
        left = max(0.0, 1 - step / self.warmup) if self.warmup else 0.0
        return float(self.learning_rate * FIRST_RATE**left)

    def forward(self, working: Classifier, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Return the logits of one pass of an edit, with its BatchNorm mode and its numbers.

        For a single image BatchNorm is frozen: one image has no statistics.
        """
        mode = self.batchnorm if len(x) > 1 else BatchNormMode.FROZEN
        with editing(working.module, mode), computing_in(self.precision, x.device):
            return working(x).to(x.dtype)

    def make_pass(
        self, working: Classifier, x: Float[Tensor, "b c h w"], name: str, loss: PartLoss, context: Context
    ) -> Pass:
        """Return the pass of `x` whose only term, `name`, is what `loss` gives for its logits."""

        def terms(part: slice) -> Terms:
            context.add_gradients(len(x[part]))
            return {name: loss(self.forward(working, x[part]), part)}

        return Pass(len(x), terms)

    def make_step(self, working: Classifier, draw: Callable[[], Objective], context: Context) -> Step:
        """Return a step that goes down the objective drawn for it, on all weights that require gradients.

        With frozen BatchNorm, processes divide the images. In training mode each of them takes all.
        """
        optimiser, among, numbers = self._make_optimiser(working), self.choose_among(context), count()

        def step() -> Mapping[str, float]:
            objective, rate = draw(), self.rate(next(numbers))
            for group in optimiser.param_groups:
                group["lr"] = rate
            return take_step(
                optimiser, working.module, objective.passes, context.sharing, among, lambda: objective.others
            )

        return step

    def choose_among(self, context: Context) -> Processes:
        """Return the processes that divide the images of a pass: all with frozen BatchNorm, this one in training mode.

        A part of a batch would be normalised by its own statistics.
        """
        return ALONE if self.batchnorm is BatchNormMode.BATCH else context.sharing.processes

    def _make_optimiser(self, working: Classifier) -> torch.optim.Optimizer:
        steps = Training(
            algorithm=self.algorithm,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        return make_optimiser(working, steps)


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


def batches_in_turn(numbers: Int[Tensor, " n"], batch_size: int) -> Iterator[Int[Tensor, " b"]]:
    """Yield `numbers`, at most `batch_size` at a time, in their own order over and over again.

    >>> batches = batches_in_turn(torch.tensor([4, 2, 7]), 2)
    >>> [next(batches).tolist() for _ in range(3)]
    [[4, 2], [7], [4, 2]]
    """
    return cycle(numbers.split(batch_size))
