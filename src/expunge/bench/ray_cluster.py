"""The same cells on a Ray cluster, whose machines share the folders of data and results."""

import socket
from collections.abc import Sequence
from typing import Any

from expunge.base.errors import SettingsError
from expunge.bench.cells import Cell
from expunge.bench.run import CellEnded, Share, record_failure, run_cell
from expunge.compute.runtime import SILENT

LOCAL = "local"
SECONDS_TO_ANSWER = 5


def run_on_ray(cells: Sequence[Cell], address: str, share: Share, ended: CellEnded) -> None:
    """Run every cell as a Ray task with `share.threads` cores; one that dies is a failed cell, and the others go on.

    Args:
        cells: what is to be run; their folders and data must have the same paths on every machine.
        address: of a cluster, or "local" to start one on this machine with `share.jobs` tasks at a time.
        share: cores of a task.
        ended: is called when a cell has ended.

    Raises:
        SettingsError: Ray is not installed, or there is no cluster at that address.
    """
    _check_address(address)
    try:
        import ray  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise SettingsError("ray", "an installed package", "none", "pip install expunge[ray]") from error
    cores = share.threads or 1
    _connect(ray, address, share)
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        work = ray.remote(max_retries=0)(_work)
        running = dict[Any, Cell]()
        for cell in cells:
            part = share_of_gpus(cell.job.device, gpus, share.jobs)
            running[work.options(num_cpus=cores, num_gpus=part).remote(cell, share)] = cell
        while running:
            done, _ = ray.wait(list(running))
            for reference in done:
                cell = running.pop(reference)
                ended(cell, _result_of(ray, reference, cell))
    finally:
        ray.shutdown()


def share_of_gpus(device: str, gpus: int, jobs: int) -> float:
    """Return how many GPUs, or which part of one, the task of a cell on `device` asks Ray for.

    Ray shows a task only those that it asked for: "cuda" is a GPU of its own, and without any it would be on the CPU.

    Raises:
        SettingsError: the cell asks for a GPU, and the cluster has none.

    >>> share_of_gpus("auto", 2, 4), share_of_gpus("auto", 0, 4), share_of_gpus("cpu", 2, 1)
    (0.5, 0.0, 0.0)
    """
    if device.startswith("cuda") and not gpus:
        raise SettingsError("device", "a GPU in the Ray cluster", f"{device}, and none there")
    if device != "auto" and not device.startswith("cuda"):
        return 0.0
    return min(1.0, gpus / jobs)


def _check_address(address: str) -> None:
    """Check that something listens at HOST:PORT: Ray itself tries for minutes, then ends the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise SettingsError("--ray", "HOST:PORT of a Ray cluster, auto, or local", f"{address} ({error})") from error


def _connect(ray: Any, address: str, share: Share) -> None:  # noqa: ANN401 - Ray is optional
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, num_cpus=share.jobs * (share.threads or 1), include_dashboard=False)
        else:
            ray.init(address=address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        rule = "HOST:PORT of a Ray cluster, auto, or local"
        raise SettingsError("--ray", rule, f"{address} ({error})") from error


def _work(cell: Cell, share: Share) -> str | None:
    return run_cell(cell, share, SILENT)


def _result_of(ray: Any, reference: Any, cell: Cell) -> str | None:  # noqa: ANN401
    try:
        error: str | None = ray.get(reference)
    except ray.exceptions.RayError as died:
        return record_failure(cell, f"its worker died: {died}")
    return error
