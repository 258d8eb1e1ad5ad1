"""StructGuard's structure: fixed anchors, one a class, and where features lie among them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Structure:
    """Where features lie among the anchors.

    Args:
        anchors: of length 1.
        mix: a random projection of features from before the edit, where these are not as wide as anchors are long.
    """

    anchors: Float[Tensor, "classes m"]
    mix: Float[Tensor, "d m"] | None

    def place(self, features: Float[Tensor, "b *positions m"]) -> Float[Tensor, "b classes"]:
        """Return the cosines of features, averaged over their positions, with the anchors."""
        pooled = features.flatten(1, -2).mean(dim=1) if features.ndim > 2 else features
        return F.normalize(pooled, dim=1) @ self.anchors.T

    def place_original(self, features: Float[Tensor, "b *positions d"]) -> Float[Tensor, "b classes"]:
        """Return the same of features from before the edit."""
        return self.place(features if self.mix is None else features @ self.mix)


def misalign(before: Float[Tensor, "b classes"], now: Float[Tensor, "b classes"]) -> Float[Tensor, ""]:
    """Return L_align: 1 - the mean cosine of places before and now."""
    return 1 - F.cosine_similarity(before, now, dim=1).mean()


def draw_anchors(
    classes: int, width: int, cosine: float, generator: torch.Generator
) -> Float[Tensor, "classes {width}"]:
    """Return random unit vectors, any two of which have about the same cosine.

    Args:
        classes: how many.
        width: their length in numbers; the wider, the closer is the cosine to what is asked.
        cosine: of any two, 0..1.
        generator: on the CPU.
    """
    drawn = F.normalize(torch.randn(classes + 1, width, generator=generator), dim=1)
    return F.normalize(cosine**0.5 * drawn[:1] + (1 - cosine) ** 0.5 * drawn[1:], dim=1)


def draw_mix(width: int, length: int, generator: torch.Generator) -> Float[Tensor, "{width} {length}"]:
    """Return a random projection whose columns have length 1."""
    return F.normalize(torch.randn(width, length, generator=generator), dim=0)
