"""Descent on the forget set alone, for the baselines that regularise nothing.

BatchNorm trains, as in their authors' code: with frozen statistics the same rates ruin a small network in a few steps.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from expunge.base.settings import to_mapping
from expunge.compute.context import Context
from expunge.methods.descent import Descent, Objective, endless_batches, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Method
from expunge.models.modes import BatchNormMode
from expunge.task.edit import Edit
from expunge.task.task import Task

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""(b, classes) logits and (b,) labels or (b, classes) probabilities -> (b,) losses."""

Show = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(b, c, h, w) pixels and (b,) labels of a step -> the pixels that the network is shown, and what it is pushed to."""


def plain_descent(learning_rate: float = 1e-3, *, weight_decay: float = 0.0, forget_batch: int = 32) -> Descent:
    """Return the settings of the baselines' descent: BatchNorm trains."""
    return Descent(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        forget_batch=forget_batch,
        batchnorm=BatchNormMode.BATCH,
    )


def show_as_they_are(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return both."""
    return x, labels


class PlainMethod(Method, Protocol):
    """A method that steps by a descent."""

    @property
    def descent(self) -> Descent:
        """Return the settings of SGD."""
        ...


def push_rows(
    method: PlainMethod,
    task: Task,
    context: Context,
    loss: RowLoss,
    labels: Tensor,
    show: Show = show_as_they_are,
) -> Edit:
    """Return the edit that descends the mean of `loss` over batches of forget rows until the goal holds."""
    device = context.runtime.device
    working = task.classifier.to(device).copy()
    rows, labels = task.forget_set.to(device), labels.to(device)
    descent = method.descent
    batches = endless_batches(len(rows), descent.forget_batch, task.generator("forget batches"))
    copies = task.generator("pushed copies")

    def draw() -> Objective:
        batch = next(batches)
        x, wanted = show(*present_rows(task, rows.x[batch], labels[batch], copies))

        def mean_loss(logits: Tensor, part: slice) -> Tensor:
            return loss(logits, wanted[part]).sum() / len(x)

        return Objective([descent.make_pass(working, x, "unlearning", mean_loss, context)])

    step = descent.make_step(working, draw, context)
    return edit_until_goal(
        task, Plan(method.name, to_mapping(method), working, step, descent.count_steps(len(rows))), context
    )
