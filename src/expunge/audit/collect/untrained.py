"""Answers of classifiers of the same architecture with random weights: the yardstick of zero retrain forgetting."""

import numpy as np

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.shadows import Stack
from expunge.base.errors import ClassifierError
from expunge.compute.devices import CPU
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.models.reinitialise import reinitialise
from expunge.task.evaluation import compute_logits

DRAWS = 5


def answer_untrained(classifier: Classifier, rows: ForgetSet, seed: int, runtime: Runtime) -> Stack:
    """Return the logits of `DRAWS` untrained classifiers on the rows, (draws, n, classes), in eval mode.

    Args:
        classifier: one of the architecture.
        rows: the forgotten ones.
        seed: of the weights.
        runtime: device and batches.

    Raises:
        NotDefinedError: the architecture can't be made anew, see `reinitialise`, or the answers are not finite.
    """
    found = []
    for number in range(DRAWS):
        untrained = classifier.frozen_copy().to(CPU)
        try:
            reinitialise(untrained, seeded_generator(seed, f"untrained {number}"))
        except ClassifierError as error:
            raise NotDefinedError(f"weights can't be drawn anew: {error}") from error
        logits = compute_logits(untrained.to(runtime.device), rows.x, runtime.sharing)
        found.append(logits.cpu().float().numpy())
    if not np.isfinite(found).all():
        raise NotDefinedError("with random weights the answers of this architecture are not finite")
    return np.stack(found)
