"""The one place where train/eval flags and BatchNorm statistics are switched, and put back."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from torch import nn


class BatchNormMode(StrEnum):
    """What BatchNorm (and dropout) layers do while weights are edited."""

    FROZEN = "frozen"
    """Running statistics are used and stay as they are; dropout is off."""
    BATCH = "batch"
    """Training mode: each batch's own statistics are used and move the running ones; dropout is on."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` into eval mode for the block; every submodule gets its own flag back afterwards."""
    with _flags_kept(module):
        module.eval()
        yield


@contextmanager
def editing(module: nn.Module, batchnorm: BatchNormMode) -> Iterator[None]:
    """Put `module` into the mode that edits with `batchnorm`; every submodule gets its own flag back."""
    with _flags_kept(module):
        module.train(batchnorm is BatchNormMode.BATCH)
        yield


@contextmanager
def _flags_kept(module: nn.Module) -> Iterator[None]:
    flags = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training
