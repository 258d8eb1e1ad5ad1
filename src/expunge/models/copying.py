"""Deep copies of networks that keep tensors which are no weights, and weights put into a network by name."""

import copy
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from expunge.base.errors import ClassifierError


def copy_module(module: nn.Module, memo: Mapping[int, object] | None = None) -> nn.Module:
    """Return a deep copy: weights, buffers and training flags of its own.

    Some networks keep what they computed from their weights, such as the attention biases of LeViT or what hooks of
    `torch.nn.utils.weight_norm` set. Torch refuses to copy that; here the copy gets the values, out of any gradient.

    Args:
        module: any network.
        memo: objects that take the place of those with these ids.

    Raises:
        ClassifierError: it keeps something that can't be copied, such as a lock or an open file.
    """
    computed = {
        id(tensor): tensor.detach().clone()
        for part in module.modules()
        for tensor in _tensors_in(vars(part))
        if not tensor.is_leaf
    }
    try:
        return copy.deepcopy(module, {**computed, **(memo or {})})
    except (TypeError, RuntimeError, NotImplementedError, pickle.PicklingError) as error:
        hint = "keep locks, files and the like out of the network, or give it a __deepcopy__"
        raise ClassifierError("model", "a network that can be copied", f"{error}".split("\n")[0], hint) from error


def put_weights(module: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Copy weights and buffers into a network, by name.

    Torch keeps the versions of layers beside a state, which plain tensors lack; torchvision's MNASNet asks for its own.

    Args:
        module: any network.
        weights: of the present version of its layers.
        strict: whether every name of the network must be there, and no other.
    """
    state = OrderedDict(weights)
    state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(state, strict=strict)


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors_in(each)
