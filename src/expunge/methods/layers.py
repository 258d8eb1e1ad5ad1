"""The linear and convolutional layers of a network whose weights are edited, seen as matrices.

A layer's weights are matrices (groups, outputs, inputs), where a convolution's inputs are the channels and taps of its
kernel and a bias is one more input that is always 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Route(StrEnum):
    """How each row's gradient of a layer's weights is computed."""

    FLOW = "flow"
    """From what flows through the layer in one pass over many rows."""
    FUNCTION = "torch.func"
    """By `torch.func`, for a layer that is not what it seems: weights made from others, tokens first, tied weights."""
    ALONE = "one by one"
    """By a pass for each row, for a network that `torch.func` can't run."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A linear or convolutional layer whose weights can be edited.

    Args:
        name: within the classifier's module.
        module: the layer.
        weight: what is edited: its weight, or the parameter of the same shape from which its weight is made.
        bias: None if there is none, or if it is to stay.
        route: how row gradients are computed.
    """

    name: str
    module: nn.Linear | nn.Conv2d
    weight: nn.Parameter
    bias: nn.Parameter | None
    route: Route = Route.FLOW

    @property
    def groups(self) -> int:
        """Return the number of groups, 1 for a linear layer."""
        return self.module.groups if isinstance(self.module, nn.Conv2d) else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (groups, outputs, inputs) of the weight matrices, the bias counted as an input."""
        outputs = self.weight.shape[0] // self.groups
        return self.groups, outputs, self.weight[0].numel() + (self.bias is not None)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return weight and bias, or the weight alone."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def read(self) -> Float[Tensor, "g o i"]:
        """Return a copy of the weights as matrices."""
        return self.to_matrix([each.detach() for each in self.parameters]).clone()

    def write(self, matrix: Float[Tensor, "g o i"]) -> None:
        """Set the weights to `matrix`."""
        with torch.no_grad():
            if self.bias is not None:
                self.bias.copy_(matrix[..., -1].flatten())
                matrix = matrix[..., :-1]
            self.weight.copy_(matrix.reshape(self.weight.shape))

    def to_matrix(self, values: list[Tensor]) -> Float[Tensor, "*b g o i"]:
        """Return values of `parameters`, with dimensions *b in front, as one matrix a group."""
        weight = values[0]
        groups, outputs, _ = self.shape
        front = weight.shape[: weight.ndim - self.weight.ndim]
        matrix = weight.reshape(*front, groups, outputs, -1)
        if self.bias is None:
            return matrix
        return torch.cat([matrix, values[1].reshape(*front, groups, outputs, 1)], dim=-1)


def find_candidates(module: nn.Module) -> Iterator[Layer]:
    """Yield each linear or convolutional layer whose weight requires gradients; of layers that share it, the first.

    A bias that needs no gradient, or that an earlier layer has, is not part of its layer.
    """
    seen: set[int] = set()
    for name, part in module.named_modules():
        if not isinstance(part, (nn.Linear, nn.Conv2d)):
            continue
        weight = _parameter_of(part)
        if weight is None or not weight.requires_grad or id(weight) in seen:
            continue
        bias = part._parameters.get("bias")
        if bias is not None and (not bias.requires_grad or id(bias) in seen):
            bias = None
        seen |= {id(weight), id(bias)}
        yield Layer(name, part, weight, bias)


def differentiate(loss: Float[Tensor, ""], layers: tuple[Layer, ...]) -> list[Float[Tensor, "g o i"]]:
    """Return the gradient of `loss` by each layer's weight matrices, biases included; 0 where it does not depend."""
    parameters = [each for layer in layers for each in layer.parameters]
    gradients = iter(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
    return [layer.to_matrix([next(gradients) for _ in layer.parameters]) for layer in layers]


def count_weights(layers: tuple[Layer, ...]) -> int:
    """Return the number of weights in all layers."""
    return sum(math.prod(layer.shape) for layer in layers)


def _parameter_of(module: nn.Linear | nn.Conv2d) -> nn.Parameter | None:
    """Return the layer's weight, or, where that is made from others (weight or spectral norm), the one of its shape."""
    own = module._parameters.get("weight")
    if own is not None:
        return own
    shape = module.weight.shape
    return next((each for each in module.parameters() if each.shape == shape), None)


def is_made_anew(layer: Layer) -> bool:
    """Return whether a hook sets the layer's weight before each pass, as `torch.nn.utils.weight_norm` does."""
    return "weight" not in layer.module._parameters and not parametrize.is_parametrized(layer.module)
