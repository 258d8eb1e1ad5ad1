"""The instances to forget."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from expunge.base.errors import ForgetSetError
from expunge.base.tensors import sha256_tensors
from expunge.data.labels import to_labels
from expunge.data.reading import AS_GIVEN


@dataclass(frozen=True, slots=True, repr=False)
class ForgetSet:
    """k instances: their ids, images, labels and, where a new answer is wanted, new labels.

    Args:
        ids: k names, each once; they stand in every table that speaks of the rows.
        x: (k, c, h, w) floating-point pixels, within the classifier's bounds.
        y: (k,) the label each row is to lose, in 0..classes-1.
        y_new: (k,) the label each row is to get, nowhere equal to `y`; None if it doesn't matter.

    Raises:
        ForgetSetError: any of these does not hold.

    >>> rows = ForgetSet(("a", "b"), torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
    >>> len(rows)
    2
    """

    ids: tuple[str, ...]
    x: Float[Tensor, "k c h w"]
    y: Int[Tensor, " k"]
    y_new: Int[Tensor, " k"] | None = None

    def __post_init__(self) -> None:
        if len(self.ids) == 0:
            raise ForgetSetError("forget set", "at least one instance", "none")
        repeated = [name for name, count in Counter(self.ids).items() if count > 1]
        if repeated:
            raise ForgetSetError("ids", "each id once", f"{', '.join(repeated[:5])} more than once")
        if self.x.ndim != 4 or not self.x.is_floating_point():
            raise ForgetSetError("x", "floating-point images (k, c, h, w)", f"{self.x.dtype} {tuple(self.x.shape)}")
        if not bool(torch.isfinite(self.x).all()):
            raise ForgetSetError("x", "finite pixels", "NaN or infinity")
        self._check_labels("y", self.y)
        if len(self.x) != len(self.ids):
            raise ForgetSetError("x", f"{len(self.ids)} images, one an id", str(len(self.x)))
        if self.y_new is not None:
            self._check_labels("y_new", self.y_new)
            same = (self.y_new == self.y).nonzero().flatten().tolist()
            if same:
                names = ", ".join(self.ids[row] for row in same[:5])
                raise ForgetSetError("y_new", "a new label other than the label", f"the same one for {names}")

    def _check_labels(self, name: str, labels: Tensor) -> None:
        if labels.dtype != torch.int64 or labels.shape != (len(self.ids),):
            raise ForgetSetError(
                name, f"int64 labels of shape ({len(self.ids)},)", f"{labels.dtype} {tuple(labels.shape)}"
            )
        if int(labels.min()) < 0:
            raise ForgetSetError(name, "labels of at least 0", str(int(labels.min())))

    @classmethod
    def numbered(
        cls,
        x: Tensor | NDArray[np.generic],
        y: Iterable[int],
        y_new: Iterable[int] | None = None,
    ) -> "ForgetSet":
        """Return a forget set whose ids are the row numbers "0", "1", ...

        Args:
            x: (k, c, h, w) tensors or arrays, floats or uint8, which is scaled to 0..1; arrays may be (k, h, w, c).
            y: k labels of any integer type.
            y_new: k new labels, or None.

        Raises:
            ForgetSetError, DataError: they are not so.
        """
        ids = tuple(str(row) for row in range(len(x)))
        pixels = x if isinstance(x, Tensor) and x.is_floating_point() else AS_GIVEN.to_pixels(x, "x")
        return cls(ids, pixels, to_labels(y), None if y_new is None else to_labels(y_new))

    @staticmethod
    def join(parts: "Sequence[ForgetSet]") -> "ForgetSet":
        """Return all rows of some forget sets as one, in order.

        Raises:
            ForgetSetError: there are none, an id is in several, or only some have new labels.
        """
        if not parts:
            raise ForgetSetError("forget set", "at least one instance", "none")
        new = [part.y_new for part in parts if part.y_new is not None]
        if len(new) not in (0, len(parts)):
            raise ForgetSetError(
                "y_new", "new labels of all rows, or of none", f"those of {len(new)} of {len(parts)} parts"
            )
        ids = tuple(name for part in parts for name in part.ids)
        x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
        return ForgetSet(ids, x, y, torch.cat(new) if new else None)

    def __repr__(self) -> str:
        """Return the size of the forget set in a line."""
        relabelled = "" if self.y_new is None else ", with new labels"
        return f"ForgetSet({len(self)} images of shape {tuple(self.x.shape[1:])}{relabelled})"

    def __len__(self) -> int:
        """Return k."""
        return len(self.ids)

    def rows(self, numbers: Sequence[int]) -> "ForgetSet":
        """Return the forget set of these rows, in this order."""
        index = torch.as_tensor(list(numbers), dtype=torch.int64, device=self.x.device)
        y_new = None if self.y_new is None else self.y_new[index]
        return ForgetSet(tuple(self.ids[number] for number in numbers), self.x[index], self.y[index], y_new)

    def to(self, device: torch.device) -> "ForgetSet":
        """Return the same rows on `device`."""
        y_new = None if self.y_new is None else self.y_new.to(device)
        return ForgetSet(self.ids, self.x.to(device), self.y.to(device), y_new)

    def sha256(self) -> str:
        """Return one hash over images, labels and new labels; ids do not count."""
        tensors = {"x": self.x, "y": self.y}
        return sha256_tensors(tensors if self.y_new is None else {**tensors, "y_new": self.y_new})
