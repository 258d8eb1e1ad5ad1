"""Exact forgetting: down the objective, then back to the constraints by a quadratic programme, step by step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.methods.least_change.iterate import CURVATURE_EVERY, Problem, remaining
from expunge.methods.least_change.jacobian import Constraints, OutOfTime, make_jacobian
from expunge.methods.least_change.margins import Leads, Margins
from expunge.methods.least_change.quadratic import solve_multipliers
from expunge.methods.least_change.scope import FEW_ROWS, LAST_THIRD
from expunge.models.pixels import SMALL_IMAGE
from expunge.task.evaluation import compute_logits
from expunge.task.task import Effort

GIGABYTE = 2**30
SLOWEST = 0.02
STEEP, FADE = 10.0, 0.8
"""A cost so many times the usual one, a fading mean, says that the last step was too long."""
CLOSING_STEPS = 30
STEPS = {Effort.QUICK: (20, 12), Effort.STANDARD: (50, 16), Effort.THOROUGH: (50, 24)}
STEPS_OF_FEW = {Effort.QUICK: (20, 12), Effort.STANDARD: (40, 16), Effort.THOROUGH: (40, 24)}
BATCH, BATCH_OF_FEW = (96, 64), (160, 64)
"""For images up to 64 x 64, and for larger ones; of few rows, steps behind a cut, which cost little."""
NEARLY_BACK = 0.5
"""Share of its margin below which an earlier row is a constraint again."""
SPARE = 2.0
"""A row is no constraint of a step if it has so many times to spare what the last one moved any row by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Settings):
    """Settings of exact forgetting, where the rows as they are are the constraints."""

    steps: int | None = setting(
        None,
        "steps that lower the cost; by effort 20, 40 or 40 for up to 32 rows, 20, 50 or 50 for more; 12, 16 or 24 for "
        "images above 64 x 64",
        at_least=1,
    )
    surrogate_batch: int | None = setting(
        None,
        "surrogates in a step; 160 for up to 32 rows, 96 for more; 64 for images above 64 x 64",
        at_least=1,
        formerly="probe_batch",
    )
    depth: float | None = setting(
        None,
        "share of the layers that are edited, the last ones, six at least; 0.35 for up to 32 rows, 1 for more",
        above=0,
        at_most=1,
    )
    margin: float = setting(0.3, "logits by which every row is to be over its boundary", at_least=0, spread=4)
    leads: Leads = setting(
        Leads.LEAST,
        "least: that margin for every row; ordinary: no smaller, a lead as images have that were never seen",
    )
    approach: int = setting(4, "steps over which the rows are first brought to their boundaries", at_least=1)
    ridge: float = setting(1e-4, "slack of the constraints, as a share of their mean squared gradient", above=0)
    memory_gigabytes: float = setting(
        4.0,
        "memory for row gradients and for factors of the curvature; what doesn't fit is made anew, or thin",
        above=0,
    )

    def resolve(
        self, rows: int, pixels: int, effort: Effort = Effort.THOROUGH, *, among_others: bool = False
    ) -> "Exact":
        """Return these settings with the sizes that were left open chosen for so many rows of so many pixels.

        Args:
            rows: to forget.
            pixels: of an image.
            effort: how many steps.
            among_others: whether other edits come before or after: sizes are those for many rows.

        >>> Exact(steps=7).resolve(16, 224 * 224).surrogate_batch
        64
        """
        few, large = rows <= FEW_ROWS and not among_others, pixels > SMALL_IMAGE
        steps, batch = (STEPS_OF_FEW, BATCH_OF_FEW) if few else (STEPS, BATCH)
        return replace(
            self,
            steps=self.steps or steps[effort][large],
            surrogate_batch=self.surrogate_batch or batch[large],
            depth=self.depth or (LAST_THIRD if few else 1.0),
        )


class ConstrainedSolver:
    """Each step charges for the whole change since f0 and meets every constraint, linearised at the present weights."""

    closing_steps = CLOSING_STEPS

    def __init__(self, settings: Exact, problem: Problem) -> None:
        self._settings, self._problem = settings, problem
        self._iterate, self._objective = problem.iterate, problem.objective
        task, device = problem.task, problem.surrogates.device
        self._x, self._labels = problem.enter(task.forget_set.x.to(device)), task.labels.to(device)
        self._margins = Margins(problem, settings.margin, settings.leads)
        self._drawn = problem.task.generator("probe batches")
        self._count, self._usual = 0, 0.0
        self._short: Tensor | None = None

    @property
    def steps(self) -> int:
        """Return how many steps lower the cost; those after them only correct."""
        return self._settings.steps or 0

    def take_step(self) -> Mapping[str, float]:
        """Lower the cost, meet the constraints, and set the weights; they stay where time is over before that."""
        value = self._descend()
        try:
            worst = self._correct()
        except OutOfTime:
            return {"cost": value}
        if math.isfinite(worst):
            self._count += 1
            self._iterate.write(self._iterate.position)
        return {"cost": value if math.isfinite(worst) else math.nan, "worst gap": worst}

    def _correct(self) -> float:
        """Go on by the velocity and the shortest step that meets the constraints; return their worst gap, or NaN."""
        settings, iterate, objective, context = self._settings, self._iterate, self._objective, self._problem.context
        gap, near = self._margins.gap, self._find_near()
        x, labels, margins = self._x[near], self._labels[near], self._margins.values[near]
        earlier, earlier_labels = self._find_nearly_back()
        if len(earlier):
            x, labels = torch.cat([x, earlier]), torch.cat([labels, earlier_labels])
        constraints = Constraints(objective.classifier, objective.layers, objective.whitening, gap, x, labels)
        memory, expired = int(self._problem.memory_gigabytes * GIGABYTE), self._problem.out_of_time
        jacobian = make_jacobian(constraints, memory_bytes=memory, context=context, expired=expired)
        own, rest = jacobian.gaps[: len(margins)] + margins, jacobian.gaps[len(margins) :] + settings.margin
        if self._count < settings.approach:
            own = own.clamp_max(0) + own.clamp_min(0) / (settings.approach - self._count)
        wanted = torch.cat([own, rest])
        shortfall = wanted + jacobian.times(iterate.velocity)
        if not bool(torch.isfinite(shortfall).all()):
            return math.nan
        # only a process alone may give up: the others would solve on
        alone = context.sharing.processes.count == 1
        multipliers = solve_multipliers(
            jacobian.gram(), shortfall, ridge=settings.ridge, expired=expired if alone else lambda: False
        )
        iterate.advance(jacobian.combine(multipliers))
        return float(jacobian.gaps.max())

    def _find_near(self) -> slice | Tensor:
        """Return which rows are constraints: all, or, where each may have a lead, those with little of it to spare."""
        problem, last = self._problem, self._short
        if problem.task.allowed is None:
            return slice(None)
        logits = compute_logits(self._objective.classifier, self._x, problem.context.sharing)
        self._short = short = self._margins.gap(logits, self._labels) + self._margins.values
        if last is None:
            return slice(None)
        far = short < torch.minimum(-SPARE * (short - last).abs().max(), short.max())
        return ~problem.context.sharing.processes.agree(far)

    def _find_nearly_back(self) -> tuple[Tensor, Tensor]:
        """Return those rows of earlier edits that are about to come back, with their labels; the others are far."""
        problem, device = self._problem, self._x.device
        earlier = problem.task.earlier
        if earlier is None or earlier.rows is None:
            return self._x[:0], self._labels[:0]
        labels = earlier.labels(problem.task.goal).to(device)
        logits = compute_logits(self._objective.classifier, earlier.rows.x, problem.context.sharing)
        near = problem.task.goal.gap(logits, labels) > -NEARLY_BACK * self._settings.margin
        near = problem.context.sharing.processes.agree(near)
        return earlier.rows.x.to(device)[near], labels[near]

    def _descend(self) -> float:
        """Set the velocity by a step down the objective on a fresh batch of surrogates, and return the objective."""
        iterate, settings = self._iterate, self._settings
        if self._count == 0 or self._count >= self.steps:
            iterate.halt()
            return 0.0
        x, logits = self._problem.draw(settings.surrogate_batch or 1, self._drawn)
        value, gradient = self._objective.gradient(x, logits)
        steep = self._count > settings.approach and value > STEEP * self._usual
        self._usual = value if self._count == 1 else FADE * self._usual + (1 - FADE) * min(value, STEEP * self._usual)
        if steep:
            iterate.halt()
        if steep or self._count % CURVATURE_EVERY == 1:
            iterate.measure_curvature(gradient, x, logits)
        iterate.push(gradient, self._problem.rate * min(1.0, remaining(self._count, self.steps) + SLOWEST))
        return value
