"""How many classes a network has, read off its last parameter."""

from collections.abc import Mapping

from torch import Tensor, nn

from expunge.base.errors import ClassifierError


def last_length(network: nn.Module, weights: Mapping[str, Tensor] | None = None) -> int:
    """Return the first length of the network's last parameter, which is the class count of nearly every network.

    Args:
        network: its parameters are in the order in which its layers were made.
        weights: where given, the length is taken from the tensor of the same name there.

    Raises:
        ClassifierError: no parameters.

    >>> last_length(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)))
    3
    """
    named = list(network.named_parameters())
    if not named:
        raise ClassifierError("classifier", "a module with weights to edit", "one without parameters")
    name, parameter = named[-1]
    return length_of(parameter if weights is None else weights.get(name, parameter))


def length_of(tensor: Tensor) -> int:
    """Return a tensor's first length, 1 for a single number."""
    return tensor.shape[0] if tensor.ndim else 1
