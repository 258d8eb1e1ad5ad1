"""Which layers an edit may change: all of them, or the last ones, behind a cut before which nothing runs twice."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from expunge.methods.layers import Layer
from expunge.methods.tracing import find_layers
from expunge.models.classifier import Classifier
from expunge.models.tails import find_cut

FEW_ROWS = 32
"""Up to here an edit is small enough for the last third of the layers."""
LAST_THIRD = 0.35
LEAST_LAYERS = 6


@dataclass(frozen=True, slots=True)
class Scope:
    """Which layers an edit may change.

    Args:
        cut: the module after which they lie, so that what lies before need not run in each step, see
            `expunge.models.tails`; None where the whole classifier runs.
        depth: how many, the last ones; None for all after the cut.
    """

    cut: str | None = None
    depth: int | None = None

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Return those of the layers after the cut."""
        return layers if self.depth is None else layers[-self.depth :]


def find_scope(classifier: Classifier, x: Float[Tensor, "k c h w"], share: float) -> Scope:
    """Return the last layers, and where the classifier can be cut before them.

    Args:
        classifier: whose layers they are.
        x: one image or more, to try with.
        share: of the layers; six are taken at least. 1 for all, without a cut.

    Raises:
        ClassifierError: there is no layer that can be edited.
    """
    if share >= 1:
        return Scope()
    layers = find_layers(classifier, x)
    depth = min(len(layers), max(LEAST_LAYERS, math.ceil(share * len(layers))))
    return Scope(find_cut(classifier, layers[-depth].module, x[:2]), depth)
