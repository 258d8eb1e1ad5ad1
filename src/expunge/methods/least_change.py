"""Least change: of all weight changes that carry the rows over their boundaries, the one that changes answers least.

The project's own method; docs/least_change.md derives it and says what was tried.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from expunge.classifier import Classifier
from expunge.copies import draw_copies
from expunge.cost import CostMeter
from expunge.curvature import Whitening, compute_whitening
from expunge.edit import Edit, measure_expected_cost
from expunge.engine import Plan, edit_until_goal
from expunge.jacobian import Constraints, Step, make_jacobian
from expunge.layers import Layer, differentiate, find_layers
from expunge.measurement import compute_logits
from expunge.methods.protocol import Aim, Needs
from expunge.modes import evaluating
from expunge.probes.mix import ProbeMix, draw_probes
from expunge.quadratic import solve_multipliers
from expunge.runtime import Runtime
from expunge.settings import check_settings, setting, to_mapping
from expunge.sharing import Sharing
from expunge.task import Strength, Task

GIGABYTE = 2**30
CURVATURE_EVERY = 10
CURVATURE_PROBES = 512
FINITE_STEP = 0.05
FADE = 0.7
EXACT_FLOOR, ROBUST_FLOOR = 0.02, 0.1
SMALLEST_EASE = 0.15
STEERING_STARTS = 0.4
FEW_ROWS = 32
KEPT_OUT = 10
CLOSING_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """Settings of robust forgetting, where fresh copies of the rows are the constraints."""

    constraints: int | None = setting(None, "copies in a step, the worst; 48, or 64 for over 32 rows", at_least=1)
    share: float | None = setting(
        None, "share of fresh copies that steers the margin; 0.975, or 0.96 for over 32 rows", above=0, at_most=1
    )
    averaged: float = setting(
        0.4, "share of the steps, the last ones, whose weights are averaged", at_least=0, at_most=1
    )
    gain: float = setting(0.5, "logits of margin for each missing or spare share, a step", at_least=0)
    largest_margin: float = setting(1.0, "how far that may raise the margin", at_least=0)
    ridge: float = setting(1e-2, "slack of the constraints: copies contradict each other a little", above=0)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastChange:
    """minimise 1/2 E|f(x) - f0(x)|^2 over probes, subject to gap + margin <= 0 for every row (or its copies).

    Weights are written theta0 + W z, W the Kronecker-factored whitening of the probes' logit metric, so that a short z
    is a small change of the answers. Each step goes down the objective on a batch of probes, then takes the shortest
    correction that meets the constraints, linearised at the present weights (a quadratic programme with one multiplier
    for each row). Only the weights of linear and convolutional layers change; BatchNorm stays frozen.
    """

    name: ClassVar[str] = "least-change"
    summary: ClassVar[str] = "the weight change that forgets the rows and changes all other answers least"
    source: ClassVar[str] = "this project, docs/least_change.md"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel")
    strength: ClassVar[Strength] = Strength.ROBUST

    probes: ProbeMix = field(default_factory=ProbeMix)
    steps: int | None = setting(None, "steps that lower the cost; 50, or 100 if robust for over 32 rows", at_least=1)
    probe_batch: int | None = setting(None, "probes in a step; 96, or 160 if robust for over 32 rows", at_least=1)
    rate: float = setting(0.3, "step size, in units of 1 / measured curvature", above=0, spread=3)
    momentum: float = setting(0.8, "share of the last step that is taken again", at_least=0, at_most=1)
    margin: float = setting(0.3, "logits by which every row is to be over its boundary", at_least=0, spread=4)
    approach: int = setting(4, "steps over which the rows are first brought to their boundaries", at_least=1)
    damping: float = setting(0.01, "added to the curvature, as a share of its mean", above=0, spread=10)
    ridge: float = setting(1e-4, "slack of the constraints, as a share of their mean squared gradient", above=0)
    copying: Copying = field(default_factory=Copying)
    memory_gigabytes: float = setting(4.0, "memory for row gradients; more of them are made anew", above=0)

    def __post_init__(self) -> None:
        check_settings(self)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        reference = task.classifier.to(runtime.device).frozen_copy()
        working = task.classifier.to(runtime.device).copy()
        drawn = draw_probes(reference, task, self.probes, meter)
        kept_out = max(1, len(drawn) // KEPT_OUT)
        unseen, probes = drawn[:kept_out], drawn[kept_out:]
        layers = find_layers(working, probes)
        whitening = compute_whitening(
            working,
            layers,
            probes[:CURVATURE_PROBES],
            damping=self.damping,
            generator=task.generator("curvature"),
            meter=meter,
        )
        logits = compute_logits(reference, probes, runtime.batch_size)
        cost = _Cost(working, layers, whitening, probes, logits, meter.sharing)
        course = _Course(self.resolve(task), task, cost, meter)
        steps = course.steps
        plan = Plan(self.name, to_mapping(self), working, course.take_step, steps + CLOSING_STEPS, least_steps=steps)
        edit = edit_until_goal(task, plan, meter)
        return replace(edit, expected=measure_expected_cost(reference, edit.classifier.to(runtime.device), unseen))

    def resolve(self, task: Task) -> "LeastChange":
        """Return these settings with the sizes that were left open chosen for the task."""
        long = task.strength is Strength.ROBUST and len(task.forget_set) > FEW_ROWS
        copying = replace(
            self.copying,
            constraints=self.copying.constraints or (64 if long else 48),
            share=self.copying.share or (0.96 if long else 0.975),
        )
        return replace(
            self,
            steps=self.steps or (100 if long else 50),
            probe_batch=self.probe_batch or (160 if long else 96),
            copying=copying,
        )


@dataclass(frozen=True, slots=True)
class _Cost:
    """1/2 E|f(x) - f0(x)|^2 over the probes, logits with their mean over the classes taken out."""

    classifier: Classifier
    layers: tuple[Layer, ...]
    whitening: Whitening
    probes: Tensor
    logits: Tensor
    sharing: Sharing

    def change(self, rows: Tensor) -> Tensor:
        """Return f - f0 on these probes, (b, classes)."""
        [logits] = self.sharing.gather(
            len(rows), lambda part: [compute_logits(self.classifier, self.probes[rows[part]])]
        )
        return _centred(logits - self.logits[rows])

    def gradient(self, rows: Tensor) -> tuple[float, Step]:
        """Return the cost on these probes and its gradient in whitened coordinates."""

        def differentiate_part(part: slice) -> list[Tensor]:
            chosen = rows[part]
            with evaluating(self.classifier.module):
                change = _centred(self.classifier(self.probes[chosen]) - self.logits[chosen])
            cost = 0.5 * change.square().sum() / len(rows)
            return [cost.detach(), *differentiate(cost, self.layers)]

        cost, *gradient = self.sharing.sum(len(rows), differentiate_part)
        return cost.item(), [self.whitening.pull(number, part) for number, part in enumerate(gradient)]


class _Course:
    """The state between steps: where the weights are, how they move, which copies are watched."""

    def __init__(self, settings: LeastChange, task: Task, cost: _Cost, meter: CostMeter) -> None:
        self._settings, self._task, self._cost, self._meter = settings, task, cost, meter
        self.steps, self._robust = settings.steps or 0, task.strength is Strength.ROBUST
        self._rows = task.forget_set.to(meter.runtime.device)
        self._labels = task.labels.to(meter.runtime.device)
        self._original = [layer.read() for layer in cost.layers]
        self._place = [torch.zeros_like(weights) for weights in self._original]
        self._velocity = [torch.zeros_like(weights) for weights in self._original]
        self._mean = self._place
        self._probe_rows = task.generator("probe batches")
        self._copies = task.generator("constraint copies")
        self._kept, self._kept_labels = self._rows.x[:0], self._labels[:0]
        self._margin, self._curvature, self._count = settings.margin, 0.0, 0
        self._share: float | None = None

    def take_step(self) -> Mapping[str, float]:
        """Lower the cost, meet the constraints, and set the weights."""
        settings = self._settings
        x, labels = self._draw_constraints() if self._robust else (self._rows.x, self._labels)
        value = self._descend()
        constraints = Constraints(
            self._cost.classifier, self._cost.layers, self._cost.whitening, self._task.goal, x, labels
        )
        jacobian = make_jacobian(constraints, memory_bytes=int(settings.memory_gigabytes * GIGABYTE), meter=self._meter)
        wanted = jacobian.gaps + self._margin
        if self._count < settings.approach:
            wanted = wanted.clamp_max(0) + wanted.clamp_min(0) / (settings.approach - self._count)
        shortfall = wanted + jacobian.times(self._velocity)
        if not bool(torch.isfinite(shortfall).all()):
            return {"cost": math.nan, "worst gap": math.nan}
        ridge = settings.copying.ridge if self._robust else settings.ridge
        correction = jacobian.combine(self._ease() * solve_multipliers(jacobian.gram(), shortfall, ridge=ridge))
        self._place = [
            old + step - part for old, step, part in zip(self._place, self._velocity, correction, strict=True)
        ]
        self._count += 1
        self._average()
        self._write(self._place)
        return {"cost": value, "worst gap": float(jacobian.gaps.max())}

    def _average(self) -> None:
        """Add this place to the mean of the last ones, and go to the mean after the last step.

        Copies and probes differ in each step; the mean meets more of the copies for less change than any one place.
        """
        first = math.ceil(self.steps * (1 - self._settings.copying.averaged))
        if self._robust and first < self._count <= self.steps:
            share = 1 / (self._count - first)
            self._mean = [old + share * (new - old) for old, new in zip(self._mean, self._place, strict=True)]
            if self._count == self.steps:
                self._place = self._mean

    def _remaining(self) -> float:
        """Return 1 for the first half of the steps, then less and less, 0 after the last."""
        return min(1.0, max(0.0, 2 * (1 - self._count / self.steps)))

    def _ease(self) -> float:
        """Return the share of a correction that is taken; copies differ each step, so it averages over them."""
        return min(1.0, self._remaining() + SMALLEST_EASE) if self._robust else 1.0

    def _descend(self) -> float:
        """Set the velocity, momentum and a step down the cost on a fresh batch of probes, and return the cost."""
        settings = self._settings
        if self._count == 0 or self._count >= self.steps:
            self._velocity = [torch.zeros_like(part) for part in self._velocity]
            return 0.0
        drawn = torch.randint(len(self._cost.probes), (settings.probe_batch or 1,), generator=self._probe_rows)
        rows = drawn.to(self._meter.runtime.device)
        value, gradient = self._cost.gradient(rows)
        self._meter.add_gradients(len(rows))
        if self._count % CURVATURE_EVERY == 1:
            self._curvature = max(self._measure_curvature(rows, gradient), FADE * self._curvature)
        floor = ROBUST_FLOOR if self._robust else EXACT_FLOOR
        rate = settings.rate * min(1.0, self._remaining() + floor) / max(self._curvature, 1e-12)
        self._velocity = [
            settings.momentum * old - rate * part for old, part in zip(self._velocity, gradient, strict=True)
        ]
        return value

    def _measure_curvature(self, rows: Tensor, gradient: Step) -> float:
        """Return |df|^2 / |dz|^2 along the gradient, by a finite difference."""
        length = FINITE_STEP * _norm(self._place) / max(_norm(gradient), 1e-12)
        before = self._cost.change(rows)
        self._write([old + length * part for old, part in zip(self._place, gradient, strict=True)])
        change = self._cost.change(rows) - before
        self._write(self._place)
        return float(change.square().sum(dim=1).mean()) / max((length * _norm(gradient)) ** 2, 1e-20)

    def _draw_constraints(self) -> tuple[Tensor, Tensor]:
        """Return the worst of fresh copies, some untouched rows, and the worst copies of the step before."""
        count = self._settings.copying.constraints or 1
        drawn = torch.randint(len(self._rows), (2 * count,), generator=self._copies).to(self._labels.device)
        bounds, transforms = self._task.classifier.bounds, self._task.transforms
        fresh = draw_copies(self._rows.x[drawn], bounds, self._copies, transforms)
        plain = drawn[: max(1, count // 4)]
        x = torch.cat([fresh, self._rows.x[plain], self._kept])
        labels = torch.cat([self._labels[drawn], self._labels[plain], self._kept_labels])
        gaps = self._task.goal.gap(compute_logits(self._cost.classifier, x), labels)
        self._steer_margin(float((gaps[: len(fresh)] < 0).double().mean()))
        worst = gaps.argsort(descending=True, stable=True)[:count]
        self._kept, self._kept_labels = x[worst], labels[worst]
        return self._kept, self._kept_labels

    def _steer_margin(self, held: float) -> None:
        """Raise the margin while too few fresh copies hold, lower it while more do than are wanted."""
        copying = self._settings.copying
        if self._count <= max(self._settings.approach, STEERING_STARTS * self.steps):
            return
        self._share = held if self._share is None else FADE * self._share + (1 - FADE) * held
        moved = self._margin + copying.gain * ((copying.share or 1.0) - self._share)
        self._margin = min(max(moved, -copying.largest_margin), copying.largest_margin)

    def _write(self, place: Step) -> None:
        for number, (layer, original) in enumerate(zip(self._cost.layers, self._original, strict=True)):
            layer.write(original + self._cost.whitening.apply(number, place[number]))


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=1, keepdim=True)


def _norm(step: Step) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in step))
