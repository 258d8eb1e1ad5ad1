"""The same cells on a Ray cluster, whose machines share the folders of data and results."""

import socket
from collections.abc import Callable, Sequence
from typing import Any

from expunge.base.errors import SettingsError
from expunge.bench.cells import Cell
from expunge.bench.run import Report, Share, record_failure, run_cell
from expunge.compute.runtime import SILENT

LOCAL = "local"
SECONDS_TO_ANSWER = 5


def run_on_ray(cells: Sequence[Cell], address: str, share: Share, report: Report) -> None:
    """Run every cell as a Ray task with `share.threads` cores; one that dies is a failed cell, and the others go on.

    Args:
        cells: what is to be run; their folders and data must have the same paths on every machine.
        address: of a cluster, or "local" to start one on this machine with `share.jobs` tasks at a time.
        share: cores of a task.
        report: called when a cell has ended.

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
        work: Callable[[Cell, Share], Any] = ray.remote(num_cpus=cores, max_retries=0)(_work).remote
        running = {work(cell, share): cell for cell in cells}
        while running:
            done, _ = ray.wait(list(running))
            for reference in done:
                cell = running.pop(reference)
                report(cell, _result_of(ray, reference, cell))
    finally:
        ray.shutdown()


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
