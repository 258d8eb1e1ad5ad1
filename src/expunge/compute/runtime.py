"""Where the work runs, and who watches it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import torch

from expunge.base.errors import SettingsError
from expunge.compute.callbacks import Callback
from expunge.compute.fabric import start_processes
from expunge.compute.processes import ALONE, Processes

POOL_GIGABYTES = 8.0

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows how far a phase has come."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a phase of `total` units (None: unknown); the block calls what it gets with each unit done."""
        ...


class Silent:
    """Progress that nobody watches."""

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda units: None


SILENT = Silent()


class Precision(StrEnum):
    """In what numbers matrices are multiplied; sums, weights and results are float32 in any case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """8 bits of mantissa: about twice as fast where the processor has instructions for it."""
    AUTO = "auto"
    """bfloat16 where the processor has instructions for it, otherwise float32."""


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which linear and convolutional layers compute in `precision`."""
    reduced = precision is Precision.BFLOAT16 or (precision is Precision.AUTO and has_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=reduced)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the processor has instructions for bfloat16; without, it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device, the number of images in one pass, the progress display, the memory to use, and who else works on it.

    Args:
        device: where tensors are.
        batch_size: images in one forward or backward pass, at most.
        progress: the display.
        memory_gigabytes: what activations and adversarial examples may take; None is no limit on activations.
        scratch: folder for what does not fit into memory; None: the system's own for temporary files.
        processes: those that work on the same edit.
        callbacks: functions that are told of every step, see `expunge.compute.callbacks`.

    >>> Runtime.on("cpu").device.type
    'cpu'
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 256
    progress: Progress = SILENT
    memory_gigabytes: float | None = None
    scratch: Path | None = None
    processes: Processes = ALONE
    callbacks: tuple[Callback, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingsError("batch_size", "at least 1", str(self.batch_size))
        if self.memory_gigabytes is not None and not self.memory_gigabytes > 0:
            raise SettingsError("memory_gigabytes", "above 0", str(self.memory_gigabytes))

    @property
    def leads(self) -> bool:
        """Return whether this is the process that writes files and shows progress."""
        return self.processes.rank == 0

    @property
    def pool_bytes(self) -> int:
        """Return how many bytes of adversarial examples are held in memory; more of them go to a file."""
        return int((self.memory_gigabytes or POOL_GIGABYTES) / 2 * 2**30)

    @classmethod
    def on(cls, device: str = "auto", *, batch_size: int = 256, progress: Progress = SILENT) -> "Runtime":
        """Return a runtime on a named device; "auto" takes a GPU where there is one.

        Raises:
            SettingsError: the device is unknown or absent.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=device)
            return cls(torch.device(device), batch_size, progress)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise SettingsError("device", "a device that this machine has", f"{device} ({reason})") from error

    def with_processes(self, devices: int = 1, nodes: int = 1) -> "Runtime":
        """Return this runtime as one of several processes, which are started if torchrun has not done so.

        Only the first shows its progress.

        Args:
            devices: processes on each machine, each with a device of its own (on a CPU: a share of the cores).
            nodes: machines; on more than one, start with torchrun.

        Raises:
            SettingsError: Lightning Fabric is not installed, or there are fewer devices.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
            nodes = int(os.environ["WORLD_SIZE"]) // devices
        if devices * nodes == 1:
            return self
        processes = start_processes(self.device.type, devices, nodes)
        return replace(
            self,
            device=processes.device,
            progress=self.progress if processes.rank == 0 else SILENT,
            processes=processes,
        )
