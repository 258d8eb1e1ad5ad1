"""The linear and convolutional layers of a network, and per-row gradients of their weights.

A layer's weights are seen as matrices (groups, outputs, inputs), where a convolution's inputs are the channels and taps
of its kernel and a bias is one more input that is always 1. The gradient of one row's output is then the product of
the output gradients and the inputs, summed over positions: no second network and no loop over rows is needed.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating

PIXELS_AT_ONCE = {"cpu": 32 * 32 * 32}
OTHERWISE = 128 * 32 * 32
"""What flows through a network fits a processor's cache with few images; other devices want more work at a time."""
LEAST_AT_ONCE = 4

Cotangent = Callable[[Tensor], Tensor]
"""(b, classes) logits -> (b, classes) weights of the sum that is differentiated, row by row."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear or convolutional layer whose weights can be edited."""

    name: str
    module: nn.Linear | nn.Conv2d

    @property
    def groups(self) -> int:
        """Return the number of groups, 1 for a linear layer."""
        return self.module.groups if isinstance(self.module, nn.Conv2d) else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (groups, outputs, inputs) of the weight matrices, the bias counted as an input."""
        outputs = self.module.weight.shape[0] // self.groups
        return self.groups, outputs, self.module.weight[0].numel() + (self.module.bias is not None)

    def read(self) -> Float[Tensor, "g o i"]:
        """Return a copy of the weights as matrices."""
        groups, outputs, _ = self.shape
        matrix = self.module.weight.detach().reshape(groups, outputs, -1)
        if self.module.bias is None:
            return matrix.clone()
        return torch.cat([matrix, self.module.bias.detach().view(groups, outputs, 1)], dim=2)

    def write(self, matrix: Float[Tensor, "g o i"]) -> None:
        """Set the weights to `matrix`."""
        with torch.no_grad():
            if self.module.bias is not None:
                self.module.bias.copy_(matrix[..., -1].flatten())
                matrix = matrix[..., :-1]
            self.module.weight.copy_(matrix.reshape(self.module.weight.shape))


@dataclass(slots=True)
class _Calls:
    """What went into and came out of a layer, once for each time it was called."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Flow:
    """What went into one layer for a batch, and the gradients of what came out, one of each for each call.

    Convolutions are unrolled only when they are asked for, since that takes several times the memory.
    """

    layer: Layer
    inputs: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]

    @property
    def positions(self) -> int:
        """Return at how many positions the layer's weights were used for each row."""
        outputs = self.layer.groups * self.layer.shape[1]
        return sum(gradient[0].numel() // outputs for gradient in self.gradients)

    def unrolled(self) -> Iterator[tuple[Float[Tensor, "b g i l"], Float[Tensor, "b g o l"]]]:
        """Yield inputs and output gradients at l positions, call by call."""
        for inputs, gradient in zip(self.inputs, self.gradients, strict=True):
            yield _to_positions(self.layer, inputs, gradient)

    def row_gradients(self) -> Float[Tensor, "b g o i"]:
        """Return each row's gradient of the layer's weight matrices."""
        return torch.stack([gradient @ inputs.transpose(-1, -2) for inputs, gradient in self.unrolled()]).sum(dim=0)


def find_layers(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> tuple[Layer, ...]:
    """Return the layers that can be edited: those that a forward pass calls and whose weights require gradients.

    Attention projections that torch computes without calling their layer, embeddings and normalisation layers are not
    among them and stay as they are, as do convolutions that pad with anything but zeros.

    Args:
        classifier: any classifier.
        x: one image is enough.
    """
    candidates = tuple(
        Layer(name, module)
        for name, module in classifier.module.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.weight.requires_grad and _pads_with_zeros(module)
    )
    with torch.no_grad(), evaluating(classifier.module), _recorded(candidates) as calls:
        classifier(x[:1])
    return tuple(layer for layer, made in zip(candidates, calls, strict=True) if made.outputs)


def trace_rows(
    classifier: Classifier, layers: tuple[Layer, ...], x: Float[Tensor, "b c h w"], cotangent: Cotangent
) -> tuple[Float[Tensor, "b classes"], list[Flow]]:
    """Return the logits in eval mode, and the flow of sum(cotangent * logits) through each layer.

    Args:
        classifier: holds `layers`.
        layers: see `find_layers`.
        x: one batch, all of whose inner activations are held in memory.
        cotangent: makes the weights of the logits from the logits; it is not differentiated.
    """
    with evaluating(classifier.module), _recorded(layers) as calls:
        logits = classifier(x)
        outputs = [output for made in calls for output in made.outputs]
        gradients = iter(torch.autograd.grad(logits, outputs, cotangent(logits.detach())))
    flows = [
        Flow(layer, tuple(made.inputs), tuple(next(gradients) for _ in made.outputs))
        for layer, made in zip(layers, calls, strict=True)
    ]
    return logits.detach(), flows


def images_at_once(x: Float[Tensor, "n c h w"]) -> int:
    """Return how many of these images to trace in one pass."""
    pixels = PIXELS_AT_ONCE.get(x.device.type, OTHERWISE)
    return max(LEAST_AT_ONCE, pixels // (x.shape[2] * x.shape[3]))


def differentiate(loss: Float[Tensor, ""], layers: tuple[Layer, ...]) -> list[Float[Tensor, "g o i"]]:
    """Return the gradient of `loss` by each layer's weight matrices, biases included."""
    biased = [layer.module.bias for layer in layers if layer.module.bias is not None]
    gradients = torch.autograd.grad(loss, [*(layer.module.weight for layer in layers), *biased])
    of_biases = iter(gradients[len(layers) :])
    matrices = []
    for layer, gradient in zip(layers, gradients, strict=False):
        groups, outputs, _ = layer.shape
        matrix = gradient.reshape(groups, outputs, -1)
        if layer.module.bias is not None:
            matrix = torch.cat([matrix, next(of_biases).view(groups, outputs, 1)], dim=2)
        matrices.append(matrix)
    return matrices


@contextmanager
def _recorded(layers: tuple[Layer, ...]) -> Iterator[list[_Calls]]:
    calls = [_Calls() for _ in layers]
    hooks = [layer.module.register_forward_hook(_recorder(made)) for layer, made in zip(layers, calls, strict=True)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _recorder(made: _Calls) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        made.inputs.append(inputs[0].detach())
        made.outputs.append(output)
        return output.clone()  # an in-place activation must not change what was recorded

    return record


def _pads_with_zeros(module: nn.Linear | nn.Conv2d) -> bool:
    return isinstance(module, nn.Linear) or module.padding_mode == "zeros"


def _to_positions(layer: Layer, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    groups, outputs, _ = layer.shape
    if isinstance(layer.module, nn.Linear):
        columns = inputs.reshape(len(inputs), -1, inputs.shape[-1]).transpose(1, 2).unsqueeze(1)
        gradient = gradient.reshape(len(gradient), -1, outputs).transpose(1, 2).unsqueeze(1)
    else:
        columns = _unfold(layer.module, inputs, gradient.shape[-2:])
        columns = columns.reshape(len(inputs), groups, -1, columns.shape[-1])
        gradient = gradient.reshape(len(gradient), groups, outputs, -1)
    if layer.module.bias is not None:
        ones = columns.new_ones(columns.shape[0], groups, 1, columns.shape[-1])
        columns = torch.cat([columns, ones], dim=2)
    return columns, gradient


def _unfold(module: nn.Conv2d, inputs: Tensor, output_size: torch.Size) -> Tensor:
    """Return (b, channels * taps, positions); zero padding is what makes the known output size.

    It is computed from the sizes, because some layers pad inside their own forward ("same" padding).
    """
    if module.kernel_size == (1, 1) and module.padding in ((0, 0), "valid"):
        step_y, step_x = module.stride
        return inputs[:, :, ::step_y, ::step_x].flatten(2)
    margins: list[int] = []
    for axis in (1, 0):
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        needed = (output_size[axis] - 1) * module.stride[axis] + reach - inputs.shape[2 + axis]
        declared = module.padding[axis] if isinstance(module.padding, tuple) else 0
        before = declared if declared > 0 else max(needed, 0) // 2
        margins += [before, needed - before]
    return _windows(F.pad(inputs, margins), module, output_size).flatten(4).flatten(1, 3)


def _windows(padded: Tensor, module: nn.Conv2d, output_size: torch.Size) -> Float[Tensor, "b c ky kx y x"]:
    """Return a view of what the kernel sees at each position; copying it takes half the time of `F.unfold`."""
    row, channel, down, across = padded.stride()
    taps = down * module.dilation[0], across * module.dilation[1]
    steps = down * module.stride[0], across * module.stride[1]
    sizes = (*padded.shape[:2], *module.kernel_size, *output_size)
    return padded.as_strided(sizes, (row, channel, *taps, *steps), padded.storage_offset())


def count_weights(layers: tuple[Layer, ...]) -> int:
    """Return the number of weights in all layers."""
    return sum(math.prod(layer.shape) for layer in layers)
