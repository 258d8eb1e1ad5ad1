"""The loop that every method runs: step, look, stop."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.utils import get_total_norm

from expunge.base.errors import ExpungeWarning, ProcessError
from expunge.compute.callbacks import TracePoint
from expunge.compute.context import Context
from expunge.compute.devices import seeded
from expunge.compute.sharing import Sharing
from expunge.compute.time_limit import STEPS, TimeUp
from expunge.models.classifier import Classifier
from expunge.models.copying import put_weights
from expunge.task.edit import Edit
from expunge.task.evaluation import SHARE_OF_COPIES, compute_logits, measure_robust_goal
from expunge.task.goals import achieved
from expunge.task.task import StopReason, Strength, Task

COPIES_OF_A_LOOK = 30
ROWS_OF_A_LOOK = 32
BATCH_OF_ALL = 256

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
        least_steps: how many to take at least; a method that refines a reached goal needs them.
        completed: a method's own stop rule: whether it has run its course after so many steps. Where there is one, the
            goal does not end the edit, and the last finite state is kept instead of the best.
        trace: of the steps that `working` has behind it, if the edit goes on from where it was stopped.
        write_checkpoint: given the trace after each step that is not the last, writes what the edit can go on from.
    """

    method: str
    settings: Mapping[str, Any]
    working: Classifier
    step: Step
    step_limit: int
    least_steps: int = 0
    completed: Callable[[int], bool] | None = None
    trace: tuple[TracePoint, ...] = ()
    write_checkpoint: Callable[[Sequence[TracePoint]], None] | None = None


@dataclass(slots=True)
class _Best:
    """The state that comes nearest to the goal: most rows first, then the largest share of fresh copies.

    Of equals it is the first, since it is the least changed; but the last while a method refines, or of those that
    reach the goal. Of a method with a stop rule of its own it is always the last.
    """

    rank: tuple[int, float] = (-1, 0.0)
    achieved: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    state: dict[str, Tensor] = field(default_factory=dict)
    reached: bool = False

    def offer(self, look: "_Look", steps: int, plan: Plan) -> None:
        rank = (int(look.achieved.sum()), look.copies_held)
        refining = steps <= plan.least_steps and rank == self.rank
        if plan.completed is not None or look.reached or rank > self.rank or refining:
            self.rank, self.achieved, self.reached = rank, look.achieved, look.reached
            self.state = {name: tensor.clone() for name, tensor in plan.working.module.state_dict().items()}


@dataclass(frozen=True, slots=True)
class _Look:
    """For which rows the goal holds, on which share of fresh copies, and whether that is enough.

    Where it is not `complete`, some rows were not looked at, since others showed that the goal is not reached.
    """

    achieved: Tensor
    copies_held: float
    reached: bool
    complete: bool = True


class _Watch:
    """Looks at as few rows as tell whether the goal holds for all: those first for which it did not hold last time.

    A look at all rows comes every so many steps as batches of rows there are, so looks cost no more than two batches
    of rows a step, however many rows there are.
    """

    def __init__(self, task: Task, working: Classifier, sharing: Sharing) -> None:
        self._task, self._working, self._sharing = task, working, sharing
        self._rows, self._labels = task.forget_set.x.to(working.device), task.labels.to(working.device)
        self._allowed = None if task.allowed is None else task.allowed.to(working.device)
        self._achieved = torch.zeros(len(self._rows), dtype=torch.bool)
        self._partial_looks = 0

    def look(self, *, at_all: bool) -> tuple[Tensor, bool] | None:
        """Return which rows hold the goal, as last seen, and whether all were seen.

        None if a weight or an answer is not finite. A device is waited for once for each batch.
        """
        finite = _all_finite(self._working.module.state_dict().values())
        order = self._achieved.int().argsort(stable=True)
        at_all = at_all or (self._partial_looks + 1) * ROWS_OF_A_LOOK >= len(order)
        for chosen in order.split(BATCH_OF_ALL if at_all else ROWS_OF_A_LOOK):
            logits = compute_logits(self._working, self._rows[chosen], self._sharing)
            allowed = None if self._allowed is None else self._allowed[chosen]
            flags = achieved(self._task.goal, logits, self._labels[chosen], allowed)
            sound = torch.isfinite(logits).all() & finite
            seen = self._sharing.processes.agree(torch.cat([sound.view(1), flags])).cpu()
            if not bool(seen[0]):
                return None
            self._achieved[chosen] = seen[1:]
            if not at_all and not bool(self._achieved[chosen].all()):
                self._partial_looks += 1
                return self._achieved.clone(), False
        self._partial_looks = 0
        return self._achieved.clone(), True


def edit_until_goal(task: Task, plan: Plan, context: Context) -> Edit:
    """Step until the goal holds for every row in eval mode, or a limit is met, or the weights diverge.

    With `Strength.ROBUST` it must also hold on copies of the rows that no step has seen. Whatever ends it, the edit
    returned holds the best state seen and says why it ended. Ctrl-C ends it like a limit. A method with a stop rule of
    its own runs its course whether the goal holds or not.

    Args:
        task: the job.
        plan: the method's working copy and its step.
        context: started before the method's first phase; its time counts against `task.limits.seconds`.
    """
    best, trace, steps = _Best(), list(plan.trace), len(plan.trace)
    judge = _Judge(task, plan, best, context.sharing)
    limit = task.limits.steps or plan.step_limit
    reason, _ = judge.look(steps)
    try:
        with context.phase(STEPS, total=limit) as advance, seeded_layers(task, context):
            if plan.trace:
                advance(steps)
            while reason is None:
                losses = plan.step()
                steps += 1
                stop = _limit_met(task, context, steps, limit)
                reason, count = judge.look(steps, last=stop is not None)
                if reason in (None, StopReason.COMPLETED) and not all(map(isfinite, losses.values())):
                    reason = StopReason.DIVERGED
                trace.append(TracePoint(steps, context.seconds, _finite(losses), count))
                context.tell(trace[-1])
                advance(1)
                reason = reason or stop
                if reason is None and plan.write_checkpoint is not None:
                    plan.write_checkpoint(trace)
    except TimeUp:
        reason = StopReason.TIME_LIMIT
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
    except ProcessError as error:
        warnings.warn(f"{error}; the best state until then is kept", ExpungeWarning, stacklevel=2)
        reason = StopReason.INTERRUPTED
    if best.reached and reason in (StopReason.STEP_LIMIT, StopReason.TIME_LIMIT):
        reason = StopReason.GOAL_REACHED
    put_weights(plan.working.module, best.state)
    edited = _on_device_of(plan.working, task.classifier)
    return Edit(
        task, edited, plan.method, plan.settings, reason, steps, tuple(trace), context.cost(), best.achieved.cpu()
    )


class _Judge:
    """Looks after each step, keeps the best state, and says whether to stop."""

    def __init__(self, task: Task, plan: Plan, best: _Best, sharing: Sharing) -> None:
        self._task, self._plan, self._best, self._sharing = task, plan, best, sharing
        self._watch = _Watch(task, plan.working, sharing)
        self._copies = task.generator("copies of the stop rule")

    def look(self, steps: int, *, last: bool = True) -> tuple[StopReason | None, int]:
        """Return whether to stop, and for how many rows the goal holds on the exact pixels, as last seen."""
        plan = self._plan
        completed = plan.completed is not None and plan.completed(steps)
        going_on = not completed if plan.completed is not None else steps < plan.least_steps
        at_all = last or plan.completed is not None or plan.least_steps > 0
        look = self._look(only_rows=going_on, at_all=at_all, earlier=not going_on or (last and steps > 0))
        if look is None:
            return StopReason.DIVERGED, 0
        if look.complete:
            self._best.offer(look, steps, plan)
        count = int(look.achieved.sum())
        if look.reached and not going_on:
            return StopReason.GOAL_REACHED, count
        return StopReason.COMPLETED if completed else None, count

    def _look(self, *, only_rows: bool, at_all: bool, earlier: bool) -> _Look | None:
        """Return what the rows answer, or None if a weight or an answer is not finite.

        Args:
            only_rows: leave the copies out.
            at_all: look at all rows, though some show that the goal is not reached.
            earlier: look at the rows of earlier edits, too; without, the goal is not reached where there are such.
        """
        task, working = self._task, self._plan.working
        seen = self._watch.look(at_all=at_all)
        if seen is None:
            return None
        flags, complete = seen
        kept = task.earlier is not None and task.earlier.count > 0
        holds = complete and bool(flags.all()) and (not kept or (earlier and self._earlier_hold()))
        if task.strength is Strength.EXACT or only_rows or not holds:
            return _Look(flags, 0.0, task.strength is Strength.EXACT and holds, complete)
        robust = measure_robust_goal(
            working,
            task.forget_set.x,
            task.labels,
            task.goal,
            generator=self._copies,
            copies=COPIES_OF_A_LOOK,
            transforms=task.transforms,
            at_once=self._sharing,
            before=task.classifier,
            allowed=task.allowed,
        )
        drawn = COPIES_OF_A_LOOK * len(flags)
        error = math.sqrt(SHARE_OF_COPIES * (1 - SHARE_OF_COPIES) / drawn)
        share = float(self._sharing.processes.agree(torch.tensor(robust.share)))
        return _Look(flags, share, share - error >= SHARE_OF_COPIES)

    def _earlier_hold(self) -> bool:
        """Return whether the rows of earlier edits are still forgotten."""
        task = self._task
        assert task.earlier is not None  # noqa: S101 - the caller asks
        robust = task.strength is Strength.ROBUST
        part = task.earlier.part(self._plan.working, task.forget_set.x)
        held = task.earlier.holds(part, task.goal, self._sharing, robust=robust)
        return bool(self._sharing.processes.agree(torch.tensor(held)))


def seeded_layers(task: Task, context: Context) -> AbstractContextManager[None]:
    """Seed for the block what dropout layers draw from."""
    return seeded(task.generator("dropout").initial_seed(), context.runtime.device)


def _limit_met(task: Task, context: Context, steps: int, limit: int) -> StopReason | None:
    if steps >= limit:
        return StopReason.STEP_LIMIT
    if task.limits.seconds is None:
        return None
    over = torch.tensor(context.seconds >= task.limits.seconds)
    return StopReason.TIME_LIMIT if bool(context.runtime.processes.agree(over)) else None


def _all_finite(tensors: Iterable[Tensor]) -> Bool[Tensor, ""]:
    """Return whether all numbers are finite, from the largest of all tensors: squares could overflow.

    Weights are looked at too: a ReLU can turn an infinite one into a finite answer.
    """
    numbers = [each for each in tensors if each.is_floating_point() and each.numel()]
    return torch.isfinite(get_total_norm(numbers, math.inf))


def _finite(losses: Mapping[str, float]) -> dict[str, float]:
    return {name: loss for name, loss in losses.items() if isfinite(loss)}


def _on_device_of(edited: Classifier, original: Classifier) -> Classifier:
    edited.module.zero_grad(set_to_none=True)
    return edited.to(original.device)
