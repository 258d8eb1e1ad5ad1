"""Descent on the forget rows alone, for the baselines that regularise nothing.

BatchNorm trains, as in their authors' code: with frozen statistics the same rates ruin a small network in a few steps.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from expunge.base.settings import to_mapping
from expunge.compute.context import CostMeter
from expunge.methods.descent import Descent, endless_batches, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Method
from expunge.models.modes import BatchNormMode, editing
from expunge.task.edit import Edit
from expunge.task.task import Task

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""(b, classes) logits and (b,) labels or (b, classes) probabilities -> (b,) losses."""


def plain_descent(learning_rate: float = 1e-3) -> Descent:
    """Return the settings of the baselines' descent, with a step size of `learning_rate`: BatchNorm trains."""
    return Descent(learning_rate=learning_rate, batchnorm=BatchNormMode.BATCH)


class PlainMethod(Method, Protocol):
    """A method whose only settings are those of the descent."""

    @property
    def descent(self) -> Descent:
        """Return the settings of SGD."""
        ...


def push_rows(method: PlainMethod, task: Task, meter: CostMeter, loss: RowLoss, labels: Tensor) -> Edit:
    """Return the edit that descends the mean of `loss` over batches of forget rows until the goal holds.

    For a batch of one row BatchNorm is frozen: one image has no statistics.
    """
    device = meter.runtime.device
    working = task.classifier.to(device).copy()
    rows, labels = task.forget_set.to(device), labels.to(device)
    descent = method.descent
    batches = endless_batches(len(rows), descent.forget_batch, task.generator("forget batches"))
    copies = task.generator("pushed copies")

    def losses() -> Mapping[str, Tensor]:
        batch = next(batches)
        x, wanted = present_rows(task, rows.x[batch], labels[batch], copies)
        meter.add_gradients(len(x))
        with editing(working.module, descent.batchnorm if len(x) > 1 else BatchNormMode.FROZEN):
            return {"unlearning": loss(working(x), wanted).mean()}

    step = descent.make_step(working, losses)
    return edit_until_goal(
        task, Plan(method.name, to_mapping(method), working, step, descent.count_steps(len(rows))), meter
    )
