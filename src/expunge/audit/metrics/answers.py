"""Figures of answers alone: accuracy, by class too, churn, how many classes share the answers, and margins."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats

from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Labels, Logits
from expunge.task.goals import GOALS, achieved

CONFIDENCE = 0.95


def share(flags: Bool[np.ndarray, " n"]) -> Estimate:
    """Return the percentage of flags that are set, with Wilson's score interval.

    Raises:
        NotDefinedError: there are no flags.
    """
    if len(flags) == 0:
        raise NotDefinedError("there are no rows")
    count = int(np.sum(flags))
    interval = stats.binomtest(count, len(flags)).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(100 * count / len(flags), (100 * float(interval.low), 100 * float(interval.high)))


def accuracy(logits: Logits, labels: Labels) -> Estimate:
    """Return the top-1 accuracy in percent."""
    return share(logits.argmax(axis=1) == labels)


def churn(before: Labels, after: Labels) -> Estimate:
    """Return the percentage of answers that changed, right or wrong."""
    return share(before != after)


def largest_share(answers: Labels) -> Estimate:
    """Return the percentage of answers that are the most frequent class."""
    return share(answers == np.bincount(answers).argmax())


def margins(logits: Logits, labels: Labels, goal: str) -> Float[np.ndarray, " n"]:
    """Return by how many logits the goal holds for each row; below 0 it fails.

    Args:
        logits: (n, classes).
        labels: the labels that the goal speaks of.
        goal: a name of `GOALS`.
    """
    return np.asarray(-GOALS[goal].gap(torch.from_numpy(logits), torch.from_numpy(labels)).numpy())


def goal_met(logits: Logits, labels: Labels, goal: str) -> Bool[np.ndarray, " n"]:
    """Return for which rows the goal holds."""
    return np.asarray(achieved(GOALS[goal], torch.from_numpy(logits), torch.from_numpy(labels)).numpy())


def confidence(logits: Logits) -> Float[np.ndarray, " n"]:
    """Return the softmax of each row's answer, 0..1."""
    return np.asarray(probabilities(logits).max(axis=1))


def probabilities(logits: Logits) -> Float[np.ndarray, "n classes"]:
    """Return the softmax of each row, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
