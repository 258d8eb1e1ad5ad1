"""How far the newest classifier has drifted from the first, and whether it is time to retrain."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data import load_data
from expunge.data.images import Images, TensorImages
from expunge.models.classifier import Classifier
from expunge.models.sources import LoadedClassifier
from expunge.requests.project import Ledger
from expunge.requests.telling import SURROGATES, TEST_DATA
from expunge.surrogates.procedural import draw_leaves
from expunge.task.evaluation import Predictions, churn, predict

LEAVES = 512
PROGRESS_NAME = "drift"


@dataclass(frozen=True, slots=True)
class Drift:
    """What became of the first classifier.

    Args:
        measured_on: "test data", or "surrogates" (dead leaves) where there is none.
        images: how many.
        accuracy_first: of the first classifier, in percent; None on surrogates.
        accuracy: of this one.
        churn: percent of images that are answered otherwise than by the first.
        spent: points of accuracy lost, which count against the budget, or on surrogates the churn, which does not; and
            what had been spent before older versions were purged.
        budget: points from which on the tool says that it is time to retrain.
    """

    measured_on: str
    images: int
    accuracy_first: float | None
    accuracy: float | None
    churn: float
    spent: float
    budget: float

    @property
    def over_budget(self) -> bool | None:
        """Return whether it is time to retrain; None on surrogates, which can't tell."""
        return None if self.measured_on == SURROGATES else self.spent > self.budget

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values for the ledger."""
        return {**asdict(self), "over_budget": self.over_budget}


@dataclass(frozen=True, slots=True)
class Compared:
    """What the first classifier and an edited one answer to the same images.

    Args:
        on_test: whether these are the project's test images; otherwise dead leaves, whose labels mean nothing.
        before: answers of the first classifier.
        after: answers of the edited one.
    """

    on_test: bool
    before: Predictions
    after: Predictions


def compare_with_first(ledger: Ledger, first: LoadedClassifier, edited: Classifier, runtime: Runtime) -> Compared:
    """Return what both answer on the project's test data or, without any, on dead leaves."""
    test = _load_test(ledger, first)
    images = test or _draw_surrogates(ledger, first.classifier)
    before, after = (
        predict(classifier.to(runtime.device), images, runtime, name=PROGRESS_NAME)
        for classifier in (first.classifier, edited)
    )
    return Compared(test is not None, before, after)


def measure_drift(ledger: Ledger, compared: Compared) -> Drift:
    """Return the drift of the edited classifier."""
    before, after, carried = compared.before, compared.after, ledger.state.carried
    moved, budget, count = churn(before, after), float(ledger.state.created["budget"]), len(before.labels)
    if not compared.on_test:
        return Drift(SURROGATES, count, None, None, moved, carried + moved, budget)
    lost = before.accuracy - after.accuracy
    return Drift(TEST_DATA, count, before.accuracy, after.accuracy, moved, carried + lost, budget)


def _load_test(ledger: Ledger, first: LoadedClassifier) -> Images | None:
    source = ledger.state.created["data"]
    if source is None:
        return None
    kind, _, place = source.partition(":")
    return load_data(f"{kind}:{Path(place).expanduser()}", first.request()).test


def _draw_surrogates(ledger: Ledger, classifier: Classifier) -> TensorImages:
    """Return dead leaves, the same each time; their labels mean nothing."""
    shape = ledger.state.shape
    assert shape is not None  # noqa: S101 - there is a request whenever there is an edit
    leaves = draw_leaves(LEAVES, shape, classifier.bounds, seeded_generator(0, "drift"))
    return TensorImages([str(row) for row in range(LEAVES)], torch.zeros(LEAVES, dtype=torch.int64), leaves)
