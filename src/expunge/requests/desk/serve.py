"""Runs the desk on this machine."""

import os
from collections.abc import Sequence
from pathlib import Path

from expunge.base.errors import LedgerError, SettingsError, package_needed
from expunge.requests.desk.app import LOOPBACK, make_app
from expunge.requests.desk.process import IDLE_SECONDS, Worker
from expunge.requests.desk.web import Desk

with package_needed("uvicorn", "serve", LedgerError):
    import uvicorn

REQUEST_LINE_BYTES = 16384


def serve(folder: Path, *, host: str, port: int, names: Sequence[str], against: str | None, device: str) -> None:
    """Serve the desk of a project until it is stopped; the worker finishes what it is doing.

    Args:
        folder: of the project.
        host: address to listen at.
        port: of it.
        names: further names that the server goes by, as behind a proxy.
        against: source of the training images; None for the project's data.
        device: where the worker computes.

    Raises:
        LedgerError: there is no project, or something in it was changed.
        SettingsError: the port is taken.
    """
    os.umask(0o077)
    desk = Desk.open(folder, worker=Worker(folder, device, IDLE_SECONDS), against=against)
    app = make_app(desk, [*LOOPBACK, *names])
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=REQUEST_LINE_BYTES,
    )
    try:
        uvicorn.Server(config).run()
    except SystemExit as error:
        raise SettingsError("port", "a port that is free", str(port), "another program listens there") from error
