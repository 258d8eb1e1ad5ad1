"""Where the forgotten images went: label against new answer, and what their second choices lead one to expect."""

import numpy as np
from jaxtyping import Int

from expunge.audit.metrics.answers import share
from expunge.audit.metrics.estimate import Estimate
from expunge.audit.metrics.predicted import Labels, Logits


def answer_matrix(labels: Labels, answers: Labels, num_classes: int) -> Int[np.ndarray, "classes classes"]:
    """Return how many rows of each label (first index) have each answer (second)."""
    matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(matrix, (labels, answers), 1)
    return matrix


def runner_up(logits: Logits, labels: Labels) -> Labels:
    """Return the class of the highest logit but the label's own: what a row turns into if it moves least."""
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(others.argmax(axis=1))


def runner_up_share(before: Logits, answers: Labels, labels: Labels) -> Estimate:
    """Return the percentage of rows whose new answer was the original classifier's second choice."""
    return share(runner_up(before, labels) == answers, census=True)


def pattern_distance(before: Logits, answers: Labels, labels: Labels) -> float:
    """Return the total variation, 0..1, between the new answers and the second choices, counted by label and answer.

    0: as many rows of each label go to each class as the runner-up classes predict.
    """
    classes = before.shape[1]
    found = answer_matrix(labels, answers, classes)
    expected = answer_matrix(labels, runner_up(before, labels), classes)
    return float(np.abs(found - expected).sum() / (2 * len(labels)))
