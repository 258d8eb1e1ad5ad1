"""How well scores tell two groups apart: area under the curve, its interval, and the curve's points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats
from sklearn.metrics import roc_curve

from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import check_finite, require_varied

DRAWS = 500
FEWEST = 8
"""Images of each kind, below which an area has no interval and a fingerprint is not defined."""
LOW_FPR = 0.01
CHANCE = 0.5

Scores = Float[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of an ROC curve, from (0, 0) to (1, 1)."""

    fpr: Float[np.ndarray, " p"]
    tpr: Float[np.ndarray, " p"]


def area(positive: Scores, negative: Scores, rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """Return the AUC: the chance that a positive scores above a negative, ties counted half.

    The interval is a percentile bootstrap over the rows of both groups, each resampled on its own. With fewer than
    `FEWEST` rows in a group there is none: so few resamples differ too little from each other.

    Args:
        positive: scores of the group that should score higher.
        negative: scores of the other.
        rng: draws the resamples.
        draws: how many of them.

    Raises:
        NotDefinedError: a group is empty, or all scores are the same.
        DataError: a score is not finite.
    """
    _check(positive, negative)
    value = exact_area(positive, negative)
    if min(len(positive), len(negative)) < FEWEST:
        return Estimate(value)
    areas = _resample(positive, negative, rng, draws)
    low, high = np.quantile(areas, [0.025, 0.975])
    return Estimate(value, (float(low), float(high)))


def either_way(areas: Float[np.ndarray, " d"] | float) -> Float[np.ndarray, " d"]:
    """Return how well groups are told apart whichever scores higher, 0.5..1: max(AUC, 1 - AUC).

    >>> either_way(np.array([0.25, 0.75])).tolist()
    [0.75, 0.75]
    """
    return np.asarray(np.maximum(areas, 1 - np.asarray(areas)))


def exact_area(positive: Scores, negative: Scores) -> float:
    """Return the AUC from the ranks of the scores (Mann and Whitney 1947)."""
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    wins = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(wins / (len(positive) * len(negative)))


def curve(positive: Scores, negative: Scores) -> Curve:
    """Return the ROC curve, without points that lie on a straight line between others.

    Raises:
        NotDefinedError: a group is empty, or all scores are the same.
    """
    _check(positive, negative)
    fpr, tpr, _ = roc_curve(*_labelled(positive, negative))
    return Curve(fpr, tpr)


def tpr_at(positive: Scores, negative: Scores, fpr: float = LOW_FPR) -> float:
    """Return the percentage of positives above the lowest threshold that at most `fpr` (0..1) of the negatives pass.

    Raises:
        NotDefinedError: there are too few negatives to speak of such a share.
    """
    _check(positive, negative)
    if len(negative) * fpr < 1:
        raise NotDefinedError(
            f"a share of {100 * fpr:g}% takes at least {round(1 / fpr)} unseen rows, not {len(negative)}"
        )
    return share_found(positive, negative, fpr)


def share_found(positive: Scores, negative: Scores, fpr: float = LOW_FPR) -> float:
    """Return what `tpr_at` does, unchecked: the first negative that may not pass is the last to be beaten."""
    allowed = int(fpr * len(negative))
    return 100 * float((positive > np.sort(negative)[len(negative) - 1 - allowed]).mean())


def tpr_either_way(positive: Scores, negative: Scores) -> float:
    """Return the larger `tpr_at` of the two ways to read the scores: images may stand out by too low ones as well."""
    return max(tpr_at(positive, negative), tpr_at(-positive, -negative))


def best_accuracy(positive: Scores, negative: Scores) -> float:
    """Return the percentage told apart by the best single threshold, both groups weighted alike, whoever is above it.

    The threshold is chosen on these very scores, so chance gives more than 50: about 58 for 16 images.
    """
    _check(positive, negative)
    every = np.concatenate([positive, negative])
    below = (np.searchsorted(np.sort(each), every, side="right") / len(each) for each in (positive, negative))
    return 50 * (1 + float(np.abs(np.subtract(*below)).max()))


def _check(positive: Scores, negative: Scores) -> None:
    if len(positive) == 0 or len(negative) == 0:
        raise NotDefinedError("one of the two groups is empty")
    scores = np.concatenate([positive, negative])
    check_finite(scores, "scores")
    require_varied(scores, "score")


def _labelled(positive: Scores, negative: Scores) -> tuple[np.ndarray, np.ndarray]:
    truth = np.concatenate([np.ones(len(positive), dtype=int), np.zeros(len(negative), dtype=int)])
    return truth, np.concatenate([positive, negative])


def _resample(positive: Scores, negative: Scores, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Return the area of each resample of both groups.

    Only the order matters, so negatives are counted in bins: one for each distinct score of a positive, and one for
    each gap between two of them. Resampling rows is then one multinomial draw over the bins, whatever their number.
    """
    distinct, of_positive = np.unique(positive, return_inverse=True)
    bins = 2 * np.searchsorted(distinct, negative, side="left") + np.isin(negative, distinct)
    counts = np.bincount(of_positive), np.bincount(bins, minlength=2 * len(distinct) + 1)
    ours, others = (rng.multinomial(sum(each), each / sum(each), size=draws) for each in counts)
    below = np.cumsum(others, axis=1)[:, :-1:2]
    wins = (ours * (below + others[:, 1::2] / 2)).sum(axis=1)
    return np.asarray(wins / (len(positive) * len(negative)))
