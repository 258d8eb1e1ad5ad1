"""What features tell: nearest rows, similarity of representations, a linear probe, an embedding in the plane."""

import warnings

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.predicted import Labels, check_finite

NEIGHBOURS = 10
PERPLEXITY = 30
PROBE_STEPS = 200
ROUNDING = 1e-6
FEWEST = 4
"""Rows that the unbiased estimate of CKA takes."""

Features = Float[np.ndarray, "n d"]


def nearest_rows(asked: Features, others: Features, count: int = NEIGHBOURS) -> Int[np.ndarray, "k count"]:
    """Return for each row of `asked` the `count` rows of `others` that are nearest to it, nearest first (Euclidean)."""
    check_finite(asked, "features")
    check_finite(others, "features")
    found = NearestNeighbors(n_neighbors=min(count, len(others))).fit(others)
    return np.asarray(found.kneighbors(asked, return_distance=False))


def linear_cka(one: Features, other: Features) -> float:
    """Return the linear centred kernel alignment of two representations of the same rows, at most 1.

    It is the ratio of unbiased estimates, so it is near 0 for unlike features whatever the number of rows, and may be
    somewhat below. It goes through the n x n Gram matrices, so that wide layers cost no more memory.

    Source: Kornblith, Norouzi, Lee, Hinton 2019, arXiv 1905.00414, with a linear kernel, and for the estimates Song,
    Smola, Gretton, Bedo, Borgwardt 2012, "Feature selection via dependence maximization", equation 5.

    Raises:
        NotDefinedError: fewer than four rows, or a representation that is the same for all rows.
        DataError: features that are not finite.
    """
    if len(one) < FEWEST:
        raise NotDefinedError(f"it takes at least {FEWEST} images")
    grams = []
    for features in (one, other):
        check_finite(features, "features")
        _require_spread(features)
        grams.append(_centre(features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)))
    return float((grams[0] * grams[1]).sum() / (np.linalg.norm(grams[0]) * np.linalg.norm(grams[1])))


def _centre(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Return the Gram matrix without its diagonal, centred so that products of two of them estimate without bias."""
    gram, n = features @ features.T, len(features)
    np.fill_diagonal(gram, 0)
    sums = gram.sum(axis=0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums) / (n - 2)
    np.fill_diagonal(gram, 0)
    return np.asarray(gram)


class Probe:
    """A linear classifier on features: does a layer still tell the classes of rows apart?

    Raises:
        NotDefinedError: the rows to fit on are of one class, or their features are all the same.
    """

    def __init__(self, features: Features, labels: Labels) -> None:
        check_finite(features, "features")
        if len(np.unique(labels)) < 2:
            raise NotDefinedError("the rows to fit on are of one class")
        _require_spread(features)
        self._pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_STEPS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a probe need not be the optimum
            self._pipeline.fit(features.astype(np.float64), labels)

    def predict(self, features: Features) -> Labels:
        """Return the classes that the probe reads from features."""
        return np.asarray(self._pipeline.predict(features.astype(np.float64)))


def embed(features: Features, seed: int) -> Float[np.ndarray, "n 2"]:
    """Return t-SNE's positions of rows in the plane (van der Maaten and Hinton 2008), for a picture only.

    Raises:
        NotDefinedError: fewer than five rows, or features that are the same for all.
    """
    if len(features) < 5:
        raise NotDefinedError("it takes at least five rows")
    _require_spread(features)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(features))


def _require_spread(features: Features) -> None:
    """Check that features differ by more than rounding."""
    if np.ptp(features, axis=0).max() <= ROUNDING * np.abs(features).max():
        raise NotDefinedError("the features are the same for all rows")
