"""What an attack reaches by chance: images drawn at random from both groups take the place of the forgotten ones.

If forgotten and unseen images are alike, every choice of as many of them is as likely as the one that was made. So the
scores stay, and only who counts as forgotten is drawn anew (a permutation test).
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

DRAWS = 300
USUAL = 0.95
"""Share of random draws that a figure must exceed to be flagged."""

Scores = Float[np.ndarray, " n"]


def areas(positive: Scores, negative: Scores, rng: np.random.Generator, draws: int = DRAWS) -> Float[np.ndarray, " d"]:
    """Return the AUC, 0..1, of each draw; generators of one seed draw alike where groups are of one size.

    Args:
        positive: scores of the forgotten images, at least one.
        negative: of images that were never seen, at least one.
        rng: draws who counts as forgotten.
        draws: how many times.
    """
    k, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    sums = np.array([ranks[chosen].sum() for chosen in _draw(k, n, rng, draws)])
    return np.asarray((sums - k * (k + 1) / 2) / (k * n))


def values(
    statistic: Callable[[Scores, Scores], float],
    positive: Scores,
    negative: Scores,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Float[np.ndarray, " d"]:
    """Return any statistic of two groups for each draw; the other arguments are those of `areas`."""
    scores = np.concatenate([positive, negative])
    drawn = (_mask(chosen, len(scores)) for chosen in _draw(len(positive), len(negative), rng, draws))
    return np.array([statistic(scores[mask], scores[~mask]) for mask in drawn])


def _draw(k: int, n: int, rng: np.random.Generator, draws: int) -> Iterator[np.ndarray]:
    return (rng.choice(k + n, k, replace=False, shuffle=False) for _ in range(draws))


def _mask(chosen: np.ndarray, count: int) -> Bool[np.ndarray, " n"]:
    mask = np.zeros(count, dtype=bool)
    mask[chosen] = True
    return mask
