"""How far an edited classifier is from those that were trained without the forget set, and from untrained ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special, stats

from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Logits

Accuracies = Mapping[str, float]
"""Percent by part: forget, retain, test."""


def gap(edited: Accuracies, retrained: Sequence[Accuracies]) -> Estimate:
    """Return the mean absolute difference of accuracies, in points, averaged over the retrained classifiers.

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    return _mean([float(np.mean(np.abs(_differences(edited, one)))) for one in retrained], 100)


def tug_of_war(edited: Accuracies, retrained: Sequence[Accuracies]) -> Estimate:
    """Return the product over parts of 1 - |difference of accuracy|, 0..1, averaged over the retrained classifiers.

    Source: Zhao et al. 2024, arXiv 2406.01257.

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    return _mean([float(np.prod(1 - np.abs(_differences(edited, one)) / 100)) for one in retrained], 1)


def agreement(edited: Logits, retrained: Sequence[Logits]) -> Estimate:
    """Return the percent of images that both give the same answer, averaged over the retrained classifiers.

    Source: Cao and Yang 2015, "completeness".

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    return _mean([100 * float(np.mean(edited.argmax(axis=1) == one.argmax(axis=1))) for one in retrained], 100)


def distance(edited: Logits, retrained: Sequence[Logits]) -> Estimate:
    """Return the mean Euclidean distance of the probabilities of an image, 0..sqrt(2).

    Source: Chundawat et al. 2023, arXiv 2205.08096, "activation distance".

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    own = special.softmax(edited, axis=1)
    apart = (np.linalg.norm(own - special.softmax(one, axis=1), axis=1) for one in retrained)
    return _mean([float(np.mean(each)) for each in apart], float(np.sqrt(2)))


def divergence(edited: Logits, retrained: Sequence[Logits]) -> Estimate:
    """Return the mean Jensen-Shannon divergence of the probabilities of an image, 0..log 2 nats.

    Source: Chundawat et al. 2023, arXiv 2205.08096.

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    own = special.softmax(edited, axis=1)
    return _mean(
        [float(np.mean(_jensen_shannon(own, special.softmax(one, axis=1)))) for one in retrained], float(np.log(2))
    )


def zero_retrain_forgetting(logits: Logits, untrained: Sequence[Logits]) -> Estimate:
    """Return 1 - the mean Jensen-Shannon divergence, in bits, from the answers of untrained classifiers, 0..1.

    Source: Chundawat et al. 2023, arXiv 2205.08096, "ZRF"; here the mean over several untrained classifiers.

    Raises:
        NotDefinedError: there is no untrained classifier.
    """
    found = divergence(logits, untrained)
    low, high = found.interval or (found.value, found.value)
    interval = None if found.interval is None else (1 - high / np.log(2), 1 - low / np.log(2))
    return Estimate(float(1 - found.value / np.log(2)), interval)


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    middle = (p + q) / 2
    return np.asarray((special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=1) / 2)


def _differences(edited: Accuracies, retrained: Accuracies) -> np.ndarray:
    return np.array([edited[part] - retrained[part] for part in edited])


def _mean(values: Sequence[float], most: float) -> Estimate:
    """Return the mean with Student's t interval within 0..`most`; equal values don't tell how far others would lie."""
    if not values:
        raise NotDefinedError("there is no retrained classifier")
    mean = float(np.mean(values))
    if np.ptp(values) == 0:
        return Estimate(mean)
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return Estimate(mean, (max(mean - half, 0.0), min(mean + half, most)))
