"""Exact forgetting: down the objective, then back to the constraints by a quadratic programme, step by step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from expunge.base.settings import check_settings, setting
from expunge.methods.least_change.iterate import CURVATURE_EVERY, Ground, remaining
from expunge.methods.least_change.jacobian import Constraints, make_jacobian
from expunge.methods.least_change.quadratic import solve_multipliers
from expunge.surrogates.mix import SMALL_IMAGE

GIGABYTE = 2**30
SLOWEST = 0.02
CLOSING_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Settings of exact forgetting, where the rows as they are are the constraints."""

    steps: int | None = setting(None, "steps that lower the cost; 50, or 24 for images above 64 x 64", at_least=1)
    probe_batch: int | None = setting(None, "probes in a step; 96 or 64 likewise", at_least=1)
    margin: float = setting(0.3, "logits by which every row is to be over its boundary", at_least=0, spread=4)
    approach: int = setting(4, "steps over which the rows are first brought to their boundaries", at_least=1)
    ridge: float = setting(1e-4, "slack of the constraints, as a share of their mean squared gradient", above=0)
    memory_gigabytes: float = setting(4.0, "memory for row gradients; more of them are made anew", above=0)

    def __post_init__(self) -> None:
        check_settings(self)

    def resolve(self, pixels: int) -> "Exact":
        """Return these settings with the sizes that were left open chosen for images of so many pixels.

        >>> Exact(steps=7).resolve(224 * 224).probe_batch
        64
        """
        large = pixels > SMALL_IMAGE
        return replace(self, steps=self.steps or (50, 24)[large], probe_batch=self.probe_batch or (96, 64)[large])


class ConstrainedCourse:
    """Each step charges for the whole change since f0 and meets every constraint, linearised at the present weights."""

    closing_steps = CLOSING_STEPS

    def __init__(self, settings: Exact, ground: Ground) -> None:
        self._rows = ground.task.forget_set.to(ground.probes.device)
        self._settings, self._ground = settings, ground
        self._way, self._objective = ground.way, ground.objective
        self._labels = ground.task.labels.to(ground.probes.device)
        self._drawn = ground.task.generator("probe batches")
        self._count = 0

    @property
    def steps(self) -> int:
        """Return how many steps lower the cost; those after them only correct."""
        return self._settings.steps or 0

    def take_step(self) -> Mapping[str, float]:
        """Lower the cost, meet the constraints, and set the weights."""
        settings, way, objective = self._settings, self._way, self._objective
        value = self._descend()
        constraints = Constraints(
            objective.classifier,
            objective.layers,
            objective.whitening,
            self._ground.task.goal,
            self._rows.x,
            self._labels,
        )
        jacobian = make_jacobian(
            constraints, memory_bytes=int(settings.memory_gigabytes * GIGABYTE), meter=self._ground.meter
        )
        wanted = jacobian.gaps + settings.margin
        if self._count < settings.approach:
            wanted = wanted.clamp_max(0) + wanted.clamp_min(0) / (settings.approach - self._count)
        shortfall = wanted + jacobian.times(way.velocity)
        if not bool(torch.isfinite(shortfall).all()):
            return {"cost": math.nan, "worst gap": math.nan}
        way.advance(jacobian.combine(solve_multipliers(jacobian.gram(), shortfall, ridge=settings.ridge)))
        self._count += 1
        way.write(way.place)
        return {"cost": value, "worst gap": float(jacobian.gaps.max())}

    def _descend(self) -> float:
        """Set the velocity by a step down the objective on a fresh batch of probes, and return the objective."""
        way, settings = self._way, self._settings
        if self._count == 0 or self._count >= self.steps:
            way.halt()
            return 0.0
        chosen = torch.randint(len(self._ground.probes), (settings.probe_batch or 1,), generator=self._drawn)
        x, logits = (each[chosen.to(each.device)] for each in (self._ground.probes, self._ground.logits))
        value, gradient = self._objective.gradient(x, logits)
        if self._count % CURVATURE_EVERY == 1:
            way.measure_curvature(gradient, x, logits)
        way.push(gradient, self._ground.rate * min(1.0, remaining(self._count, self.steps) + SLOWEST))
        return value
