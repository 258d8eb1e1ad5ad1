"""An accelerator that is not there: tensors that lie in the CPU's memory and obey the rules of a device.

What a real one refuses raises the same kind of error: tensors of two devices in one operation, a generator of the CPU,
numpy, float64 under the rules of MPS, more images than memory holds. What makes the host wait is counted by place.
Torch never forgets a device: it is there only in a process that has EXPUNGE_PRETEND in its environment, as in

    EXPUNGE_PRETEND=1 pytest tests/contract/on_pretended_device.py
"""

import os
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.optim.optimizer as optimisers
import torch.utils._foreach_utils as foreach
import torch.utils.backend_registration as registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretended"
MAY_MIX = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
WAITING = {"_local_scalar_dense", "nonzero", "equal", "_unique2", "unique_dim", "masked_select", "_linalg_check_errors"}
NO_KERNEL = {"view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "split", "unsqueeze"}
NO_KERNEL |= {"squeeze", "detach", "alias", "as_strided", "diagonal", "unbind", "split_with_sizes", "lift_fresh"}
NO_KERNEL |= {"empty", "empty_like", "empty_strided", "new_empty", "unfold"}
MATRICES = {"convolution": 0, "convolution_backward": 1, "addmm": 1}
"""Operations whose memory grows with the images, and which of their arguments holds those."""


@dataclass
class Device:
    """The rules of the device, and what was asked of it.

    Args:
        float64: whether it has double precision.
        largest_batch: images that fit into its memory; None: any number.
        kernels: operations that it computed.
        waits: by place, how often the host waited for what it computed.
        uploads: by place, how often the host sent something.
        refused: by place, how often memory did not suffice.
    """

    float64: bool = True
    largest_batch: int | None = None
    kernels: int = 0
    waits: Counter = field(default_factory=Counter)
    uploads: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)

    def forget_counts(self):
        self.kernels = 0
        self.refused.clear()
        self.waits.clear()
        self.uploads.clear()


_device = Device()


class Far(torch.Tensor):
    """A tensor on the device; `near` holds its numbers."""

    @staticmethod
    def __new__(cls, near):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            layout=near.layout,
            device=torch.device(NAME, 0),
        )

    def __init__(self, near):
        self.near = near

    def __repr__(self, **_):
        return f"Far({self.near!r})"

    def __deepcopy__(self, memo):
        twin = Far(self.near.clone(memory_format=torch.preserve_format)).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            twin = torch.nn.Parameter(twin, self.requires_grad)
        memo[id(self)] = twin
        return twin

    def numpy(self, **_):
        raise TypeError(f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_, **__):
        return self.numpy()

    def tolist(self):
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Made(TorchDispatchMode):
    """Sees what is made on the device out of nothing, or out of tensors of the CPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Module(getattr(registration, "_DummyBackendModule", object)):  # torch 2.8 has none, and can't pretend
    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def synchronize(self, device=None):
        """Count nothing: what a phase ends with is no part of a step."""


@contextmanager
def pretend(**rules):
    """Have the device for the block, under these rules (see `Device`), as `--device pretended`."""
    global _device  # noqa: PLW0603 - tensors find it here
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)
    _device = Device(**rules)
    try:
        with _Made():
            yield _device
    finally:
        _device = Device()
        torch._C._set_only_lift_cpu_tensors(False)
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)


def _install():
    """Tell torch of the device: before anything is differentiated, since then it counts the devices there are."""
    registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    for known in (optimisers._foreach_supported_types, foreach._foreach_supported_types):
        known.append(Far)


def _run(function, args, kwargs):
    name = function._schema.name.partition("::")[2]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    wanted = kwargs.get("device")
    made_far = wanted is not None and torch.device(wanted).type == NAME
    if far or made_far:
        near = [tensor for tensor in tensors if not isinstance(tensor, Far)]
        _check(name, args, kwargs, far, near)
        _count(name, args, kwargs, near, made_far)
    if made_far:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = function(*tree_map(_near, args), **tree_map(_near, kwargs))
    if not made_far and (not far or wanted is not None or (name == "copy_" and not isinstance(args[0], Far))):
        return args[0] if name == "copy_" else found
    known = {id(tensor.near): tensor for tensor in far}
    return tree_map(lambda each: _far(each, known) if type(each) is torch.Tensor else each, found)


if os.environ.get("EXPUNGE_PRETEND"):
    _install()


def _near(each):
    return each.near if isinstance(each, Far) else each


def _far(each, known):
    return known[id(each)] if id(each) in known else Far(each)


def _check(name, args, kwargs, far, near):
    if far and name not in MAY_MIX and any(tensor.dim() for tensor in near):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu ({name})")
    if name == "index" and not isinstance(args[0], Far):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu' ({name})")
    if name == "linalg_lstsq" and kwargs.get("driver") not in (None, "gels"):
        raise RuntimeError("torch.linalg.lstsq: parameter `driver` should be one of (gels)")
    stays = not (kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu")
    numbers = {tensor.dtype for tensor in far} | ({kwargs.get("dtype")} if stays else set())
    if name == "_to_copy" and near and kwargs.get("dtype") is None:
        numbers |= {tensor.dtype for tensor in near}
    if not _device.float64 and torch.float64 in numbers:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
    if _device.largest_batch is not None and name in MATRICES and far:
        images = args[MATRICES[name]]
        if len(images) > _device.largest_batch:
            _device.refused[_place()] += 1
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 2.00 GiB (pretended)")


def _count(name, args, kwargs, near, made_far):
    chosen = tree_leaves(args[1:2]) if name in MAY_MIX and "index" in name else []
    masks = any(isinstance(leaf, Far) and leaf.dtype == torch.bool for leaf in chosen)
    down = (name == "_to_copy" and not made_far and kwargs.get("device") is not None) or (
        name == "copy_" and not isinstance(args[0], Far)
    )
    up = name in ("_to_copy", "copy_") and near and not down
    if name in WAITING or masks or down:
        _device.waits[_place()] += 1
    if up:
        _device.uploads[_place()] += 1
    _device.kernels += name not in NO_KERNEL


def _place():
    """Return the line of the package that asked."""
    frame = sys._getframe(2)
    while frame is not None:
        _, inside, file = frame.f_code.co_filename.rpartition("/expunge/")
        if inside:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
