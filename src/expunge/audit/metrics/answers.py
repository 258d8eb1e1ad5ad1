"""Figures of answers alone: accuracy, by class too, churn, how many classes share the answers, margins and odds."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats

from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Labels, Logits
from expunge.task.goals import GOALS

CONFIDENCE = 0.95
Allowed = Float[np.ndarray, " n"] | None


def share(flags: Bool[np.ndarray, " n"], *, census: bool = False) -> Estimate:
    """Return the percentage of flags that are set, with Wilson's score interval.

    Args:
        flags: of a sample.
        census: they are of all rows that there are, so that nothing is estimated and there is no interval.

    Raises:
        NotDefinedError: there are no flags.
    """
    if len(flags) == 0:
        raise NotDefinedError("there are no rows")
    count = int(np.sum(flags))
    if census:
        return Estimate(100 * count / len(flags))
    interval = stats.binomtest(count, len(flags)).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(100 * count / len(flags), (100 * float(interval.low), 100 * float(interval.high)))


def accuracy(logits: Logits, labels: Labels, *, census: bool = False) -> Estimate:
    """Return the top-1 accuracy in percent."""
    return share(logits.argmax(axis=1) == labels, census=census)


def churn(before: Labels, after: Labels, *, census: bool = False) -> Estimate:
    """Return the percentage of answers that changed, right or wrong."""
    return share(before != after, census=census)


def largest_share(answers: Labels, *, census: bool = False) -> Estimate:
    """Return the percentage of answers that are the most frequent class."""
    return share(answers == np.bincount(answers).argmax(), census=census)


def margins(logits: Logits, labels: Labels, goal: str, allowed: Allowed = None) -> Float[np.ndarray, " n"]:
    """Return by how many logits the goal holds for each row; below 0 it fails.

    Args:
        logits: (n, classes).
        labels: the labels that the goal speaks of.
        goal: a name of `GOALS`.
        allowed: logits by which each row may fall short of its boundary; None: none may.
    """
    gaps = GOALS[goal].gap(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
    return np.asarray((0 if allowed is None else allowed) - gaps)


def goal_met(logits: Logits, labels: Labels, goal: str, allowed: Allowed = None) -> Bool[np.ndarray, " n"]:
    """Return for which rows the goal holds; the arguments are those of `margins`."""
    return np.asarray(margins(logits, labels, goal, allowed) > 0)


def confidence(logits: Logits) -> Float[np.ndarray, " n"]:
    """Return the softmax of each row's answer, 0..1."""
    return np.asarray(probabilities(logits).max(axis=1))


def probabilities(logits: Logits) -> Float[np.ndarray, "n classes"]:
    """Return the softmax of each row, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_odds(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """Return log(p_y / (1 - p_y)) of each row, which is near Gaussian over training runs (arXiv 2112.03570).

    It is the logit of the label less the log-sum-exp of the others, so no digit is lost where p_y is near 0 or 1.

    Args:
        logits: (..., n, classes).
        labels: (n,).
    """
    exact = logits.astype(np.float64)
    index = np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1))
    own = np.take_along_axis(exact, index, axis=-1)[..., 0]
    np.put_along_axis(exact, index, -np.inf, axis=-1)
    return np.asarray(own - np.logaddexp.reduce(exact, axis=-1))


def log_probabilities(logits: Logits) -> tuple[Float[np.ndarray, "n classes"], Float[np.ndarray, "n classes"]]:
    """Return log p_c and log(1 - p_c) of each row and class, exact to the last digits for certain answers, too.

    For the answer both come from its odds: 1 - p would lose every digit where p is near 1. All others have p <= 1/2.
    """
    answers = logits.argmax(axis=1)
    rows, odds = np.arange(len(logits)), log_odds(logits, answers)
    exact = logits.astype(np.float64)
    of_class = exact - np.logaddexp.reduce(exact, axis=1)[:, None]
    of_class[rows, answers] = -np.inf
    of_others = np.log1p(-np.exp(of_class))
    of_class[rows, answers], of_others[rows, answers] = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
    return of_class, of_others
