"""Strong membership attacks, from classifiers of the same kind that are known to have seen a row or not."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.membership import label_probability
from expunge.audit.metrics.predicted import Labels, Logits

OFFLINE_A = 0.33
"""RMIA's a for CIFAR-10: how far the unknown mean over classifiers that saw a row is taken to be from 1."""
GAMMA = 1.0
SMALLEST_DEVIATION = 0.1
"""In logits; fewer spread than that only because there are few shadow classifiers."""

Stack = Float[np.ndarray, "s n classes"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of rows that were forgotten and of rows, or classifiers, that never met."""

    positive: Float[np.ndarray, " p"]
    negative: Float[np.ndarray, " q"]


def log_odds(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """Return log(p_y / (1 - p_y)) of each row, which is near Gaussian over training runs (arXiv 2112.03570).

    Args:
        logits: (..., n, classes).
        labels: (n,).
    """
    exact = logits.astype(np.float64)
    index = np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1))
    own = np.take_along_axis(exact, index, axis=-1)[..., 0]
    np.put_along_axis(exact, index, -np.inf, axis=-1)
    return np.asarray(own - np.logaddexp.reduce(exact, axis=-1))


def rmia_scores(
    asked: Logits, labels: Labels, shadows: Stack, unseen: Bool[np.ndarray, "s n"], population: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    """Return RMIA's offline score of each row: the share of the population that it dominates.

    Source: Zarifzadeh, Liu, Shokri, arXiv 2312.03262, in its offline form, gamma = 1.

    Args:
        asked: logits of the classifier in question.
        labels: of the rows.
        shadows: logits of the shadow classifiers on the same rows.
        unseen: which shadow classifier was not trained on which row.
        population: `likelihood_ratio` of rows that nobody was trained on.

    Raises:
        NotDefinedError: a row that every shadow classifier was trained on.
    """
    ratio = likelihood_ratio(asked, labels, shadows, unseen)
    return np.searchsorted(np.sort(population), ratio / GAMMA, side="right") / len(population)


def likelihood_ratio(
    asked: Logits, labels: Labels, shadows: Stack, unseen: Bool[np.ndarray, "s n"]
) -> Float[np.ndarray, " n"]:
    """Return p(x | classifier) / p(x) of each row, p(x) from classifiers that did not see it and RMIA's a."""
    if not bool(unseen.any(axis=0).all()):
        raise NotDefinedError("a row was in the training data of every shadow classifier")
    each = np.stack([label_probability(logits, labels) for logits in shadows])
    outside = (each * unseen).sum(axis=0) / unseen.sum(axis=0)
    usual = ((1 + OFFLINE_A) * outside + (1 - OFFLINE_A)) / 2
    return np.asarray(label_probability(asked, labels) / usual)


def ulira_scores(trained: Stack, unlearned: Stack, seen: Bool[np.ndarray, "s k"], labels: Labels) -> Scores:
    """Return log-likelihood ratios of "trained on and unlearned" against "never seen", by row and shadow classifier.

    Each classifier is scored by Gaussians that were fitted to the others. It judges the method on shadow classifiers,
    which were trained on half of the data, not the one edited classifier.

    Source: Hayes, Shumailov, Triantafillou, Khalifa, Papernot, arXiv 2403.01218. Differs from the paper:
    with few shadow classifiers one standard deviation is shared by all rows, and floored.

    Args:
        trained: logits on the rows as trained.
        unlearned: logits after each has unlearned the rows that it was trained on.
        seen: which classifier was trained on which row.
        labels: of the rows.

    Raises:
        NotDefinedError: no row that two classifiers saw and two others did not.
    """
    inside = np.where(seen, log_odds(unlearned, labels), np.nan)
    outside = np.where(seen, np.nan, log_odds(trained, labels))
    usable = (seen.sum(axis=0) >= 2) & ((~seen).sum(axis=0) >= 2)
    if not usable.any():
        raise NotDefinedError("no row was seen by at least two shadow classifiers and unseen by two others")
    inside, outside = inside[:, usable], outside[:, usable]
    spread = _deviation(inside), _deviation(outside)
    positive = _log_density(inside, _mean_of_others(inside), spread[0]) - _log_density(
        inside, np.nanmean(outside, axis=0), spread[1]
    )
    negative = _log_density(outside, np.nanmean(inside, axis=0), spread[0]) - _log_density(
        outside, _mean_of_others(outside), spread[1]
    )
    return Scores(positive[~np.isnan(positive)], negative[~np.isnan(negative)])


def balanced_accuracy(scores: Scores) -> float:
    """Return the percentage told apart by the sign of the score, both groups weighted alike; a tie counts half."""
    right = np.sign(scores.positive).mean() - np.sign(scores.negative).mean()
    return 50 * (1 + float(right) / 2)


def _mean_of_others(values: np.ndarray) -> np.ndarray:
    count = (~np.isnan(values)).sum(axis=0)
    return np.asarray((np.nansum(values, axis=0) - values) / (count - 1))


def _deviation(values: np.ndarray) -> float:
    count = (~np.isnan(values)).sum(axis=0)
    squares = np.nansum((values - np.nanmean(values, axis=0)) ** 2)
    return max(float(np.sqrt(squares / (count - 1).sum())), SMALLEST_DEVIATION)


def _log_density(values: np.ndarray, mean: np.ndarray, deviation: float) -> np.ndarray:
    return np.asarray(-np.log(deviation) - ((values - mean) / deviation) ** 2 / 2)
