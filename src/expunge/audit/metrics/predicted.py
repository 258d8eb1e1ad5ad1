"""What metrics are computed from: answers of two classifiers to the same images, image by image."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.base.errors import DataError

Logits = Float[np.ndarray, "n classes"]
Labels = Int[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Part:
    """The logits of n images before and after an edit.

    Args:
        name: forget, retain or test.
        ids: one an image, each once.
        labels: the labels in the data, each a class.
        before: float32 logits of the classifier as it was.
        after: those of the edited one.

    Raises:
        DataError: no images, other lengths or class counts, an id that stands twice, a label that is no class, or
            logits that are not finite.
    """

    name: str
    ids: tuple[str, ...]
    labels: Labels
    before: Logits
    after: Logits

    def __post_init__(self) -> None:
        count = len(self.ids)
        if count == 0:
            raise DataError(self.name, "at least one image", "none")
        repeated = [name for name, times in Counter(self.ids).items() if times > 1]
        if repeated:
            raise DataError(f"ids of {self.name}", "each once", f"{', '.join(repeated[:5])} more than once")
        lengths = {"labels": len(self.labels), "before": len(self.before), "after": len(self.after)}
        for what, length in lengths.items():
            if length != count:
                raise DataError(f"{what} of {self.name}", f"{count}, one an id", str(length))
        if self.before.ndim != 2 or self.before.shape != self.after.shape:
            shapes = f"{self.before.shape} before, {self.after.shape} after"
            raise DataError(
                f"logits of {self.name}", "(n, classes), the same before and after", shapes, "same classes?"
            )
        for what, logits in (("before", self.before), ("after", self.after)):
            check_finite(logits, f"logits {what} of {self.name}")
        if self.labels.min() < 0 or self.labels.max() >= self.num_classes:
            found = f"{self.labels.min()}..{self.labels.max()}"
            raise DataError(f"labels of {self.name}", f"0..{self.num_classes - 1}", found, "check the class list")

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return int(self.before.shape[1])

    @property
    def predicted_before(self) -> Labels:
        """Return the answers before."""
        return np.asarray(self.before.argmax(axis=1))

    @property
    def predicted_after(self) -> Labels:
        """Return the answers after."""
        return np.asarray(self.after.argmax(axis=1))


def check_finite(values: np.ndarray, place: str) -> None:
    """Check that no value is NaN or infinite.

    Raises:
        DataError: one is; the first row is named.
    """
    wrong = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if wrong.any():
        raise DataError(place, "finite values", f"NaN or infinity in row {int(wrong.argmax())}")


def require_varied(scores: np.ndarray, what: str) -> None:
    """Check that scores are not all the same.

    Raises:
        NotDefinedError: they are: nothing can be told apart by them.
    """
    if len(np.unique(scores)) < 2:
        raise NotDefinedError(f"every {what} is the same")
