"""Simple membership attacks: can forgotten images be told from images that the classifier never saw?

They look at a population, not at a row, and are weak: that they find nothing shows little.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from sklearn.svm import SVC

from expunge.audit.metrics.answers import log_odds, log_probabilities, probabilities
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.predicted import Labels, Logits, require_varied

SVC_ROWS = 500

Score = Callable[[Logits, Labels], Float[np.ndarray, " n"]]
"""Higher for rows that look like training rows."""


def negative_loss(logits: Logits, labels: Labels) -> np.ndarray:
    """Return minus the cross-entropy of each row (Yeom et al. 2018, arXiv 1709.01604)."""
    return np.asarray(-np.logaddexp(0, -log_odds(logits, labels)))


def answer_confidence(logits: Logits, labels: Labels) -> np.ndarray:
    """Return the probability of each row's answer, whatever the label (Salem et al. 2019, arXiv 1806.01246)."""
    return np.asarray(probabilities(logits).max(axis=1))


def negative_entropy(logits: Logits, labels: Labels) -> np.ndarray:
    """Return minus the entropy of each row's probabilities."""
    log_p, _ = log_probabilities(logits)
    return np.asarray((np.exp(log_p) * log_p).sum(axis=1))


def negative_modified_entropy(logits: Logits, labels: Labels) -> np.ndarray:
    """Return minus the modified entropy (Song and Mittal 2021, arXiv 2003.10595).

    Mentr = -(1 - p_y) log p_y - sum over c != y of p_c log(1 - p_c): unlike the entropy, it is high for a row that is
    wrong with confidence.

    Differs from the authors' code: theirs takes 1 - p from rounded probabilities and no logarithm below 1e-30, so that
    rows of which a classifier is sure get the same score; here both come from the logits.
    """
    log_p, log_rest = log_probabilities(logits)
    index = labels[:, None]
    own_p, own_rest = (np.take_along_axis(each, index, axis=1)[:, 0] for each in (log_p, log_rest))
    terms = np.exp(log_p) * log_rest
    np.put_along_axis(terms, index, 0.0, axis=1)
    return np.asarray(np.exp(own_rest) * own_p + terms.sum(axis=1))


SCORES: dict[str, Score] = {
    "loss": negative_loss,
    "confidence": answer_confidence,
    "entropy": negative_entropy,
    "modified_entropy": negative_modified_entropy,
}


def svc_unseen(
    members: Float[np.ndarray, " m"],
    others: Float[np.ndarray, " n"],
    asked: Float[np.ndarray, " k"],
    rng: np.random.Generator,
) -> Bool[np.ndarray, " k"]:
    """Return which rows a support vector classifier takes for unseen.

    It is fitted on the probability of the label, as many members as others, at most 500 each.

    Source: Jia et al. 2023, arXiv 2304.04934 ("MIA-efficacy"); kernel and penalty as its authors have them.

    Differs from the authors' code: theirs is fitted on as many of the first retain rows as there are test rows.

    Args:
        members: probabilities of the label for rows that the classifier was trained on and still should know.
        others: the same for rows that it never saw.
        asked: the same for the rows in question.
        rng: draws which rows to fit on.

    Raises:
        NotDefinedError: fewer than two rows in a group, or all probabilities are the same.
    """
    count = min(len(members), len(others), SVC_ROWS)
    if count < 2:
        raise NotDefinedError("it takes at least two retain rows and two test rows")
    drawn = [rng.permutation(group)[:count] for group in (members, others)]
    features = np.concatenate(drawn)
    require_varied(features, "probability of the label")
    machine = SVC(C=3, kernel="rbf", gamma="auto")
    machine.fit(features[:, None], np.repeat([1, 0], count))
    return np.asarray(machine.predict(asked[:, None]) == 0)


def label_probability(logits: Logits, labels: Labels) -> Float[np.ndarray, " n"]:
    """Return the probability of each row's label."""
    return np.asarray(probabilities(logits)[np.arange(len(labels)), labels])
