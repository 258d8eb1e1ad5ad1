"""How far an edited classifier is from those that were trained without the forget set."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from expunge.audit.metrics.estimate import Estimate, NotDefinedError

Accuracies = Mapping[str, float]
"""Percent by part: forget, retain, test."""


def gap(edited: Accuracies, retrained: Sequence[Accuracies]) -> Estimate:
    """Return the mean absolute difference of accuracies, in points, averaged over the retrained classifiers.

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    return _mean([float(np.mean(np.abs(_differences(edited, one)))) for one in retrained])


def tug_of_war(edited: Accuracies, retrained: Sequence[Accuracies]) -> Estimate:
    """Return the product over parts of 1 - |difference of accuracy|, 0..1, averaged over the retrained classifiers.

    Source: Zhao et al. 2024, arXiv 2406.01257.

    Raises:
        NotDefinedError: there is no retrained classifier.
    """
    return _mean([float(np.prod(1 - np.abs(_differences(edited, one)) / 100)) for one in retrained])


def _differences(edited: Accuracies, retrained: Accuracies) -> np.ndarray:
    return np.array([edited[part] - retrained[part] for part in edited])


def _mean(values: Sequence[float]) -> Estimate:
    if not values:
        raise NotDefinedError("there is no retrained classifier")
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean)
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return Estimate(mean, (mean - half, mean + half))
