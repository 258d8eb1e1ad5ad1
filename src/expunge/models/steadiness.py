"""Whether a classifier's answer depends on one image alone, and a copy's answer on the copy's own weights."""

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import ClassifierError
from expunge.compute.devices import generators_kept
from expunge.compute.exactness import exactly
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating

OF_CHANCE = 1e-3
"""Share of the largest logit by which two answers to the same batch may differ; on most devices they are equal."""
OF_BATCH = 1e-2
"""The same for two batches, which may be summed in another order; in bfloat16 that is some thousandths."""


def check_steadiness(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> None:
    """Ask for one image alone, in a batch, and in that batch again, in eval mode.

    What an edit reaches can't be promised where it holds in one batch, or once, and not in another.

    Args:
        classifier: any classifier.
        x: one image is enough; its companions are a dark and a bright one.

    Raises:
        ClassifierError: the answers differ.
    """
    x, bounds = x[:1].to(classifier.device), classifier.bounds
    batch = torch.cat([x, torch.full_like(x, bounds.lower), torch.full_like(x, bounds.upper)])
    with torch.no_grad(), generators_kept(x.device), exactly(), evaluating(classifier.module):
        alone, together, again = classifier(x), classifier(batch), classifier(batch)
    scale = float((together - together.mean(dim=1, keepdim=True)).abs().max())
    if float((together - again).abs().max()) > OF_CHANCE * scale:
        raise ClassifierError(
            "classifier",
            "the same answer to the same images each time",
            "answers that depend on chance in eval mode",
            "call dropout as a layer, or with training=self.training",
        )
    if float((alone - together[:1]).abs().max()) > OF_BATCH * scale:
        raise ClassifierError(
            "classifier",
            "an answer to an image that does not depend on the others in its batch",
            "one that does in eval mode",
            "give BatchNorm running statistics: track_running_stats=True in training",
        )


def check_copy(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> None:
    """Ask a copy for one image: an edit works on a copy, which must compute with weights of its own.

    Raises:
        ClassifierError: its answer has no gradients, as under `no_grad`; or it computes with the weights of the first,
            as a `forward` that was replaced by a function does.
    """
    twin = classifier.copy()
    weights = [weight for weight in twin.module.parameters() if weight.requires_grad]
    with torch.enable_grad(), generators_kept(classifier.device), evaluating(twin.module):
        total = twin(x[:1].to(twin.device)).sum()
    if not weights:
        return
    if not total.requires_grad:
        hint = "take @torch.no_grad(), inference_mode, .detach() or .numpy() out of forward"
        raise ClassifierError("model", "a network whose answers have gradients", "answers without any", hint)
    if all(gradient is None for gradient in torch.autograd.grad(total, weights, allow_unused=True)):
        raise ClassifierError(
            "model",
            "a network whose copy computes with the copy's weights",
            "one that goes on computing with its own",
            "define forward in the class, not by a function that holds the network",
        )
