"""Residual knowledge: are noised copies of a forgotten image recognised more often than they should be?"""

import numpy as np
from jaxtyping import Float, Int

from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.metrics.predicted import Labels

DRAWS = 500
FEWEST_ROWS = 8
"""Of fewer, a bootstrap says nothing of how far the mean may be off."""

Answers = Int[np.ndarray, "c k"]
"""The answer to each of c copies of k rows."""


def recognised(answers: Answers, labels: Labels) -> Float[np.ndarray, " k"]:
    """Return the share of each row's copies that are answered with its label, 0..1."""
    return np.asarray((answers == labels).mean(axis=0))


def residual_knowledge(edited: Float[np.ndarray, " k"], reference: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return each row's residual knowledge: P(edited answers y) / P(retrained answers y) over copies of the row.

    Above 1 the edited classifier recognises more copies than one that never saw the row; below 1, fewer. It is NaN
    where the reference recognises none.

    Source: Hsu, Niroula, He, Brugere, Lecue, Chen 2025, arXiv 2601.22359, estimated from copies as they do.

    Args:
        edited: `recognised` of the edited classifier.
        reference: the same, mean over classifiers that never saw the rows.
    """
    return np.asarray(np.divide(edited, reference, out=np.full(len(edited), np.nan), where=reference > 0))


def mean_knowledge(knowledge: Float[np.ndarray, " k"], rng: np.random.Generator) -> Estimate:
    """Return the mean over the rows that have a value, with a percentile bootstrap over rows if there are enough.

    Raises:
        NotDefinedError: no row has one.
    """
    known = knowledge[~np.isnan(knowledge)]
    if len(known) == 0:
        raise NotDefinedError("no retrained classifier recognises a copy of any row")
    if len(known) < FEWEST_ROWS:
        return Estimate(float(known.mean()))
    means = known[rng.integers(len(known), size=(DRAWS, len(known)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(known.mean()), (float(low), float(high)))
