"""Gradients of single images, one after the other, so that memory is one gradient."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.compute.context import CostMeter
from expunge.data.images import Images, Subset
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating


def iterate_gradients(classifier: Classifier, images: Images, meter: CostMeter) -> Iterator[list[Tensor]]:
    """Yield d CE(f(x), y) / d theta for each image in order, one tensor for each weight that requires gradients.

    In eval mode, so that no image sees another; the mode is set for each image and not between them.
    """
    weights = trainable(classifier)
    labels = images.labels
    for row in range(len(labels)):
        x = images.load([row]).to(classifier.device)
        with evaluating(classifier.module):
            loss = F.cross_entropy(classifier(x), labels[row : row + 1].to(x.device))
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        meter.add_gradients(1)
        yield [
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        ]


def trainable(classifier: Classifier) -> list[Tensor]:
    """Return the weights that require gradients."""
    return [weight for weight in classifier.module.parameters() if weight.requires_grad]


def draw_rows(images: Images, count: int, generator: torch.Generator) -> Images:
    """Return `count` images drawn at random without replacement, or all of them if there are no more."""
    order = torch.randperm(len(images.labels), generator=generator)[:count]
    return Subset(images, sorted(order.tolist()))
