"""Planes through decision boundaries: what is predicted around a forgotten image, before and after."""

import numpy as np
import torch
from torch import Tensor

from expunge.audit.record import Slice
from expunge.compute.sharing import Sharing
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits

GRID = 41
MARGIN = 0.3


def cut_slice(
    before: Classifier,
    after: Classifier,
    images: Tensor,
    *,
    names: tuple[str, str, str],
    row: int,
    at_once: Sharing,
) -> Slice | None:
    """Return the predicted classes on the plane through three images; None if they lie on one line.

    Pixels beyond the classifier's bounds are left as they are, since a clipped plane would be none.

    Args:
        before: the classifier as it was.
        after: the edited one.
        images: (3, c, h, w): the forgotten row and the two others.
        names: their ids.
        row: number of the forgotten row.
        at_once: images in one pass; see `compute_logits`.
    """
    origin, across = images[0], images[1] - images[0]
    length = across.norm()
    if length == 0:
        return None
    rest = images[2] - origin
    u = float((rest * across).sum() / length**2)
    upward = rest - u * across
    if upward.norm() <= 1e-6 * length:
        return None
    v = float(upward.norm() / length)
    upward = upward * (length / upward.norm())
    points = np.array([[0.0, 0.0], [1.0, 0.0], [u, v]])
    extent = _square_around(points)
    axis = torch.linspace(0, 1, GRID)
    left, right, bottom, top = extent
    us, vs = left + (right - left) * axis, bottom + (top - bottom) * axis
    grids = []
    for classifier in (before, after):
        rows = [
            compute_logits(classifier, _line(origin, across, upward, us, float(height)), at_once).argmax(dim=1)
            for height in vs
        ]
        grids.append(torch.stack(rows).cpu().numpy())
    return Slice(row, names, points, extent, grids[0], grids[1])


def _line(origin: Tensor, across: Tensor, upward: Tensor, us: Tensor, v: float) -> Tensor:
    return origin + us.view(-1, 1, 1, 1) * across + v * upward


def _square_around(points: np.ndarray) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    half = float((high - low).max()) * (0.5 + MARGIN)
    middle = (low + high) / 2
    return (
        float(middle[0]) - half,
        float(middle[0]) + half,
        float(middle[1]) - half,
        float(middle[1]) + half,
    )
