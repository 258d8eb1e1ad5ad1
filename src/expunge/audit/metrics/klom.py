"""KLOM: do margins over several edited classifiers spread as over classifiers that never saw the forget set?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import rel_entr

from expunge.audit.metrics.estimate import Estimate, NotDefinedError

BINS = 20
LARGEST = 100.0
SMALLEST_SHARE = 1e-5
SHUFFLES = 100
FEWEST = 4
"""Classifiers of a row on each side, below which KLOM tells nothing: so few lie in bins of their own by chance."""
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
    """Return KL(edited || retrained) between histograms of margins, mean over rows, with a bootstrap interval.

    Each row has `BINS` equal bins of its own, from its smallest to its largest margin of either side, margins clipped
    to +-`LARGEST`. Where no retrained margin falls in a bin, `SMALLEST_SHARE` stands for its share. The largest margin
    itself is in no bin, as in the authors' code. With few classifiers the value is far above 0 for equal distributions
    too, so the value by chance stands beside it.

    Source: Georgiev et al. 2024, arXiv 2410.23232, appendix E.1, as their benchmark (RoyRin/data-unlearning-bench) has
    it. Differs from that code: the largest margin counts in the last bin where a side would have none otherwise, which
    is no number there; the mean over rows is given, and chance.

    Args:
        edited: margins of classifiers that unlearned the row.
        retrained: those of classifiers that were never trained on it.
        rng: draws shuffles and resamples.

    Raises:
        NotDefinedError: no row with `FEWEST` classifiers of each kind, or all margins are equal.
    """
    usable = np.min([(~np.isnan(side)).sum(axis=0) for side in (edited, retrained)], axis=0) >= FEWEST
    if not usable.any():
        raise NotDefinedError(
            f"it takes at least {FEWEST} edited and {FEWEST} never-seen classifiers a row, so {2 * FEWEST} shadow "
            "classifiers in all; with fewer, any edit looks like chance"
        )
    margins = np.concatenate([edited[:, usable], retrained[:, usable]])
    counted = ~np.isnan(margins)
    bins = _to_bins(np.clip(margins, -LARGEST, LARGEST))
    if not bins[counted].any():
        raise NotDefinedError("every classifier has the same margins")
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


def _to_bins(margins: Margins) -> Int[np.ndarray, "s n"]:
    """Return the number of each margin's bin within its row; `BINS` is that of the largest alone."""
    low, high = np.nanmin(margins, axis=0), np.nanmax(margins, axis=0)
    edges = np.linspace(low, np.where(high > low, high, low + 1), BINS + 1)
    return np.asarray(np.sum([margins >= edge for edge in edges[1:]], axis=0))


def _divergence(
    bins: Int[np.ndarray, "t n"], counted: Bool[np.ndarray, "t n"], is_edited: Bool[np.ndarray, "t n"]
) -> Float[np.ndarray, " n"]:
    counts = np.stack(
        [
            np.stack([((bins == number) & chosen).sum(axis=0) for number in range(BINS + 1)])
            for chosen in (counted & is_edited, counted & ~is_edited)
        ]
    )
    largest, counts = counts[:, BINS], counts[:, :BINS]
    counts[:, -1] += np.where((counts.sum(axis=1) == 0).any(axis=0), largest, 0)
    p, q = counts / counts.sum(axis=1, keepdims=True)
    q = np.where(p > 0, np.maximum(q, SMALLEST_SHARE), q)
    return np.asarray(np.maximum(rel_entr(p, q / q.sum(axis=0)).sum(axis=0), 0.0))  # rounding may leave -1e-16


def _shuffle(is_edited: np.ndarray, counted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal out "edited" anew in each row among the classifiers that count, as often as before."""
    keys = np.where(counted, rng.random(counted.shape), np.inf)
    rank = keys.argsort(axis=0).argsort(axis=0)
    return np.asarray(rank < (is_edited & counted).sum(axis=0))
