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
from expunge.compute.devices import find_device, has_bfloat16
from expunge.compute.distributed import local_rank, start_processes
from expunge.compute.exactness import Float32, computing
from expunge.compute.processes import ALONE, Processes
from expunge.compute.sharing import Sharing

POOL_GIGABYTES = 8.0

Advance = Callable[[int], None]


def silently(units: int) -> None:
    """Advance where nobody watches."""


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
        yield silently


SILENT = Silent()


class Precision(StrEnum):
    """In what numbers matrices are multiplied; sums, weights and results are float32 in any case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """8 bits of mantissa: about twice as fast where the processor has instructions for it."""
    AUTO = "auto"
    """bfloat16 where the processor has instructions for it, otherwise float32."""


def find_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision, and what auto means on this device.

    >>> find_precision(Precision.BFLOAT16, torch.device("cpu")).value
    'bfloat16'
    """
    if precision is not Precision.AUTO:
        return precision
    return Precision.BFLOAT16 if has_bfloat16(device) else Precision.FLOAT32


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which linear and convolutional layers compute in `precision`.

    Rounded weights are not kept: under a caller's autocast they would outlive the step that changes the weights.
    """
    reduced = find_precision(precision, device) is Precision.BFLOAT16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=reduced, cache_enabled=False)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device, the number of images in one pass, the progress display, the memory to use, and who else works on it.

    Args:
        device: where tensors are.
        batch_size: images in one forward or backward pass, at most.
        progress: the display.
        memory_gigabytes: what activations and adversarial examples may take; None is no limit on activations.
        scratch: folder for what does not fit into memory; None: the system's own for temporary files.
        checkpoint: file that an edit by epochs of training writes after each, and goes on from; None: it begins anew.
        processes: those that work on the same edit.
        float32: what it means on a GPU that has TensorFloat-32.
        deterministic: whether the same seed is to give the same bits on a GPU, too, or else an error.
        sharing: divides work over images; remembers how many fit where memory once did not suffice.
        callbacks: functions that are told of every step, see `expunge.compute.callbacks`.

    >>> Runtime.on("cpu").device.type
    'cpu'
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 256
    progress: Progress = SILENT
    memory_gigabytes: float | None = None
    scratch: Path | None = None
    checkpoint: Path | None = None
    processes: Processes = ALONE
    float32: Float32 = Float32.TF32
    deterministic: bool = False
    callbacks: tuple[Callback, ...] = ()
    sharing: Sharing = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingsError("batch_size", "at least 1", str(self.batch_size))
        if self.memory_gigabytes is not None and not self.memory_gigabytes > 0:
            raise SettingsError("memory_gigabytes", "above 0", str(self.memory_gigabytes))
        object.__setattr__(self, "device", _find(self.device))
        object.__setattr__(self, "sharing", Sharing(self.batch_size, self.processes))

    @property
    def leads(self) -> bool:
        """Return whether this is the process that writes files and shows progress."""
        return self.processes.rank == 0

    def computing(self) -> AbstractContextManager[None]:
        """Return a context in which torch computes as this runtime says.

        With `deterministic`, the same seed gives the same weights, bit for bit, on the same kind of GPU with the same
        versions and batch size, as long as memory suffices. On a CPU it does so anyway, with as many threads.

        Raises:
            SettingsError: `deterministic`, and an operation of the classifier can't be; when the block ends.
        """
        return computing(self.float32, deterministic=self.deterministic)

    @property
    def pool_bytes(self) -> int:
        """Return how many bytes of adversarial examples are held in memory; more of them go to a file."""
        return int((self.memory_gigabytes or POOL_GIGABYTES) / 2 * 2**30)

    @classmethod
    def on(
        cls,
        device: str = "auto",
        *,
        batch_size: int = 256,
        progress: Progress = SILENT,
        float32: Float32 = Float32.TF32,
        deterministic: bool = False,
    ) -> "Runtime":
        """Return a runtime on a named device; "auto" takes a GPU, of NVIDIA or of Apple, where there is one.

        Raises:
            SettingsError: the device is unknown or absent.
        """
        if device == "cuda" and local_rank() is not None:
            device = f"cuda:{local_rank()}"  # one of several processes has nothing to do with the others' GPUs
        return cls(_find(device), batch_size, progress, float32=float32, deterministic=deterministic)

    def with_processes(self, devices: int = 1, nodes: int = 1) -> "Runtime":
        """Return this runtime as one of several processes, which are started if torchrun has not done so.

        Only the first shows its progress.

        Args:
            devices: processes on each machine, each with a device of its own (on a CPU: a share of the cores).
            nodes: machines; on more than one, start with torchrun.

        Raises:
            SettingsError: there are fewer devices, or the other processes did not come.
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


def _find(device: str | torch.device) -> torch.device:
    try:
        return find_device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        known = "a device that this machine has"
        if reason.startswith("Expected one of"):  # torch's list of all kinds that there are anywhere
            raise SettingsError("device", known, str(device), "such as cpu, cuda or cuda:1") from error
        raise SettingsError("device", known, f"{device} ({reason})") from error
