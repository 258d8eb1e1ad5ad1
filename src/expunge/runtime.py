"""Where the work runs, what it costs, and who watches it."""

import logging
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from expunge.errors import ExpungeWarning, ProcessError, SettingsError
from expunge.processes import ALONE, Processes
from expunge.sharing import Sharing

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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

    >>> Runtime.on("cpu").device.type
    'cpu'
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 256
    progress: Progress = SILENT
    memory_gigabytes: float | None = None
    scratch: Path | None = None
    processes: Processes = ALONE

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

    def joined(self, devices: int = 1, nodes: int = 1) -> "Runtime":
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
        processes = _start_processes(self.device.type, devices, nodes)
        return replace(
            self,
            device=processes.device,
            progress=self.progress if processes.rank == 0 else SILENT,
            processes=processes,
        )


class FabricProcesses:
    """Processes that Lightning Fabric holds together."""

    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric
        self.rank, self.count, self.device = fabric.global_rank, fabric.world_size, fabric.device

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; those of one type go at once."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            joined = torch.cat([tensor.reshape(-1) for tensor in chosen])
            with _loss_of_a_process():
                total = cast(Tensor, self._fabric.all_reduce(joined, reduce_op="sum"))
            for tensor, part in zip(chosen, total.split([tensor.numel() for tensor in chosen]), strict=True):
                tensor.copy_(part.view(tensor.shape))

    def agree(self, tensor: Tensor) -> Tensor:
        """Return what the first process has."""
        share = tensor.detach().clone() if self.rank == 0 else torch.zeros_like(tensor)
        number = share.to(torch.int64) if tensor.dtype == torch.bool else share
        self.sum([number])
        return number.to(tensor.dtype)


def _start_processes(accelerator: str, devices: int, nodes: int) -> FabricProcesses:
    try:
        from lightning_fabric import Fabric  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        hint = "pip install 'expunge[distributed]'"
        raise SettingsError("devices", "Lightning Fabric for several processes", "none installed", hint) from error
    try:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, strategy="ddp")
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise SettingsError("devices", f"{devices} of {accelerator} on {nodes} machines", str(error)) from error
    signal.signal(signal.SIGTERM, _interrupt)
    return FabricProcesses(fabric)


def _interrupt(number: int, frame: object) -> None:
    """Let the best state be saved when the launcher ends this process because another one is gone."""
    warnings.warn("told to end, as when another process is gone; the best state is kept", ExpungeWarning, stacklevel=2)
    raise KeyboardInterrupt


@contextmanager
def _loss_of_a_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ProcessError(
            "processes", "all of them to go on", f"one that is gone ({reason})", "see its own message above"
        ) from error


@dataclass(frozen=True, slots=True)
class Cost:
    """What an edit took.

    Args:
        seconds: wall time from the first phase to the end.
        seconds_by_phase: the same by phase; what is left is set-up.
        gradient_evaluations: images through one forward and one backward pass.
        peak_memory_bytes: of the GPU during the edit, or of the whole process so far on a CPU.
        examples: adversarial examples made.
        examples_reached: how many of them the classifier takes for their target.
        batch_size: images in one pass at the end, fewer than at the start where memory did not suffice.
    """

    seconds: float
    seconds_by_phase: dict[str, float]
    gradient_evaluations: int
    peak_memory_bytes: int
    examples: int = 0
    examples_reached: int = 0
    batch_size: int = 0


class CostMeter:
    """Adds up what an edit takes, phase by phase; one meter an edit."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.sharing = Sharing(runtime.batch_size, runtime.processes)
        self._started = time.perf_counter()
        self._by_phase: dict[str, float] = {}
        self._gradients = 0
        self._examples = self._reached = 0
        if runtime.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(runtime.device)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Time the block as `name` and show its progress."""
        started = time.perf_counter()
        try:
            with self.runtime.progress.phase(name, total) as advance:
                yield advance
        finally:
            if self.runtime.device.type == "cuda":
                torch.cuda.synchronize(self.runtime.device)
            self._by_phase[name] = self._by_phase.get(name, 0.0) + time.perf_counter() - started

    def add_gradients(self, images: int) -> None:
        """Count `images` that went through one forward and one backward pass."""
        self._gradients += images

    def add_examples(self, made: int, reached: int) -> None:
        """Count adversarial examples, and how many of them reached their target."""
        self._examples += made
        self._reached += reached

    @property
    def seconds(self) -> float:
        """Return the seconds since the meter was made."""
        return time.perf_counter() - self._started

    def cost(self) -> Cost:
        """Return what has been spent so far."""
        memory = _peak_memory_bytes(self.runtime.device)
        return Cost(
            self.seconds,
            dict(self._by_phase),
            self._count_all_gradients(),
            memory,
            self._examples,
            self._reached,
            self.sharing.batch_size,
        )

    def _count_all_gradients(self) -> int:
        total = torch.tensor(self._gradients, device=self.runtime.device)
        with suppress(ProcessError):
            self.runtime.processes.sum([total])
        return int(total)


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
