"""The loop that every method runs: step, look, stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from expunge.classifier import Classifier
from expunge.edit import Edit, TracePoint
from expunge.goals import achieved
from expunge.measurement import compute_logits
from expunge.runtime import CostMeter
from expunge.task import StopReason, Task

Step = Callable[[], Mapping[str, float]]
"""Changes the working classifier once and returns its losses by name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one method's edit is run.

    Args:
        method: its name.
        settings: its hyper-parameters as plain nested values.
        working: the copy of the classifier that `step` changes.
        step: changes it once.
        step_limit: how many steps to take at most, if the task sets no limit.
    """

    method: str
    settings: Mapping[str, Any]
    working: Classifier
    step: Step
    step_limit: int


@dataclass(slots=True)
class _Best:
    """The state that holds the goal for most rows; of equals, the first, since it is the least changed."""

    count: int = -1
    achieved: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    state: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, flags: Tensor, classifier: Classifier) -> None:
        if int(flags.sum()) > self.count:
            self.count, self.achieved = int(flags.sum()), flags
            self.state = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}


def edit_until_goal(task: Task, plan: Plan, meter: CostMeter) -> Edit:
    """Step until the goal holds for every row in eval mode, or a limit is met, or the weights diverge.

    Whatever ends it, the edit returned holds the best state seen and says why it ended. Ctrl-C ends it like a limit.

    Args:
        task: the job.
        plan: the method's working copy and its step.
        meter: started before the method's first phase; its time counts against `task.limits.seconds`.
    """
    best = _Best()
    trace: list[TracePoint] = []
    reason, _ = _look(task, plan.working, best)
    limit = task.limits.steps or plan.step_limit
    steps = 0
    try:
        with meter.phase("edit", total=limit) as advance:
            while reason is None:
                losses = plan.step()
                steps += 1
                reason, count = _look(task, plan.working, best)
                if reason is None and not all(map(isfinite, losses.values())):
                    reason = StopReason.DIVERGED
                trace.append(TracePoint(steps, meter.seconds, _finite(losses), count))
                advance(1)
                reason = reason or _limit_met(task, meter, steps, limit)
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
    plan.working.module.load_state_dict(best.state)
    edited = _on_device_of(plan.working, task.classifier)
    return Edit(
        task, edited, plan.method, plan.settings, reason, steps, tuple(trace), meter.cost(), best.achieved.cpu()
    )


def _look(task: Task, working: Classifier, best: _Best) -> tuple[StopReason | None, int]:
    logits = compute_logits(working, task.forget_set.x)
    if not _all_finite(logits, *working.module.state_dict().values()):
        return StopReason.DIVERGED, 0
    flags = achieved(task.goal, logits, task.labels.to(logits.device))
    best.offer(flags, working)
    return StopReason.GOAL_REACHED if bool(flags.all()) else None, int(flags.sum())


def _limit_met(task: Task, meter: CostMeter, steps: int, limit: int) -> StopReason | None:
    if steps >= limit:
        return StopReason.STEP_LIMIT
    if task.limits.seconds is not None and meter.seconds >= task.limits.seconds:
        return StopReason.TIME_LIMIT
    return None


def _all_finite(*tensors: Tensor) -> bool:
    """Weights are looked at too: a ReLU can turn an infinite one into a finite answer."""
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def _finite(losses: Mapping[str, float]) -> dict[str, float]:
    return {name: loss for name, loss in losses.items() if isfinite(loss)}


def _on_device_of(edited: Classifier, original: Classifier) -> Classifier:
    edited.module.zero_grad(set_to_none=True)
    return edited.to(original.device)
