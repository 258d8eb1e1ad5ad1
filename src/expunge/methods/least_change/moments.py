"""What a batch of images adds to the second moments of a layer's inputs and output gradients."""

from enum import IntEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.methods.layers import Layer, Route
from expunge.methods.single_rows import RowGradients
from expunge.methods.tracing import Traced

POSITIONS = 64
WIDE = 256


class Side(IntEnum):
    """A side of a layer's weight matrices: its dimension in their shape."""

    OUTPUTS = 1
    INPUTS = 2


def add_moments(traced: Traced, inputs: Tensor | None, outputs: Tensor | None, seed: int) -> None:
    """Add the second moments of some images to those so far; None is left out.

    Where row gradients G are all that is known, they are G'G and GG'.

    Args:
        traced: see `trace_rows`.
        inputs: (g, i, i), of the mean over at most 64 random positions, the same in each image.
        outputs: (g, o, o), of the sum over all positions.
        seed: chooses the positions.
    """
    if isinstance(traced, RowGradients):
        for total, columns in ((inputs, traced.gradients.mT), (outputs, traced.gradients)):
            if total is not None:
                _add_outer(total, columns)
        return
    if inputs is not None:
        for columns in traced.inputs_at(lambda count: _choose(count, seed)):
            _add_outer(inputs, columns, columns.shape[-1])
    if outputs is not None:
        for gradient in traced.output_gradients():
            _add_outer(outputs, gradient)


def draw_vectors(traced: Traced, side: Side, seed: int, part: slice) -> Float[Tensor, "g b n"]:
    """Return one vector an image whose outer product is, in expectation, what `add_moments` adds for that image.

    It is the sum over positions with random signs, drawn anew for each call of the layer: where there is one position,
    there is nothing random in it. Of row gradients it is near their leading direction, as long as the whole.

    Args:
        traced: of some images.
        side: which moments.
        seed: chooses the signs.
        part: which of all images these are; an image's signs do not depend on how many go through at a time.
    """
    if isinstance(traced, RowGradients):
        columns = traced.gradients.mT if side is Side.INPUTS else traced.gradients
        ahead = _signed(columns.mT, seed, part).transpose(0, 1).unsqueeze(-1)
        leading: Tensor = F.normalize((columns @ ahead).squeeze(-1), dim=-1)
        length: Tensor = columns.flatten(2).norm(dim=2, keepdim=True)
        return (length * leading).transpose(0, 1)
    drawn = []
    for call, (columns, gradient) in enumerate(traced.unrolled()):
        summed = _signed(columns if side is Side.INPUTS else gradient, seed + call, part)
        drawn.append(summed / columns.shape[-1] ** 0.5 if side is Side.INPUTS else summed)
    return torch.stack(drawn).sum(dim=0)


def share_of_outputs(layer: Layer, inputs: Tensor, count: int, *, thin: bool) -> Float[Tensor, "g 1 1"] | int:
    """Return by what the sum of a layer's output moments is divided, so that both factors' product has the right trace.

    Args:
        layer: the layer.
        inputs: the sum of its input moments, or the vectors of a thin factor.
        count: number of images.
        thin: whether it is vectors.
    """
    if layer.route is Route.FLOW:
        return count
    return trace(inputs, thin=thin).clamp_min(torch.finfo(inputs.dtype).tiny)


def trace(total: Float[Tensor, "g m n"], *, thin: bool) -> Float[Tensor, "g 1 1"]:
    """Return the trace of second moments, or of those that the vectors of a thin factor make."""
    found = total.square().sum(dim=(1, 2)) if thin else total.diagonal(dim1=1, dim2=2).sum(dim=1)
    return found.view(-1, 1, 1)


def _choose(count: int, seed: int) -> Int[Tensor, " m"]:
    """Return at most 64 random positions of `count`."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:POSITIONS]


def _add_outer(total: Float[Tensor, "g n n"], columns: Float[Tensor, "b g n l"], divisor: int = 1) -> None:
    _add_square(total, columns.transpose(0, 1).transpose(1, 2).flatten(2), 1 / divisor)


def _add_square(total: Float[Tensor, "g n n"], vectors: Float[Tensor, "g n m"], share: float) -> None:
    """Add share * vectors vectors'; of a wide one, what is below the diagonal is what is above it, computed once."""
    half = vectors.shape[1] // 2
    if vectors.shape[1] <= WIDE:
        total += share * (vectors @ vectors.mT)
        return
    upper, lower = vectors[:, :half], vectors[:, half:]
    _add_square(total[:, :half, :half], upper, share)
    _add_square(total[:, half:, half:], lower, share)
    across = share * (lower @ upper.mT)
    total[:, half:, :half] += across
    total[:, :half, half:] += across.mT


def _signed(columns: Float[Tensor, "b g n l"], seed: int, part: slice) -> Float[Tensor, "g b n"]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(2, (part.start + len(columns), columns.shape[-1]), generator=generator)[part.start :]
    signs = drawn.view(len(columns), 1, -1, 1).to(columns) * 2 - 1
    return (columns @ signs).squeeze(-1).transpose(0, 1)
