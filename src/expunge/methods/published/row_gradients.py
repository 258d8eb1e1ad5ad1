"""Gradients of images, one batch after the other, so that memory is one gradient."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.compute.context import Context
from expunge.compute.seeds import draw_numbers
from expunge.data.images import Images, Subset, batches
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.training.step import Pass, Terms, differentiate_pass


def iterate_gradients(
    classifier: Classifier,
    images: Images,
    context: Context,
    *,
    batch_size: int = 1,
    present: Callable[[Tensor], Tensor] = torch.Tensor.contiguous,
) -> Iterator[list[Tensor]]:
    """Yield for each batch in order the gradient of its mean CE, one tensor for each weight that requires gradients.

    In eval mode, so that no image sees another; the mode is set for each batch and not between them.

    Args:
        classifier: f.
        images: in batches of `batch_size`, the last one smaller; each goes through in parts if memory needs it.
        context: counts gradient evaluations.
        batch_size: images in a gradient.
        present: makes of pixels what the classifier is shown.
    """
    weights = trainable(classifier)
    for pixels, labels in batches(images, batch_size):
        x, y = present(pixels.to(classifier.device)), labels.to(classifier.device)
        one = Pass(len(x), _mean_loss(classifier, x, y, context))
        sharing = context.sharing
        _, gradients = differentiate_pass(one, weights, classifier.module, sharing, sharing.processes)
        yield [
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        ]


def _mean_loss(classifier: Classifier, x: Tensor, y: Tensor, context: Context) -> Callable[[slice], Terms]:
    def terms(part: slice) -> Terms:
        with evaluating(classifier.module):
            loss = F.cross_entropy(classifier(x[part]), y[part])
        context.add_gradients(len(x[part]))
        return {"loss": len(x[part]) / len(x) * loss}

    return terms


def trainable(classifier: Classifier) -> list[Tensor]:
    """Return the weights that require gradients."""
    return [weight for weight in classifier.module.parameters() if weight.requires_grad]


def draw_rows(images: Images, count: int, generator: torch.Generator) -> Images:
    """Return `count` images drawn at random without replacement, or all of them if there are no more."""
    return Subset(images, draw_numbers(count, len(images.labels), generator))
