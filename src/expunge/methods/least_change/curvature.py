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
from expunge.compute.processes import ALONE
from expunge.methods.layers import Layer
from expunge.methods.least_change.factors import Factor, choose_thin, make_factor
from expunge.methods.least_change.moments import Side, add_moments, draw_vectors, share_of_outputs, trace
from expunge.methods.single_rows import RowGradients
from expunge.methods.tracing import Traced, images_at_once, trace_rows
from expunge.models.classifier import Classifier

MEMORY_GIGABYTES = 4.0
NEGLIGIBLE = 1e-9
"""Share of the largest layer's curvature below which a step that looks free is not: where a head is nearly 0."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """Coordinates in which all directions cost the same: one pair of factors a layer.

    A step z in these coordinates is the weight change outputs' z inputs, and its length is what it does to the answers.

    Args:
        outputs: for each layer, the factor (g, o, o) over its outputs.
        inputs: the factor (g, i, i) over its inputs.
    """

    outputs: tuple[Factor, ...]
    inputs: tuple[Factor, ...]

    def apply(self, layer: int, step: Float[Tensor, "*b g o i"]) -> Float[Tensor, "*b g o i"]:
        """Return the change of that layer's weights that `step` is."""
        return self.inputs[layer].after(self.outputs[layer].before(step, transposed=True))

    def pull(self, layer: int, gradient: Float[Tensor, "*b g o i"]) -> Float[Tensor, "*b g o i"]:
        """Return the gradient in these coordinates of what has `gradient` by that layer's weights."""
        return self.inputs[layer].after(self.outputs[layer].before(gradient), transposed=True)

    def pull_rows(self, layer: int, traced: Traced) -> Float[Tensor, "b g o i"]:
        """Return `pull` of each row's gradient; where a layer has few positions, by what flows through them."""
        outputs, inputs = self.outputs[layer], self.inputs[layer]
        _, height, width = traced.layer.shape
        by_matrices = width * outputs.effort + height * inputs.effort
        if isinstance(traced, RowGradients) or traced.positions * (outputs.effort + inputs.effort) >= by_matrices:
            return self.pull(layer, traced.row_gradients())
        parts = [outputs.before(gradient) @ inputs.before(columns).mT for columns, gradient in traced.unrolled()]
        return torch.stack(parts).sum(dim=0)


def compute_whitening(  # noqa: PLR0913 - what is measured, on what, and with what
    classifier: Classifier,
    layers: Sequence[Layer],
    surrogates: Float[Tensor, "n c h w"],
    *,
    damping: float,
    generator: torch.Generator,
    context: Context,
    memory_gigabytes: float = MEMORY_GIGABYTES,
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
        memory_gigabytes: for factors; the widest are thin where not all would fit.

    Raises:
        SettingsError: they don't fit at all.
    """
    thin = choose_thin(layers, len(surrogates), memory_gigabytes)
    contrasts = draw_contrasts(len(surrogates), classifier.num_classes, generator)
    seeds = torch.randint(2**62, (len(layers),), generator=generator).tolist()
    keys = [(number, side) for side in (Side.INPUTS, Side.OUTPUTS) for number in range(len(layers))]

    def add_up(part: slice) -> list[Tensor]:
        x = surrogates[part]
        totals = {key: _zeros(layers[key[0]], key[1], len(surrogates) if key in thin else None) for key in keys}
        _, traced = trace_rows(classifier, tuple(layers), x, contrasts[part].to)
        for number, each in enumerate(traced):
            whole = {side: totals[number, side] for side in Side if (number, side) not in thin}
            add_moments(each, whole.get(Side.INPUTS), whole.get(Side.OUTPUTS), seeds[number])
            for side in set(Side) - set(whole):
                totals[number, side][:, part] = draw_vectors(each, side, seeds[number], part)
        context.add_gradients(len(x))
        advance(len(x))
        return list(totals.values())

    with context.phase("curvature", total=len(surrogates)) as advance:
        at_once = images_at_once(surrogates, layers)
        summed = context.sharing.map_sum(len(surrogates), add_up, at_once=at_once, among=ALONE)
    # a process that has halved its parts sums in another order, and must not have other coordinates
    totals = {key: context.sharing.processes.agree(total) for key, total in zip(keys, summed, strict=True)}
    del summed
    return _make_whitening(layers, totals, thin, len(surrogates), damping)


def _make_whitening(
    layers: Sequence[Layer],
    totals: dict[tuple[int, Side], Tensor],
    thin: frozenset[tuple[int, int]],
    count: int,
    damping: float,
) -> Whitening:
    """Return the factors; a layer on which the answers hardly depend gets none and stays as it is."""
    shares = [
        share_of_outputs(layer, totals[number, Side.INPUTS], count, thin=(number, Side.INPUTS) in thin)
        for number, layer in enumerate(layers)
    ]
    sizes = [
        trace(totals[number, Side.INPUTS], thin=(number, Side.INPUTS) in thin)
        / count
        * trace(totals[number, Side.OUTPUTS], thin=(number, Side.OUTPUTS) in thin)
        / share
        for number, share in enumerate(shares)
    ]
    largest = max(float(size.max()) for size in sizes)
    factors: dict[tuple[int, Side], Factor] = {}
    for number, share in enumerate(shares):
        for side, divisor in ((Side.INPUTS, count), (Side.OUTPUTS, share)):
            total, is_thin = totals.pop((number, side)), (number, side) in thin
            total = torch.where(sizes[number] > NEGLIGIBLE * largest, total, 0.0)
            factors[number, side] = make_factor(total, divisor, damping, thin=is_thin)
    return Whitening(*(tuple(factors[number, side] for number in range(len(layers))) for side in Side))


def draw_contrasts(count: int, num_classes: int, generator: torch.Generator) -> Float[Tensor, "n classes"]:
    """Return standard normal weights of the logits whose mean over the classes is 0, row by row."""
    drawn = torch.randn(count, num_classes, generator=generator)
    return drawn - drawn.mean(dim=1, keepdim=True)


def _zeros(layer: Layer, side: Side, vectors: int | None) -> Tensor:
    """Return zeros for the second moments of that side, or for so many vectors of a thin factor."""
    size = layer.shape[side]
    return layer.weight.new_zeros(layer.groups, size if vectors is None else vectors, size, requires_grad=False)
