"""Attacks that find edited rows among other images by the shape of their logits, without knowing any label.

An edit that carries every row over its boundary by one margin leaves all of them with one lead of the answer over the
next: whoever has the edited classifier finds them by it.
"""

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from expunge.audit.metrics.answers import log_probabilities
from expunge.audit.metrics.auc import FEWEST
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.predicted import Logits

FOLDS = 5
LARGEST_LOGITS = 5

Scores = Float[np.ndarray, " n"]


def leads(logits: Logits) -> Float[np.ndarray, " n"]:
    """Return by how much the largest logit of each row leads the next.

    >>> leads(np.array([[1.0, 4.0, 2.0], [3.0, 3.0, 0.0]])).tolist()
    [2.0, 0.0]
    """
    ordered = np.sort(logits, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def closeness_to_median_lead(rows: Logits, others: Logits) -> tuple[Scores, Scores]:
    """Return how close each image's lead is to the rows' median lead: the share of `others` that lie further from it.

    This attacker knows that median, but no row. A row is asked about the median of all other rows: its own lead would
    draw the median near to itself, and rows would be found whatever the edit did.

    Args:
        rows: logits of the rows, of the edited classifier.
        others: of images that are none of them.

    Raises:
        NotDefinedError: fewer than eight rows, which have no median to speak of.
    """
    _require_enough(rows)
    return closeness_of_leads(leads(rows), leads(others))


def closeness_of_leads(own: Float[np.ndarray, " k"], unknown: Float[np.ndarray, " n"]) -> tuple[Scores, Scores]:
    """Return the scores of `closeness_to_median_lead` from the leads of both groups."""
    medians = _medians_of_the_rest(own)
    found = np.empty(len(own))
    for median in np.unique(medians):
        chosen = medians == median
        found[chosen] = _share_further(own[chosen], median, unknown)
    return found, _share_further(unknown, np.median(own), unknown)


def _share_further(asked: Float[np.ndarray, " k"], median: float, others: Float[np.ndarray, " n"]) -> Scores:
    distances = np.sort(np.abs(others - median))
    return np.asarray(1 - np.searchsorted(distances, np.abs(asked - median), side="right") / len(others))


def _medians_of_the_rest(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return for each value the median of all others.

    >>> _medians_of_the_rest(np.array([5.0, 1.0, 2.0])).tolist()
    [1.5, 3.5, 3.0]
    """
    order = values.argsort()
    place = order.argsort()
    rest = len(values) - 1
    middle = (values[order[each + (place <= each)]] for each in ((rest - 1) // 2, rest // 2))
    return np.asarray(sum(middle) / 2)


def _require_enough(*groups: Logits) -> None:
    if min(map(len, groups)) < FEWEST:
        raise NotDefinedError(f"it takes at least {FEWEST} images of each kind")


def learned_scores(rows: Logits, others: Logits, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Return the scores of a classifier of logits; each image's is of a classifier that was not fitted on it.

    A logistic regression on the largest logits in order, lead and entropy, their squares and products. It stands for
    an attacker who has found four fifths of the rows and looks for the others.

    Args:
        rows: logits of the rows, of the edited classifier.
        others: of images that are none of them.
        rng: cuts both into five parts.

    Raises:
        NotDefinedError: fewer than eight images in a group.
    """
    _require_enough(rows, others)
    features = np.concatenate([describe(rows), describe(others)])
    flags = np.repeat([1, 0], [len(rows), len(others)])
    scores = np.empty(len(flags))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for fitted, asked in folds.split(features, flags):
        attacker = make_pipeline(
            StandardScaler(),
            PolynomialFeatures(2, include_bias=False),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", C=0.1, max_iter=500),
        )
        attacker.fit(features[fitted], flags[fitted])
        scores[asked] = attacker.decision_function(features[asked])
    return scores[: len(rows)], scores[len(rows) :]


def describe(logits: Logits) -> Float[np.ndarray, "n f"]:
    """Return what the learned attack sees of each image: no label, and not which class is the answer."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    largest = np.sort(centred, axis=1)[:, ::-1][:, :LARGEST_LOGITS]
    log_p, _ = log_probabilities(logits)
    entropy = -(np.exp(log_p) * log_p).sum(axis=1)
    return np.column_stack([largest, leads(logits), entropy])
