"""The worker as the server sees it: whether one is at work, and how one is started. Needs no torch."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from expunge.base.disk import PRIVATE
from expunge.requests.place import DESK_FOLDER

MODULE = "expunge.requests.desk.work"
WORKER_LOCK = "worker.lock"
LOG_FILE = "worker.log"
IDLE_SECONDS = 300.0


@dataclass(slots=True)
class Worker:
    """Starts a worker process for a project where there is work and none is there.

    Args:
        folder: of the project.
        device: where it computes.
        idle: seconds without a job after which it ends.
    """

    folder: Path
    device: str = "auto"
    idle: float = IDLE_SECONDS
    process: "subprocess.Popen[bytes] | None" = None

    def is_at_work(self) -> bool:
        """Return whether a worker holds its lock, whichever server started it, or was just started by this one."""
        if self.process is not None and self.process.poll() is None:
            return True
        lock = FileLock(self.folder / DESK_FOLDER / WORKER_LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def ensure(self) -> None:
        """Start a worker unless one is there. It has its own session, so that it outlives the server and Ctrl-C."""
        if self.is_at_work():
            return
        log = os.open(self.folder / DESK_FOLDER / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this Python, our own module
                [sys.executable, "-m", MODULE, str(self.folder), str(self.idle), self.device],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
