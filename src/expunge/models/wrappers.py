"""Networks as people hold them: compiled, spread over devices, averaged, in half precision."""

import copy
import warnings

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from expunge.base.errors import ClassifierError, ExpungeWarning

HALVES = (torch.float16, torch.bfloat16)
AVERAGES = ("ModelEma", "ModelEmaV2", "ModelEmaV3")
"""timm's classes, known by name so that timm need not be there."""


def own_network(network: nn.Module) -> nn.Module:
    """Return the network that the user wrote, in float32: out of its wrappers, as it is or as a copy.

    `torch.compile`, `DataParallel`, `DistributedDataParallel`, `AveragedModel` and timm's moving averages are taken
    off; the weights are the same. A network in float16 or bfloat16 is copied and converted, since the change that an
    edit makes is often below what half precision can hold.

    Raises:
        ClassifierError: a network of TorchScript, in which no layer can be edited; or no module at all.

    Warns:
        ExpungeWarning: the network is in half precision.
    """
    network = unwrapped(network)
    halves = {weight.dtype for weight in network.parameters() if weight.dtype in HALVES}
    if not halves:
        return network
    names = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in halves))
    warnings.warn(f"the network's weights are {names}: they are edited and saved as float32", ExpungeWarning, 3)
    return copy.deepcopy(network).float()


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network that the user wrote, out of its wrappers, in its own number format; see `own_network`."""
    if not isinstance(network, nn.Module):
        raise ClassifierError("model", "a torch nn.Module, or a Classifier", type(network).__name__)
    if isinstance(network, torch.jit.ScriptModule):
        raise ClassifierError(
            "model",
            "a network of Python code",
            "a traced or scripted one, whose layers can't be edited",
            "make the network from its class and give it the weights: network.load_state_dict(traced.state_dict())",
        )
    inner = getattr(network, "_orig_mod", None)
    if inner is None and isinstance(network, (DataParallel, DistributedDataParallel, AveragedModel)):
        inner = network.module
    if inner is None and type(network).__name__ in AVERAGES:
        inner = getattr(network, "ema", getattr(network, "module", None))
    return unwrapped(inner) if isinstance(inner, nn.Module) else network
