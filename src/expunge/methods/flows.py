"""Row gradients from what flows through a layer.

The gradient of one row's output by the layer's weights is the product of the output gradients and the inputs, summed
over positions: no second network and no loop over rows is needed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.methods.layers import Layer
from expunge.models.modes import hooked


@dataclass(slots=True)
class Calls:
    """What went into and came out of a layer, once for each time it was called."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    regular: bool = True
    """Whether each call had one tensor by position, and gave one tensor that depends on weights."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What went into one layer for b rows, and the gradients of what came out, one of each for each call.

    The first dimension is that of the rows, each of which may have several places side by side there (windows, crops).
    Convolutions are unrolled only when they are asked for, since that takes several times the memory.
    """

    layer: Layer
    rows: int
    inputs: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]

    @property
    def positions(self) -> int:
        """Return at how many positions the layer's weights were used for each row."""
        outputs = self.layer.groups * self.layer.shape[1]
        return sum(gradient.numel() // (self.rows * outputs) for gradient in self.gradients)

    def unrolled(self) -> Iterator[tuple[Float[Tensor, "b g i l"], Float[Tensor, "b g o l"]]]:
        """Yield inputs and output gradients at l positions, call by call."""
        for inputs, gradient in zip(self.inputs, self.gradients, strict=True):
            columns = _to_columns(self.layer, inputs, gradient.shape[-2:])
            yield _side_by_side(columns, self.rows), _side_by_side(_spread(self.layer, gradient), self.rows)

    def inputs_at(self, choose: Callable[[int], Int[Tensor, " m"]]) -> Iterator[Float[Tensor, "b g i m"]]:
        """Yield inputs at some of the positions, call by call; the others are not unrolled.

        Args:
            choose: how many positions there are -> which.
        """
        for inputs, gradient in zip(self.inputs, self.gradients, strict=True):
            if len(inputs) != self.rows or isinstance(self.layer.module, nn.Linear):
                columns = _side_by_side(_to_columns(self.layer, inputs, gradient.shape[-2:]), self.rows)
                yield columns[..., choose(columns.shape[-1]).to(columns.device)]
                continue
            height, width = gradient.shape[-2:]
            chosen = choose(height * width).to(inputs.device)
            seen = _windows(self.layer.module, inputs, gradient.shape[-2:])
            yield _of_groups(self.layer, seen[..., chosen // width, chosen % width].flatten(1, 3))

    def output_gradients(self) -> Iterator[Float[Tensor, "b g o l"]]:
        """Yield the gradients of what came out at all l positions, call by call."""
        for gradient in self.gradients:
            yield _side_by_side(_spread(self.layer, gradient), self.rows)

    def row_gradients(self) -> Float[Tensor, "b g o i"]:
        """Return each row's gradient of the layer's weight matrices."""
        return torch.stack([gradient @ inputs.transpose(-1, -2) for inputs, gradient in self.unrolled()]).sum(dim=0)


@contextmanager
def recorded(layers: Sequence[Layer]) -> Iterator[list[Calls]]:
    """Record what goes into and comes out of each layer during the block."""
    calls = [Calls() for _ in layers]
    with hooked((layer.module, _recorder(made)) for layer, made in zip(layers, calls, strict=True)):
        yield calls


def _recorder(made: Calls) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not (inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor) and output.requires_grad):
            made.regular = False
            return None
        made.inputs.append(inputs[0].detach())
        made.outputs.append(output)
        copied: Tensor = output.clone()  # an in-place activation must not change what was recorded
        return copied

    return record


def _side_by_side(columns: Float[Tensor, "n g i l"], rows: int) -> Float[Tensor, "b g i m"]:
    """Return the columns of each row, where a row has n/b places in the first dimension."""
    if len(columns) == rows:
        return columns
    return columns.reshape(rows, -1, *columns.shape[1:]).permute(0, 2, 3, 1, 4).flatten(3)


def _spread(layer: Layer, gradient: Tensor) -> Float[Tensor, "n g o l"]:
    """Return output gradients at all positions."""
    groups, outputs, _ = layer.shape
    if isinstance(layer.module, nn.Linear):
        return gradient.reshape(len(gradient), -1, outputs).transpose(1, 2).unsqueeze(1)
    return gradient.reshape(len(gradient), groups, outputs, -1)


def _to_columns(layer: Layer, inputs: Tensor, output_size: torch.Size) -> Float[Tensor, "n g i l"]:
    """Return inputs at all positions; `output_size` is a convolution's."""
    if isinstance(layer.module, nn.Linear):
        return _with_bias(layer, inputs.reshape(len(inputs), -1, inputs.shape[-1]).transpose(1, 2).unsqueeze(1))
    return _of_groups(layer, _windows(layer.module, inputs, output_size).flatten(4).flatten(1, 3))


def _of_groups(layer: Layer, columns: Float[Tensor, "n gi l"]) -> Float[Tensor, "n g i l"]:
    return _with_bias(layer, columns.reshape(len(columns), layer.shape[0], -1, columns.shape[-1]))


def _with_bias(layer: Layer, columns: Float[Tensor, "n g i l"]) -> Float[Tensor, "n g i l"]:
    if layer.bias is None:
        return columns
    return torch.cat([columns, columns.new_ones(*columns.shape[:2], 1, columns.shape[-1])], dim=2)


def _windows(module: nn.Conv2d, inputs: Tensor, output_size: torch.Size) -> Float[Tensor, "b c ky kx y x"]:
    """Return a view of what the kernel sees at each position; copying it takes half the time of `F.unfold`.

    Zero padding is what makes the known output size. It is computed from the sizes, because some layers pad inside
    their own forward ("same" padding).
    """
    if module.kernel_size == (1, 1) and module.padding in ((0, 0), "valid"):
        step_y, step_x = module.stride
        return inputs[:, :, None, None, ::step_y, ::step_x]
    margins: list[int] = []
    for axis in (1, 0):
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        needed = (output_size[axis] - 1) * module.stride[axis] + reach - inputs.shape[2 + axis]
        declared = module.padding[axis] if isinstance(module.padding, tuple) else 0
        before = declared if declared > 0 else max(needed, 0) // 2
        margins += [before, needed - before]
    padded = F.pad(inputs, margins)
    row, channel, down, across = padded.stride()
    taps = down * module.dilation[0], across * module.dilation[1]
    steps = down * module.stride[0], across * module.stride[1]
    sizes = (*padded.shape[:2], *module.kernel_size, *output_size)
    return padded.as_strided(sizes, (row, channel, *taps, *steps), padded.storage_offset())
