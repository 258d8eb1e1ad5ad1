"""Several processes on one edit: started here or by torchrun, joined by torch.distributed."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from expunge.base.errors import ExpungeWarning, ProcessError, SettingsError
from expunge.compute.devices import count_devices

PATIENCE = timedelta(minutes=2)
"""How long a process waits for the others' part of a step; one that takes longer counts as gone."""
SECONDS_TO_END, SECONDS_TO_NOTICE, SECONDS_BETWEEN_LOOKS = 30, 1, 0.05
TURN = "turn"
"""How often the first process has been at `follow`, in the store that all share."""
HERE, PLACE = "127.0.0.1", "EXPUNGE_PROCESSES"
"""Where the processes of one machine meet: the variable holds the port."""
RANK, LOCAL_RANK, WORLD, LOCAL_WORLD = "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"

_started = list[subprocess.Popen[bytes]]()


class Group:
    """The processes of torch.distributed's default group.

    Args:
        device: this process's own.
        store: what all of them share; that of the first process ends with it.
    """

    def __init__(self, device: torch.device, store: Store) -> None:
        self.rank, self.count, self.device = dist.get_rank(), dist.get_world_size(), device
        self._store, self._turns = store, 0
        self._place = device if device.type == "cuda" else torch.device("cpu")  # gloo adds up on the CPU

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, on whatever device, by its sum over all processes; those of one type go at once."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            joined = torch.cat([tensor.reshape(-1) for tensor in chosen])
            total = joined.to(self._place)
            with _loss_of_a_process():
                dist.all_reduce(total)
            for tensor, part in zip(chosen, total.split([tensor.numel() for tensor in chosen]), strict=True):
                tensor.copy_(part.view(tensor.shape))

    def agree(self, tensor: Tensor) -> Tensor:
        """Return what the first process has."""
        share = tensor.detach().clone() if self.rank == 0 else torch.zeros_like(tensor)
        number = share.to(torch.int64) if tensor.dtype == torch.bool else share
        self.sum([number])
        return number.to(tensor.dtype)

    def follow(self) -> None:
        """Go on once the first process has come here, however long it works on its own before."""
        self._turns += 1
        with _loss_of_a_process():
            if self.rank == 0:
                self._store.add(TURN, 1)
            while self._store.add(TURN, 0) < self._turns:
                time.sleep(SECONDS_BETWEEN_LOOKS)


def local_rank() -> int | None:
    """Return this process's number on its machine; None if it was not started as one of several."""
    number = os.environ.get(LOCAL_RANK)
    return None if number is None else int(number)


def start_processes(kind: str, devices: int, nodes: int) -> Group:
    """Start processes, or join those that torchrun started; each calls this and goes on from here.

    Each runs the command of this one, with its number in the environment. On CUDA it has the GPU of that number.

    Args:
        kind: of device, such as cuda.
        devices: processes on each machine.
        nodes: machines.

    Raises:
        SettingsError: there are fewer devices, or the others did not come.
    """
    wanted = f"{devices} of {kind} on {nodes} machines"
    if kind != "cpu" and devices > count_devices(kind):
        raise SettingsError("devices", wanted, f"{count_devices(kind)} on this machine")
    if local_rank() is None and nodes > 1:
        raise SettingsError(
            "nodes", "1, or a start with torchrun on each machine", f"{nodes}", f"torchrun --nnodes {nodes} ..."
        )
    try:
        device = torch.device(kind, local_rank() or 0) if kind == "cuda" else torch.device(kind)
        if kind == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // devices))
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # a wait that takes too long raises, and does not abort
        store = _while_all_live(partial(_join, "nccl" if kind == "cuda" else "gloo", devices))
    except (RuntimeError, ValueError) as error:
        _end(0)
        raise SettingsError("devices", wanted, str(error).splitlines()[0]) from error
    signal.signal(signal.SIGTERM, _interrupt)
    return Group(device, store)


def _while_all_live(join: Callable[[], Store]) -> Store:
    """Return what `join` returns in a thread of its own: torch waits minutes for a process that is gone.

    Raises:
        RuntimeError: a process that this one has started, or that has started it, is gone; or `join` raised it.
        ValueError: `join` raised it.
    """
    starter = os.getppid() if PLACE in os.environ else None  # read before it answers, so it is no other's number
    raised, stores = list[Exception](), list[Store]()

    def attempt() -> None:
        try:
            stores.append(join())
        except (RuntimeError, ValueError) as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)  # left behind where it waits
    thread.start()
    while thread.is_alive():
        thread.join(SECONDS_BETWEEN_LOOKS)
        if starter not in (None, os.getppid()) or any(process.poll() is not None for process in _started):
            thread.join(SECONDS_TO_NOTICE)  # it may have noticed too, and must not say so while Python ends
            raise RuntimeError("one of the processes ended before all had begun")
    for error in raised:
        raise error
    return stores[0]


def _join(backend: str, devices: int) -> Store:
    """Start the other processes, or find the first, form the group with all, and return the store that they share.

    Where torchrun has started them, it brings them together itself.
    """
    meeting = _start_others(devices) if local_rank() is None else _find_first(devices)
    store: Store
    if meeting is None:
        store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
    else:
        store, rank, count = meeting, local_rank() or 0, devices
        meeting.add("here", 1)
        while meeting.add("here", 0) < devices:  # without an end: a machine may be busy
            time.sleep(SECONDS_BETWEEN_LOOKS)
    dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=count)
    return store


def _find_first(devices: int) -> TCPStore | None:
    """Return where all meet, which the first process has opened before it started any other; None with torchrun.

    Raises:
        RuntimeError: it is gone.
    """
    if PLACE not in os.environ:
        return None
    port = int(os.environ[PLACE])
    try:
        socket.create_connection((HERE, port)).close()  # a store would try it again and again
    except OSError as error:
        raise RuntimeError("the first process ended before this one had begun") from error
    return TCPStore(HERE, port, devices, timeout=PATIENCE, wait_for_workers=False)


def _start_others(devices: int) -> TCPStore:
    """Run this command again for each of the other processes, which end with this one; return where all meet."""
    store = TCPStore(HERE, 0, devices, is_master=True, timeout=PATIENCE, wait_for_workers=False)
    common = {PLACE: str(store.port), WORLD: str(devices), LOCAL_WORLD: str(devices)}
    for number in range(1, devices):
        own = {**os.environ, **common, RANK: str(number), LOCAL_RANK: str(number)}
        _started.append(subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=own))  # noqa: S603 - this command
    os.environ.update(common, **{RANK: "0", LOCAL_RANK: "0"})
    atexit.register(_end)
    return store


def _end(seconds: float = SECONDS_TO_END) -> None:
    """Wait for the other processes, which have nothing left to do, and end those that take longer."""
    for process in _started:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()


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
