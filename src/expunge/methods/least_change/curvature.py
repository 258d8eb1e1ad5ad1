"""Kronecker-factored curvature: how much the logits change with the weights, layer by layer.

Martens and Grosse 2015 (arXiv 1503.05671) for linear layers, Grosse and Martens 2016 (arXiv 1602.01407) for
convolutions. The matrix is the Gauss-Newton matrix of the mean squared logit change (over the classes with their mean
taken out), so the length of a weight change in its metric is what the change does to the classifier's answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.compute.context import Context
from expunge.compute.devices import to_float64
from expunge.compute.processes import ALONE
from expunge.methods.layers import Flow, Layer, images_at_once, trace_rows
from expunge.models.classifier import Classifier

POSITIONS = 64
GROWTHS = 12


@dataclass(frozen=True, slots=True)
class Whitening:
    """Coordinates in which all directions cost the same: one pair of triangular factors a layer.

    A step z in these coordinates is the weight change left @ z @ right, and its length is what it does to the answers.

    Args:
        left: (g, o, o) for each layer, over outputs.
        right: (g, i, i) for each layer, over inputs.
    """

    left: tuple[Tensor, ...]
    right: tuple[Tensor, ...]

    def apply(self, layer: int, step: Float[Tensor, "*b g o i"]) -> Float[Tensor, "*b g o i"]:
        """Return the change of that layer's weights that `step` is."""
        return self.left[layer] @ step @ self.right[layer]

    def pull(self, layer: int, gradient: Float[Tensor, "*b g o i"]) -> Float[Tensor, "*b g o i"]:
        """Return the gradient in these coordinates of what has `gradient` by that layer's weights."""
        return self.left[layer].mT @ gradient @ self.right[layer].mT

    def pull_rows(self, layer: int, flow: Flow) -> Float[Tensor, "b g o i"]:
        """Return `pull` of each row's gradient; where a layer has few positions, by what flows through them."""
        _, outputs, inputs = flow.layer.shape
        if flow.positions * (outputs**2 + inputs**2) >= outputs * inputs * (outputs + inputs):
            return self.pull(layer, flow.row_gradients())
        left, right = self.left[layer].mT, self.right[layer]
        parts = [(left @ gradient) @ (right @ columns).mT for columns, gradient in flow.unrolled()]
        return torch.stack(parts).sum(dim=0)


def compute_whitening(
    classifier: Classifier,
    layers: Sequence[Layer],
    surrogates: Float[Tensor, "n c h w"],
    *,
    damping: float,
    generator: torch.Generator,
    context: Context,
) -> Whitening:
    """Return the whitening of the curvature on `surrogates`.

    The inputs' second moments are averaged over at most 64 random positions of a layer; the output gradients' are
    those of Gaussian combinations of the logits, which make the curvature in expectation.

    Args:
        classifier: holds `layers`.
        layers: what can be edited.
        surrogates: images on which the logits should stay.
        damping: added to each factor, as a share of its mean eigenvalue; what surrogates never excite may move by this.
        generator: on the CPU.
        context: counts gradient evaluations.
    """

    def add_up(part: slice) -> list[Tensor]:
        x = surrogates[part]
        inputs = [_zeros(layer, layer.shape[2]) for layer in layers]
        gradients = [_zeros(layer, layer.shape[1]) for layer in layers]
        _, flows = trace_rows(classifier, tuple(layers), x, lambda logits: draw_contrast(logits, generator))
        for number, flow in enumerate(flows):
            _add_moments(flow, inputs[number], gradients[number], generator)
        context.add_gradients(len(x))
        advance(len(x))
        return inputs + gradients

    with context.phase("curvature", total=len(surrogates)) as advance:
        totals = context.sharing.map_sum(len(surrogates), add_up, at_once=images_at_once(surrogates), among=ALONE)
    # what is drawn depends on the parts, and a process that has halved them must not have other coordinates
    totals = [context.sharing.processes.agree(total) for total in totals]
    factors = [_inverse_factor(total / len(surrogates), damping) for total in totals]
    return Whitening(tuple(each.mT.contiguous() for each in factors[len(layers) :]), tuple(factors[: len(layers)]))


def draw_contrast(logits: Float[Tensor, "b classes"], generator: torch.Generator) -> Float[Tensor, "b classes"]:
    """Return standard normal weights of the logits whose mean over the classes is 0, row by row."""
    drawn = torch.randn(logits.shape, generator=generator).to(logits)
    return drawn - drawn.mean(dim=1, keepdim=True)


def _zeros(layer: Layer, size: int) -> Tensor:
    weight = layer.module.weight
    return torch.zeros(layer.groups, size, size, device=weight.device, dtype=weight.dtype)


def _add_moments(flow: Flow, inputs: Tensor, gradients: Tensor, generator: torch.Generator) -> None:
    for columns, gradient in flow.unrolled():
        positions = columns.shape[-1]
        chosen = torch.randperm(positions, generator=generator)[:POSITIONS].to(columns.device)
        sampled = columns[..., chosen].transpose(0, 1).transpose(1, 2).flatten(2)
        inputs += sampled @ sampled.transpose(1, 2) / len(chosen)
        spread = gradient.transpose(0, 1).transpose(1, 2).flatten(2)
        gradients += spread @ spread.transpose(1, 2)


def _inverse_factor(moments: Float[Tensor, "g n n"], damping: float) -> Float[Tensor, "g n n"]:
    """Return the inverse of the lower Cholesky factor of the damped moments, 0 where nothing was ever seen.

    What rounding makes indefinite is damped more.
    """
    given, moments = moments, to_float64(moments)
    mean = moments.diagonal(dim1=1, dim2=2).mean(dim=1).view(-1, 1, 1)
    unseen = mean <= 0
    identity = torch.eye(moments.shape[1], dtype=moments.dtype, device=moments.device).expand_as(moments)
    for growth in range(GROWTHS):
        shift = torch.where(unseen, 1.0, damping * 10.0**growth * mean)
        factor, failed = torch.linalg.cholesky_ex(moments + shift * identity)
        if not bool(failed.any()):
            break
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return torch.where(unseen, 0.0, inverse).to(given)
