"""KLOM: do margins over several edited classifiers spread as they do over classifiers that never saw the rows?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.audit.metrics.estimate import Estimate, NotDefinedError

BINS = 10
PSEUDO_COUNT = 0.5
SHUFFLES = 100
DRAWS = 500

Margins = Float[np.ndarray, "s n"]
"""A margin for each classifier and row; NaN where a classifier doesn't count for a row."""


@dataclass(frozen=True, slots=True)
class Klom:
    """KLOM in nats, mean over rows; what it is by chance, if the same margins are dealt out at random, and its 95%."""

    estimate: Estimate
    chance: float
    chance_high: float


def klom(edited: Margins, retrained: Margins, rng: np.random.Generator) -> Klom:
    """Return KL(retrained || edited) between histograms of margins, mean over rows, with a bootstrap interval.

    All histograms share `BINS` equal bins from the smallest to the largest margin; half a count is added to each.
    With few classifiers it is well above 0 for equal distributions too, so the value by chance stands beside it.

    Source: Georgiev et al. 2024, arXiv 2410.23232, appendix E.1. Differs from the paper: pseudo-counts, and chance.

    Args:
        edited: margins of classifiers that unlearned the row.
        retrained: those of classifiers that were never trained on it.
        rng: draws shuffles and resamples.

    Raises:
        NotDefinedError: no row with two classifiers of each kind, or all margins are equal.
    """
    usable = ((~np.isnan(edited)).sum(axis=0) >= 2) & ((~np.isnan(retrained)).sum(axis=0) >= 2)
    if not usable.any():
        raise NotDefinedError("it takes at least two edited and two never-seen classifiers a row")
    margins = np.concatenate([edited[:, usable], retrained[:, usable]])
    counted = ~np.isnan(margins)
    low, high = np.nanmin(margins), np.nanmax(margins)
    if low == high:
        raise NotDefinedError("every margin is the same")
    bins = np.clip(((np.where(counted, margins, low) - low) / (high - low) * BINS).astype(int), 0, BINS - 1)
    is_edited = np.zeros(margins.shape, dtype=bool)
    is_edited[: len(edited)] = True
    by_row = _divergence(bins, counted, is_edited)
    shuffled = [_divergence(bins, counted, _shuffle(is_edited, counted, rng)).mean() for _ in range(SHUFFLES)]
    resampled = by_row[rng.integers(len(by_row), size=(DRAWS, len(by_row)))].mean(axis=1)
    ends = np.quantile(resampled, [0.025, 0.975])
    return Klom(
        Estimate(float(by_row.mean()), (float(ends[0]), float(ends[1]))),
        float(np.mean(shuffled)),
        float(np.quantile(shuffled, 0.95)),
    )


def _divergence(
    bins: Int[np.ndarray, "t n"], counted: Bool[np.ndarray, "t n"], is_edited: Bool[np.ndarray, "t n"]
) -> Float[np.ndarray, " n"]:
    of_edited, of_retrained = (
        np.stack([((bins == number) & chosen).sum(axis=0) for number in range(BINS)]) + PSEUDO_COUNT
        for chosen in (counted & is_edited, counted & ~is_edited)
    )
    p, q = of_retrained / of_retrained.sum(axis=0), of_edited / of_edited.sum(axis=0)
    return np.asarray((p * np.log(p / q)).sum(axis=0))


def _shuffle(is_edited: np.ndarray, counted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal out "edited" anew in each row among the classifiers that count, as often as before."""
    keys = np.where(counted, rng.random(counted.shape), np.inf)
    rank = keys.argsort(axis=0).argsort(axis=0)
    return np.asarray(rank < (is_edited & counted).sum(axis=0))
