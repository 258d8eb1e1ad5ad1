"""How exactly a GPU computes in float32, and whether the same seed gives the same bits: torch's global switches."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import torch

from expunge.base.errors import SettingsError

WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it, cuBLAS may add up in another order each time."""


class Float32(StrEnum):
    """What "float32" means on a GPU that has TensorFloat-32, numbers of its range with 10 bits of mantissa for 23."""

    TF32 = "tf32"
    """Convolutions of passes that are differentiated use TensorFloat-32; all else is IEEE float32."""
    IEEE = "ieee"
    """IEEE float32 everywhere."""


@contextmanager
def computing(float32: Float32, *, deterministic: bool) -> Iterator[None]:
    """Compute so in the block, matrix products in IEEE float32 in any case; torch's switches are put back.

    Raises:
        SettingsError: `deterministic`, and an operation of the classifier can't be.
    """
    with _float32(tf32=float32 is Float32.TF32), _repeatable(wanted=deterministic):
        yield


@contextmanager
def exactly() -> Iterator[None]:
    """Compute in IEEE float32 in the block: what is compared, such as answers before and after a small step."""
    with _float32(tf32=False):
        yield


@contextmanager
def _float32(*, tf32: bool) -> Iterator[None]:
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


@contextmanager
def _repeatable(*, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    os.environ.setdefault(*WORKSPACE)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        found = str(error).splitlines()[0]
        raise SettingsError("deterministic", "operations that can be repeated", found, "leave it out") from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)
        torch.backends.cudnn.benchmark = benchmark
