"""Strong membership attacks, from classifiers of the same kind that are known to have seen an image or not."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from expunge.audit.metrics.answers import log_odds
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.membership import label_probability
from expunge.audit.metrics.predicted import Labels, Logits

OFFLINE_A = 0.33
"""RMIA's a for CIFAR-10: how far the unknown mean over classifiers that saw a row is taken to be from 1."""
GAMMA = 1.0
ENOUGH = 16
"""Classifiers that saw a row, and as many that did not, from which on the row has deviations of its own."""
SMALLEST_DEVIATION = 0.1
"""In logits; fewer spread than that only because there are few shadow classifiers."""

Stack = Float[np.ndarray, "s n classes"]


class Scores(NamedTuple):
    """Scores of rows that were forgotten and of rows, or classifiers, that never met."""

    positive: Float[np.ndarray, " p"]
    negative: Float[np.ndarray, " q"]


class Answered(NamedTuple):
    """Answers to some images.

    Args:
        asked: logits of the classifier in question.
        labels: of the images.
        shadows: logits of the shadow classifiers.
        unseen: which shadow classifier was not trained on which image.
    """

    asked: Logits
    labels: Labels
    shadows: Stack
    unseen: Bool[np.ndarray, "s n"]

    def images(self, numbers: Int[np.ndarray, " m"]) -> "Answered":
        """Return the answers to some of the images."""
        return Answered(self.asked[numbers], self.labels[numbers], self.shadows[:, numbers], self.unseen[:, numbers])


def unseen_as_rows(
    seen: Bool[np.ndarray, "s k"], count: int, rng: np.random.Generator
) -> Bool[np.ndarray, "s {count}"]:
    """Return with which shadow classifiers images are compared that none of them saw: those of a row drawn at random.

    The mean over all of them would scatter less than the mean over those that did not see a row. With few shadow
    classifiers, rows that were never seen would then score lower than other images that were never seen.

    Args:
        seen: which shadow classifier was trained on which row.
        count: of the images.
        rng: draws the rows.
    """
    return ~seen[:, rng.integers(seen.shape[1], size=count)]


def rmia_scores(rows: Answered, others: Answered, population: Answered) -> Scores:
    """Return RMIA's offline score of rows and of others: the share of the population that each dominates.

    Source: Zarifzadeh, Liu, Shokri, arXiv 2312.03262, in its offline form, gamma = 1; a tie is not won, as in the
    authors' code.

    p(z) of the population is made as p(x) is: from the mean over classifiers that did not see z, and a.

    Differs from the authors' code: that mean is over as many classifiers as did not see a row; theirs takes the larger
    half of all. p(z) moves scores, not their order, which the ratio of the rows alone gives.

    Args:
        rows: the forgotten rows.
        others: images that nobody was trained on.
        population: more of them.

    Raises:
        NotDefinedError: a row that every shadow classifier was trained on.
    """
    least = np.sort(likelihood_ratio(population))
    ratios = (likelihood_ratio(each) / GAMMA for each in (rows, others))
    return Scores(*(np.searchsorted(least, each, side="left") / len(least) for each in ratios))


def likelihood_ratio(images: Answered) -> Float[np.ndarray, " n"]:
    """Return p(x | classifier) / p(x) of each image, p(x) from classifiers that did not see it and RMIA's a."""
    if not bool(images.unseen.any(axis=0).all()):
        raise NotDefinedError("a row was in the training data of every shadow classifier")
    each = np.stack([label_probability(logits, images.labels) for logits in images.shadows])
    outside = (each * images.unseen).sum(axis=0) / images.unseen.sum(axis=0)
    usual = ((1 + OFFLINE_A) * outside + (1 - OFFLINE_A)) / 2
    return np.asarray(label_probability(images.asked, images.labels) / usual)


def ulira_scores(never: Stack, unlearned: Stack, seen: Bool[np.ndarray, "s k"], labels: Labels) -> Scores:
    """Return the ratios of `ulira_ratios`, those of classifiers that saw an image first."""
    return split(*ulira_ratios(never, unlearned, seen, labels))


def split(ratios: Float[np.ndarray, "s k"], seen: Bool[np.ndarray, "s k"]) -> Scores:
    """Return the scores where a classifier saw an image, and where it did not."""
    return Scores(ratios[seen], ratios[~seen])


def ulira_ratios(
    never: Stack, unlearned: Stack, seen: Bool[np.ndarray, "s k"], labels: Labels
) -> tuple[Float[np.ndarray, "s k"], Bool[np.ndarray, "s k"]]:
    """Return log-likelihood ratios of "trained on and unlearned" against "never seen", and which classifier saw what.

    Both are by shadow classifier and row, of the rows that at least two classifiers saw and two others did not. Each
    classifier is scored by Gaussians that were fitted to the others, less one of the other side, so that neither side
    is fitted to more. It judges the method on shadow classifiers, which were trained on half of the data, not the one
    edited classifier.

    Source: Hayes, Shumailov, Triantafillou, Khalifa, Papernot, arXiv 2403.01218; medians and deviations as in the code
    of LiRA, Carlini et al. 2022, arXiv 2112.03570. Differs from that code: deviations are at least
    `SMALLEST_DEVIATION`; those shared by all rows are taken around each row's own mean, for each side on its own.

    Args:
        never: logits on the rows of classifiers that stand for "never seen", where they did not see the row. As
            trained, any change that the method makes everywhere is found as well; edited on the other rows, only what
            is left of the row itself.
        unlearned: logits after each has unlearned the rows that it was trained on.
        seen: which classifier was trained on which row.
        labels: of the rows.

    Raises:
        NotDefinedError: no row that two classifiers saw and two others did not.
    """
    counts = np.stack([seen.sum(axis=0), (~seen).sum(axis=0)])
    usable = counts.min(axis=0) >= 2
    if not usable.any():
        raise NotDefinedError("no row was seen by at least two shadow classifiers and unseen by two others")
    seen, labels, counts = seen[:, usable], labels[usable], counts[:, usable]
    inside = np.where(seen, log_odds(unlearned[:, usable], labels), np.nan)
    outside = np.where(seen, np.nan, log_odds(never[:, usable], labels))
    place = np.where(seen, seen.cumsum(axis=0), (~seen).cumsum(axis=0)) - 1
    many = counts.min(axis=0) >= ENOUGH
    shared = _shared_deviation(inside), _shared_deviation(outside)
    ratios = np.empty(seen.shape)
    for number, sees in enumerate(seen):
        partner = place[number] % np.where(sees, counts[1], counts[0])
        left_out = place == np.where(seen == sees, place[number], partner)
        others = (np.where(left_out, np.nan, values) for values in (inside, outside))
        asked = np.where(sees, inside[number], outside[number])
        densities = [_log_density(asked, *each, many) for each in zip(others, shared, strict=True)]
        ratios[number] = densities[0] - densities[1]
    return ratios, seen


def balanced_accuracy(scores: Scores) -> float:
    """Return the percentage told apart by the sign of the score, both groups weighted alike; a tie counts half."""
    right = np.sign(scores.positive).mean() - np.sign(scores.negative).mean()
    return 50 * (1 + float(right) / 2)


def _shared_deviation(values: Float[np.ndarray, "s k"]) -> float:
    """Return the standard deviation around the rows' own means, NaN left out."""
    count = (~np.isnan(values)).sum(axis=0)
    squares = np.nansum((values - np.nanmean(values, axis=0)) ** 2)
    return float(np.sqrt(squares / (count - 1).sum()))


def _log_density(
    asked: Float[np.ndarray, " k"], fitted: Float[np.ndarray, "s k"], shared: float, many: Bool[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Return the logarithm of each row's normal density, up to a constant; a row with `many` has its own deviation."""
    deviation = np.maximum(np.where(many, np.nanstd(fitted, axis=0), shared), SMALLEST_DEVIATION)
    return np.asarray(-np.log(deviation) - ((asked - np.nanmedian(fitted, axis=0)) / deviation) ** 2 / 2)
