"""An attack as the figures see it: its scores, the area under its curve, and what areas chance gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.definition import Judged, generator
from expunge.audit.metrics import auc, chance
from expunge.audit.metrics.estimate import Estimate

Scored = tuple[np.ndarray, np.ndarray]
"""Scores of the forgotten images and of images that were never seen."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack on the classifier before or after the edit.

    Args:
        name: what it looks for, in a few words.
        scores: from what was gathered and "before" or "after"; raises NotDefinedError where there are none.
        areas: the AUCs by chance of an attack whose scores depend on who counts as forgotten.
        stretch: how much wider than those of independent scores its interval and its areas by chance are.
    """

    name: str
    scores: Callable[[Gathered, str], Scored]
    areas: Callable[[Gathered, str, np.random.Generator], Float[np.ndarray, " d"]] | None = None
    stretch: float = 1.0

    def measure(self, data: Gathered, when: str) -> tuple[Estimate, Float[np.ndarray, " d"]]:
        """Return the AUC with its interval, and the AUCs of images drawn at random.

        Attacks on as many images are given the same draws, so that the best of several can be compared with the best
        of each draw. Those on fewer (RMIA, and the fingerprint among very many images) have draws of their own, which
        makes the best by chance somewhat larger.

        Raises:
            NotDefinedError: there are no scores, or they are all the same.
        """
        scores = self.scores(data, when)
        found = auc.area(*scores, generator(data, f"{self.name} {when}"))
        rng = generator(data, "drawn at random")
        drawn = chance.areas(*scores, rng) if self.areas is None else self.areas(data, when, rng)
        return self._widen(found), np.clip(auc.CHANCE + self.stretch * (drawn - auc.CHANCE), 0, 1)

    def judge(self, when: str, tolerance: float) -> Callable[[Gathered], Judged]:
        """Return the AUC as a figure, flagged if it is further from 0.5 than 95% of draws and the tolerance."""

        def compute(data: Gathered) -> Judged:
            found, drawn = self.measure(data, when)
            usual = float(np.quantile(np.abs(drawn - auc.CHANCE), chance.USUAL))
            return Judged(found, auc.CHANCE, max(tolerance, usual))

        return compute

    def _widen(self, found: Estimate) -> Estimate:
        if found.interval is None:
            return found
        low, high = (found.value + self.stretch * (end - found.value) for end in found.interval)
        return Estimate(found.value, (max(low, 0.0), min(high, 1.0)))
