"""Row gradients of layers that are not what they seem: by `torch.func`, or by one pass for each row."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.methods.layers import Layer, Route
from expunge.models.classifier import Classifier


@dataclass(frozen=True, slots=True)
class RowGradients:
    """Each row's gradient of one layer's weight matrices, held in memory."""

    layer: Layer
    gradients: Float[Tensor, "b g o i"]

    def row_gradients(self) -> Float[Tensor, "b g o i"]:
        """Return each row's gradient of the layer's weight matrices."""
        return self.gradients


def differentiate_rows(
    classifier: Classifier,
    layers: Sequence[Layer],
    x: Float[Tensor, "b c h w"],
    weights: Float[Tensor, "b classes"],
    route: Route,
) -> list[Float[Tensor, "b g o i"]]:
    """Return each row's gradient of its sum(weights * logits) by each layer's weight matrices.

    Args:
        classifier: holds `layers`, in the mode in which it is to answer.
        layers: any whose weights require gradients.
        x: one batch.
        weights: of the logits.
        route: `FUNCTION` or `ALONE`.
    """
    parameters = [each for layer in layers for each in layer.parameters]
    compute = _by_function if route is Route.FUNCTION else _one_by_one
    gradients = iter(compute(classifier, parameters, x, weights))
    return [layer.to_matrix([next(gradients) for _ in layer.parameters]) for layer in layers]


def _by_function(classifier: Classifier, parameters: Sequence[Tensor], x: Tensor, weights: Tensor) -> list[Tensor]:
    names = {id(each): name for name, each in classifier.module.named_parameters()}
    named = {names[id(each)]: each.detach() for each in parameters}

    def weigh(values: dict[str, Tensor], image: Tensor, of_logits: Tensor) -> Tensor:
        logits: Tensor = functional_call(classifier.module, values, (image.unsqueeze(0),))
        return (logits.squeeze(0) * of_logits).sum()

    # no gradients of these gradients: `grad` computes its own all the same; fused attention would go row by row
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        found = vmap(grad(weigh), in_dims=(None, 0, 0))(named, x, weights)
    return list(found.values())


def _one_by_one(classifier: Classifier, parameters: Sequence[Tensor], x: Tensor, weights: Tensor) -> list[Tensor]:
    rows = []
    for row in range(len(x)):
        value = (classifier(x[row : row + 1]) * weights[row]).sum()
        rows.append(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))
    return [torch.stack(column) for column in zip(*rows, strict=True)]
