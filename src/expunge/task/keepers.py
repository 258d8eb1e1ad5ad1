"""Keepers: what stays of forgotten images so that they can be held and checked without the images.

A keeper is what goes through a cut of the classifier (`expunge.models.tails`) for the image and for transformed copies
of it, in 256 levels. It serves as long as no weight before the cut changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.models.tails import enter
from expunge.task.transforms import TRANSFORMS, Transform, random_copies

COPIES = 16
LEVELS = 255


@dataclass(frozen=True, slots=True)
class Keeper:
    """What is kept of some rows.

    Args:
        rows: ids and labels; `x` is what goes through the cut.
        cut: name of the module.
        copies: (k, n, ...) the same for n copies of each row.
    """

    rows: ForgetSet
    cut: str
    copies: Float[Tensor, "k n d e f"]


def make_keeper(  # noqa: PLR0913 - of what, and how its copies are made
    classifier: Classifier,
    cut: str,
    rows: ForgetSet,
    generator: torch.Generator,
    *,
    copies: int = COPIES,
    at_once: Sharing | int = 256,
    transforms: Mapping[str, Transform] = TRANSFORMS,
) -> Keeper:
    """Return the keeper of some images.

    Args:
        classifier: any version whose weights before the cut are those that stay.
        cut: see `find_cut`.
        rows: with their images.
        generator: on the CPU; draws the copies.
        copies: of each row.
        at_once: images in one pass.
        transforms: what makes a copy, by name.
    """
    drawn = [copy for _, copy in random_copies(rows.x, copies, classifier.bounds, generator, transforms)]
    entered = [enter(classifier, cut, each, at_once).cpu() for each in (rows.x, *drawn)]
    x, *rest = (from_levels(*to_levels(each)) for each in entered)
    kept = torch.stack(rest, dim=1) if rest else x[:, None][:, :0]
    return Keeper(ForgetSet(rows.ids, x, rows.y, rows.y_new), cut, kept)


def to_levels(x: Float[Tensor, "n *d"]) -> tuple[UInt8[Tensor, "n *d"], Float[Tensor, "n 2"]]:
    """Return each row in 256 levels, with its least value and the width of a level."""
    flat = x.flatten(1)
    least = flat.amin(dim=1)
    width = ((flat.amax(dim=1) - least) / LEVELS).clamp_min(torch.finfo(x.dtype).tiny)
    levels = ((flat - least[:, None]) / width[:, None]).round().clamp(0, LEVELS).to(torch.uint8)
    return levels.view(x.shape), torch.stack([least, width], dim=1)


def from_levels(levels: UInt8[Tensor, "n *d"], scale: Float[Tensor, "n 2"]) -> Float[Tensor, "n *d"]:
    """Return the values that levels stand for."""
    least, width = (each.view(-1, *[1] * (levels.ndim - 1)) for each in scale.unbind(dim=1))
    return least + width * levels
