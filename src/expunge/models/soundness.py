"""Whether a network's weights can be edited at all: tensors of numbers that are there, and finite."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from expunge.base.errors import ClassifierError

QUANTISED = ("torch.ao.nn.quantized", "torch.nn.quantized")


def check_sound(module: nn.Module) -> None:
    """Check that all that a network holds is plain tensors of finite numbers, at least one of them a weight.

    Raises:
        ClassifierError: it has none; a layer is quantised or has no weights yet; weights are on the device meta, or not
            finite; or its state holds something else.
    """
    for name, part in module.named_modules():
        if type(part).__module__.startswith(QUANTISED):
            hint = "edit the network that it was made from, and quantise that again"
            raise ClassifierError(name or "model", "layers of plain weights", "a quantised one", hint)
    if not any(True for _ in module.parameters()):
        raise ClassifierError("classifier", "a module with weights to edit", "one without parameters")
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor):
            hint = "remove get_extra_state, or copy the weights to a network without it"
            raise ClassifierError(name, "a state of tensors alone", type(tensor).__name__, hint)
        if is_lazy(tensor):
            raise ClassifierError(name, "weights", "a lazy layer that has none yet", "call the network once first")
        if tensor.is_meta:
            hint = "load the weights: to_empty and load_state_dict"
            raise ClassifierError(name, "weights", "none: the tensor is on the device meta", hint)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ClassifierError(name, "finite weights", "NaN or infinity", "the checkpoint is damaged")
