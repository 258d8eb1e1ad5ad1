"""Inputs of the golden tests of measures: logits, margins and probabilities that are a hash of their position.

A golden file, `tests/golden/authors/NAME.json`, holds what the code of a measure's authors gave for them: numbers only.
"""

import numpy as np
from golden_net import spread

CLASSES = 4


def uniform(*shape: int, offset: int) -> np.ndarray:
    """Return numbers within 0..1."""
    return spread(int(np.prod(shape)), offset).numpy().reshape(shape)


def bell(*shape: int, offset: int) -> np.ndarray:
    """Return numbers that look normal, with mean 0 and deviation 1."""
    return 2 * sum(uniform(*shape, offset=offset + part) - 0.5 for part in range(3))


def draw_logits(*shape: int, offset: int) -> np.ndarray:
    """Return logits (*shape, classes) of deviation 1.5."""
    return 1.5 * bell(*shape, CLASSES, offset=offset)


def draw_labels(count: int) -> np.ndarray:
    """Return every class in turn."""
    return np.arange(count) % CLASSES


def confident_logits() -> tuple[np.ndarray, np.ndarray]:
    """Return logits (24, classes) and labels: gaps up to 60, right, wrong, and one class close behind."""
    labels = draw_labels(24)
    logits = draw_logits(24, offset=500)
    logits[np.arange(24), labels] += np.linspace(-30, 60, 24)
    logits[::3, 0] += 20
    return logits, labels


def klom_margins() -> tuple[np.ndarray, np.ndarray]:
    """Return margins (40, 6) of edited and of retrained classifiers.

    The rows: equally distributed, shifted by two deviations, beyond +-100, far larger than the others, the very same,
    all alike.
    """
    edited, retrained = bell(40, 6, offset=510), bell(40, 6, offset=520)
    edited[:, 1] += 2
    edited[:, 2], retrained[:, 2] = 90 * edited[:, 2], 90 * retrained[:, 2] + 20
    edited[:, 3], retrained[:, 3] = 30 + 5 * edited[:, 3], 30 + 8 * retrained[:, 3]
    edited[:, 4] = retrained[:, 4]
    edited[:, 5], retrained[:, 5] = 3.0, 3.0
    return edited, retrained


def shadow_logits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (34, 5, classes) of 17 pairs on 5 rows as trained, and unlearned; who saw what; and labels."""
    labels = draw_labels(5)
    halves = uniform(17, 5, offset=530) < 0.5
    seen = np.stack([halves, ~halves], axis=1).reshape(34, 5)
    trained, unlearned = draw_logits(34, 5, offset=540), draw_logits(34, 5, offset=550)
    rows = np.arange(5)
    trained[:, rows, labels] += np.where(seen, 6.0, 2.0) + rows
    unlearned[:, rows, labels] += np.where(seen, 1.0, 1.5) + rows
    return trained, unlearned, seen, labels


def rmia_logits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (10, 12, classes) and (10, 20, classes) of ten classifiers on rows and on others, and who saw what.

    The first classifier is the one that is asked; all come in pairs. All answer the first row and the first of the
    others alike.
    """
    halves = uniform(5, 12, offset=560) < 0.5
    seen = np.stack([halves, ~halves], axis=1).reshape(10, 12)
    rows, others = draw_logits(10, 12, offset=570), draw_logits(10, 20, offset=580)
    rows[:, np.arange(12), draw_labels(12)] += np.where(seen, 4.0, 1.0)
    rows[:, 0] = others[:, 0] = draw_logits(1, offset=590)
    return rows, others, seen


def svc_probabilities() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of the label: 60 members, 60 others, and 40 rows in question around the boundary."""
    members, others = 1 - 0.5 * uniform(60, offset=600) ** 3, 1 - 0.9 * uniform(60, offset=601)
    return members, others, 0.6026 + 0.004 * np.arange(40)
