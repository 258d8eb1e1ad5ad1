"""What a device is called, what it can do, and how much memory it took: no other module asks which kind it is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

AUTO = "auto"
CPU = torch.device("cpu")
PREFERRED = ("cuda", "mps")
"""Kinds of devices, the preferred one first; a CPU otherwise."""
BFLOAT16_OF_CPU = ("avx512_bf16", "amx_bf16", "amx_tile", "bf16")
LIMIT_OF_CPU = "ONEDNN_MAX_CPU_ISA"
"""Environment variable by which people keep the library of convolutions from newer instructions."""
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of that name by its full name, such as cuda:0 for cuda; "auto" is the preferred one.

    Two names of one device compare as different, and a classifier would be copied from one to the other.

    Raises:
        RuntimeError: there is no such device.
        AssertionError: torch was built without it.

    >>> find_device("cpu")
    device(type='cpu')
    """
    if name == AUTO:
        name = next((kind for kind in PREFERRED if getattr(torch, kind).is_available()), "cpu")
    return torch.empty(0, device=name).device


def count_devices(name: str) -> int:
    """Return how many devices there are of the kind that `name` says; "auto" is the preferred one, a CPU is none.

    >>> count_devices("cpu")
    0
    """
    kind = find_device(AUTO).type if name == AUTO else name.partition(":")[0]
    return 0 if kind == "cpu" else int(torch.get_device_module(kind).device_count())


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the processor has instructions for bfloat16; without, it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and os.environ.get(LIMIT_OF_CPU, "").upper() not in WITHOUT_BFLOAT16:
        found = _capabilities_of_cpu()
        return any(found.get(name, False) for name in BFLOAT16_OF_CPU)
    return False


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of `device` for the block, since layers know no other.

    They are put back afterwards.

    >>> with seeded(0):
    ...     torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(0)).item()
    True
    """
    with generators_kept(device):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


@contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Put torch's global generators of the CPU and of `device` back after the block."""
    apple = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng([device.index] if device.type == "cuda" else [], device_type="cuda"):
        try:
            yield
        finally:
            if apple is not None:
                torch.mps.set_rng_state(apple)


def wait_for(device: torch.device) -> None:
    """Wait until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu":
        torch.get_device_module(device).synchronize()


def forget_peak(device: torch.device) -> None:
    """Measure the peak of the device's memory from now on; that of a CPU is always the whole process's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Return the most memory that was taken: of the GPU, or of this process; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def release_memory() -> None:
    """Give what torch keeps for later back to the device."""
    for kind in PREFERRED:
        if getattr(torch, kind).is_available():
            getattr(torch, kind).empty_cache()


def _capabilities_of_cpu() -> dict[str, bool]:
    """Return what torch knows of the processor; before 2.11 it told only of two of the instructions asked for here."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    asked = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_tile": "_is_amx_tile_supported"}
    return {name: bool(getattr(torch.cpu, ask, bool)()) for name, ask in asked.items()}
