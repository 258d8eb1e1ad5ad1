"""Intervals of figures over pairs of a classifier and an image, which are not independent.

All pairs of one classifier share what is particular to it, and all pairs of one image share that image. So both are
drawn anew, with replacement, each on its own (Owen 2007, "The pigeonhole bootstrap", arXiv 0712.1111).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from expunge.audit.metrics.estimate import Estimate
from expunge.audit.metrics.shadows import Scores, split

DRAWS = 100


def estimate(
    statistic: Callable[[Scores], float],
    ratios: Float[np.ndarray, "s k"],
    seen: Bool[np.ndarray, "s k"],
    most: float,
    rng: np.random.Generator,
) -> Estimate:
    """Return a statistic of all pairs, with an interval by the deviation over resamples and Student's t.

    Few classifiers scatter more than their resamples show, hence t, with one degree of freedom less than classifiers.

    Args:
        statistic: of the scores of pairs that met and of pairs that did not, from 0 to `most`.
        ratios: a score for each classifier and image.
        seen: which classifier was trained on which image.
        most: the largest value of the statistic.
        rng: draws classifiers and images.
    """
    classifiers, images = seen.shape
    found = []
    for _ in range(DRAWS):
        chosen = np.ix_(rng.integers(classifiers, size=classifiers), rng.integers(images, size=images))
        scores = split(ratios[chosen], seen[chosen])
        if len(scores.positive) and len(scores.negative):
            found.append(statistic(scores))
    value = statistic(split(ratios, seen))
    half = float(np.std(found, ddof=1) * stats.t.ppf(0.975, classifiers - 1))
    return Estimate(value, (max(value - half, 0.0), min(value + half, most)))
