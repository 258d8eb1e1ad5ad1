"""Several processes on one edit, started and joined by Lightning Fabric."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from expunge.base.errors import ExpungeWarning, ProcessError, SettingsError, package_needed

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE", "MASTER_ADDR")
"""Variables of which whoever starts processes on several machines sets one; without, each would wait for the others."""


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


def start_processes(accelerator: str, devices: int, nodes: int) -> FabricProcesses:
    """Start processes, or join those that torchrun started; each calls this and goes on from here.

    Raises:
        SettingsError: Lightning Fabric is not installed, there are fewer devices, or nobody started other machines.
    """
    if nodes > 1 and not any(name in os.environ for name in LAUNCHERS):
        raise SettingsError(
            "nodes", "1, or a start with torchrun on each machine", f"{nodes}", f"torchrun --nnodes {nodes} ..."
        )
    with package_needed("lightning_fabric", "distributed", SettingsError):
        from lightning_fabric import Fabric  # noqa: PLC0415 - an optional extra
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.warn("told to end, as when another process is gone; the best state is kept", ExpungeWarning, stacklevel=2)
    raise KeyboardInterrupt


@contextmanager
def _loss_of_a_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's, still to come, would disturb the saving
        reason = str(error).splitlines()[0]
        raise ProcessError(
            "processes", "all of them to go on", f"one that is gone ({reason})", "see its own message above"
        ) from error
