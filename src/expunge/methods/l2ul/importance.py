"""Weight importance by MAS: how much each weight moves the output on the forget set.

Aljundi et al. 2018, arXiv 1711.09601, as used by Cha et al. 2024, arXiv 2301.11578, section 3.3.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.compute.context import Context
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating

Importance = dict[str, Tensor]
"""One tensor a weight, by the name of its parameter."""


def compute_importance(classifier: Classifier, x: Float[Tensor, "k c h w"], context: Context) -> Importance:
    """Return Omega_i = mean over rows of |d ||f(x)||_2 / d theta_i|, one tensor a parameter, in eval mode.

    Rows go through one by one, so the result does not depend on any batch size, and memory is one gradient.

    Args:
        classifier: parameters that don't require gradients get an importance of 0.
        x: the forget rows.
        context: counts gradient evaluations.

    Differs from the paper: Aljundi et al. use the squared norm; Cha et al. the norm, which is what is done here.
    """
    named = dict(classifier.module.named_parameters())
    trainable = [weight for weight in named.values() if weight.requires_grad]

    def add_up(part: slice) -> list[Tensor]:
        total = [torch.zeros_like(weight) for weight in trainable]
        for row in x[part].split(1):
            norm = classifier(row).norm(dim=1).sum()
            gradients = torch.autograd.grad(norm, trainable, allow_unused=True)
            for so_far, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    so_far.add_(gradient.abs())
            context.add_gradients(1)
            advance(1)
        return total

    with context.phase("importance", total=len(x)) as advance, evaluating(classifier.module):
        totals = iter(context.sharing.map_sum(len(x), add_up))
    return {
        name: next(totals) / len(x) if weight.requires_grad else torch.zeros_like(weight)
        for name, weight in named.items()
    }


def scale_to_unit(importance: Importance) -> Importance:
    """Return each tensor scaled to [0, 1] by its own minimum and maximum; a constant tensor becomes 0."""
    scaled = {}
    for name, tensor in importance.items():
        lowest, highest = tensor.min(), tensor.max()
        width = highest - lowest
        scaled[name] = (tensor - lowest) / width if width > 0 else torch.zeros_like(tensor)
    return scaled


def penalty(
    module: nn.Module, anchor: dict[str, Tensor], importance: Importance, weight: float = 1.0
) -> Float[Tensor, ""]:
    """Return L_IMP = weight/2 * sum (1 - Omega_i) (theta_i - theta0_i)^2 (Cha et al. 2024, section 3.3).

    Args:
        module: holds theta.
        anchor: theta0 by parameter name.
        importance: Omega by parameter name, scaled to [0, 1].
        weight: lambda.
    """
    terms = [
        ((1 - importance[name]) * (current - anchor[name]).square()).sum()
        for name, current in module.named_parameters()
        if current.requires_grad
    ]
    return weight / 2 * torch.stack(terms).sum()


def hold_weights(module: nn.Module, importance: Importance, weight: float) -> Callable[[], Tensor]:
    """Return a function that gives L_IMP whenever it is called: `penalty` with the weights of now as theta0."""
    anchor = {name: each.detach().clone() for name, each in module.named_parameters()}
    return lambda: penalty(module, anchor, importance, weight)
