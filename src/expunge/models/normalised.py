"""A network as others wrote it, made to take pixels and to answer with one tensor of logits."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.base.errors import ClassifierError
from expunge.models.pixels import Normalisation

LOGITS = ("logits", "out", "output", "outputs", "pred", "preds", "prediction", "scores")


class Normalised(nn.Module):
    """A network with its input normalisation in front, so that it takes pixels: network((x - mean) / std).

    Mean and std are on the network's device and in its number format, but no part of its state:
    `network.state_dict()` is what was loaded, under its own keys. The output is made one tensor of logits, see
    `to_logits`.

    Args:
        network: as the user has it.
        normalisation: what it wants done to pixels.
        num_classes: how many logits it gives, where that says which of several outputs they are.
        label: which of its labels counts, where it gives one logit for each of several labels an image can have.
    """

    def __init__(
        self,
        network: nn.Module,
        normalisation: Normalisation = Normalisation(),
        *,
        num_classes: int | None = None,
        label: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.num_classes, self.label = num_classes, label
        weight = next(network.parameters(), torch.zeros(0))
        kind = weight.dtype if weight.dtype == torch.float64 else torch.float32
        for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
            buffer = torch.tensor([float(value) for value in values], device=weight.device, dtype=kind)
            self.register_buffer(name, buffer.view(1, -1, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, classes) for pixels (b, c, h, w)."""
        return to_logits(self.network((x - self.mean) / self.std), self.num_classes, self.label)


def to_logits(
    output: Any,  # noqa: ANN401 - what networks answer
    num_classes: int | None = None,
    label: int | None = None,
) -> Float[Tensor, "b classes"]:
    """Return the logits in what a network answers.

    They are the output itself, its field or entry `logits` (or another of `LOGITS`), the only tensor in a mapping, or
    the first tensor in a tuple that is (b, `num_classes`), else the first of all. One logit z, which says yes where it
    is above 0, becomes the two logits (0, z), and so does the logit of `label`: their softmax is the sigmoid of z.

    Raises:
        ClassifierError: there is no tensor, several could be meant, or `label` is beyond the outputs.

    >>> to_logits({"logits": torch.tensor([[1.0], [-2.0]]), "loss": None})
    tensor([[ 0.,  1.],
            [ 0., -2.]])
    """
    logits = _tensor_in(output, num_classes if label is None else None)
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)
    if label is not None:
        if logits.ndim != 2 or label >= logits.shape[1]:
            raise ClassifierError("label", f"one of the outputs {tuple(logits.shape)[1:]}, from 0", str(label))
        logits = logits[:, label : label + 1]
    if logits.ndim == 2 and logits.shape[1] == 1:
        return torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits


def _tensor_in(output: Any, num_classes: int | None) -> Tensor:  # noqa: ANN401
    if isinstance(output, Tensor):
        return output
    named = output if isinstance(output, Mapping) else {name: getattr(output, name, None) for name in LOGITS}
    for name in LOGITS:
        if isinstance(found := named.get(name), Tensor):
            return found
    if isinstance(output, Mapping):
        tensors = [value for value in output.values() if isinstance(value, Tensor)]
        if len(tensors) == 1:
            return tensors[0]
        known = ", ".join(map(str, output)) or "nothing"
        raise ClassifierError("classifier", f"one tensor of logits, or an entry {LOGITS[0]}", f"the entries {known}")
    tensors = [value for value in output if isinstance(value, Tensor)] if isinstance(output, (tuple, list)) else []
    if not tensors:
        raise ClassifierError(
            "classifier", "a tensor of logits, or an object with a `logits` field", type(output).__name__
        )
    fitting = [tensor for tensor in tensors if tensor.ndim == 2 and tensor.shape[1] == num_classes]
    return (fitting or tensors)[0]
