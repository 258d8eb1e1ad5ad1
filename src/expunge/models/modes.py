"""The one place where train/eval flags, BatchNorm statistics, hooks and torch's modes are switched, and put back."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import StrEnum
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
AUTOCASTING = ("cpu", "cuda", "mps", "xpu")

ForwardHook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


class BatchNormMode(StrEnum):
    """What BatchNorm (and dropout) layers do while weights are edited."""

    FROZEN = "frozen"
    """Running statistics are used and stay as they are; dropout is off."""
    BATCH = "batch"
    """Training mode: each batch's own statistics are used and move the running ones; dropout is on."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` into eval mode for the block; every submodule gets its own flag back afterwards."""
    with _training(module, on=False):
        yield


@contextmanager
def editing(module: nn.Module, batchnorm: BatchNormMode) -> Iterator[None]:
    """Put `module` into the mode that edits with `batchnorm`; every submodule gets its own flag back."""
    with _training(module, on=batchnorm is BatchNormMode.BATCH):
        yield


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, ForwardHook]]) -> Iterator[None]:
    """Call a function after each forward pass of a module for the block, with the module, its inputs and its output.

    What the function returns, if not None, takes the output's place.
    """
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradients_in_order(module: nn.Module) -> AbstractContextManager[None]:
    """Lay out anew in memory, for the block, what flows back into each BatchNorm layer that is in eval mode.

    On a CPU, torch (2.15 at least) takes one image's gradient for channels-last where it comes from transposed maps,
    as before the tokens of LeViT, and gets it wrong.
    """
    norms = (part for part in module.modules() if isinstance(part, nn.BatchNorm2d) and not part.training)
    return hooked((part, _order_gradient) for part in norms)


def _order_gradient(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.Tensor.contiguous)


def in_ordinary_modes(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function compute as if its caller had switched nothing.

    Gradients are on, inference mode and autocast off, new tensors are float32; all come back afterwards.
    """

    @functools.wraps(function)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        number_format = torch.get_default_dtype()
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(mode=False))
            stack.enter_context(torch.enable_grad())
            for device in AUTOCASTING:
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            stack.callback(torch.set_default_dtype, number_format)
            torch.set_default_dtype(torch.float32)
            return function(*args, **kwargs)

    return wrapped


@contextmanager
def _training(module: nn.Module, *, on: bool) -> Iterator[None]:
    """Switch training mode on or off for the block; flags that are as they should be are only read, which is quick."""
    flags = [(part, part.training) for part in module.modules()]
    try:
        if any(training is not on for _, training in flags):
            module.train(on)
        yield
    finally:
        for part, training in flags:
            if part.training is not training:
                part.training = training
