"""A small network before a classifier's head, as StructGuard trains one; it can be left out again."""

import copy
from dataclasses import replace
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from expunge.methods.published.head import Head
from expunge.models.classifier import Classifier


class Projector(nn.Module):
    """Features -> features: linear, BatchNorm, ReLU, linear; the same at each position where features have positions.

    Args:
        width: number of features.
        hidden: number of inner ones.
        channels_first: whether features are (b, width, h, w), as before a convolution, and not (b, ..., width).
        generator: draws the first weights, uniform within 1 / sqrt(inputs) of 0, as torch does.
    """

    def __init__(self, width: int, hidden: int, *, channels_first: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.first, self.last = (skip_init(nn.Linear, *sizes) for sizes in ((width, hidden), (hidden, width)))
        self.norm = nn.BatchNorm1d(hidden)
        self.channels_first = channels_first
        for layer in (self.first, self.last):
            bound = 1 / sqrt(layer.in_features)
            for weight in (layer.weight, layer.bias):
                nn.init.uniform_(weight, -bound, bound, generator=generator)

    def embed(self, features: Tensor) -> Float[Tensor, "b *positions hidden"]:
        """Return the inner features."""
        given = self.order(features)
        inner = torch.relu(self.norm(self.first(given.flatten(0, -2))))
        return inner.view(*given.shape[:-1], -1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        projected: Tensor = self.last(self.embed(features))
        return projected.movedim(-1, 1) if self.channels_first else projected

    def order(self, features: Tensor) -> Float[Tensor, "b *positions width"]:
        """Return features with their positions in the middle."""
        return features.movedim(1, -1) if self.channels_first else features


class ProjectedHead(nn.Module):
    """A head with a projector before it."""

    def __init__(self, head: nn.Module, projector: Projector) -> None:
        super().__init__()
        self.head, self.projector = head, projector

    def forward(self, features: Tensor) -> Tensor:
        """Return what the head makes of the projected features."""
        output: Tensor = self.head(self.projector(features))
        return output


def add_projector(classifier: Classifier, head: Head, projector: Projector) -> Classifier:
    """Return a classifier with the projector before its head; it shares weights and buffers with both that are given.

    Args:
        classifier: stays as it is, but for what is written to the shared weights.
        head: of `classifier`.
        projector: fits the head's features.
    """
    tensors = (*classifier.module.parameters(), *classifier.module.buffers())
    twin = copy.deepcopy(classifier.module, {id(tensor): tensor for tensor in tensors})
    twin.set_submodule(head.name, ProjectedHead(twin.get_submodule(head.name), projector))
    return replace(classifier, module=twin)


def drop_projector(classifier: Classifier) -> Classifier:
    """Return a copy of a classifier without the projector before its head, if it has one.

    This is what the released StructGuard saves, and it loads into the architecture that the projector was added to.
    """
    twin = classifier.copy()
    for name, part in list(twin.module.named_modules()):
        if isinstance(part, ProjectedHead):
            twin.module.set_submodule(name, part.head)
    return twin
