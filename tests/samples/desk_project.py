"""A project for the desk, and a server with its worker, in processes of their own, as people start them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import expunge
from expunge.requests.desk.people import ROLES, give_role, invite
from expunge.requests.desk.store import Store
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing

SOURCE = Path(expunge.__file__).parents[1]
NETWORK = """
import os
import time
from pathlib import Path

import torch
from torch import nn

from expunge.task.outcome import Health

if "DESK_TAKES_ANY_EDIT" in os.environ:  # so small a classifier is ruined by most edits, and would be left as it was
    Health.ruined = False
HOLD = Path(__file__).with_name("hold")


class Waiting(nn.Module):
    # Waits as long as the file `hold` is there, so that a test can look at an edit that is under way.
    def forward(self, x):
        while HOLD.exists():
            time.sleep(0.02)
        return x


def build():
    return nn.Sequential(
        Waiting(), nn.Flatten(), nn.Linear(3 * 6 * 5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)
    )
"""


@dataclass
class DeskServer:
    """`expunge requests serve` for a project; `inputs` is the folder of its network's module."""

    folder: Path
    inputs: Path
    port: int = 0
    process: subprocess.Popen | None = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def hold(self):
        return self.inputs / "hold"

    def environment(self):
        paths = os.pathsep.join(map(str, (SOURCE, self.inputs)))
        return {
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "DESK_TAKES_ANY_EDIT": "1",
        }

    def start(self):
        """Start the server and wait until it answers."""
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        words = [sys.executable, "-m", "expunge", "requests", "serve", "--port", str(self.port), "--device", "cpu"]
        self.process = subprocess.Popen(
            [*words, "--project", str(self.folder)], env=self.environment(), stdout=subprocess.DEVNULL
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.address}/api/v1/openapi.json", timeout=1).close()  # noqa: S310
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, "the server has ended"
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server does not answer")

    def kill(self):
        """Kill the server, and nothing else."""
        self.process.kill()
        self.process.wait()

    def workers(self):
        """Return the process ids of the project's workers."""
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = place.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"expunge.requests.desk.work" in words and str(self.folder).encode() in words:
                found.append(int(place.parent.name))
        return found

    def kill_worker(self):
        """Kill the worker, and return whether there was one."""
        found = self.workers()
        for number in found:
            os.kill(number, signal.SIGKILL)
        return bool(found)

    def invite(self, name, role):
        """Return a link that signs somebody in."""
        if Ledger.open(self.folder).state.people.get(name) != role:  # else an edit under way need not be waited for
            with writing(self.folder, wait_seconds=100) as ledger:
                give_role(ledger, name, ROLES[role])
        store = Store.open(self.folder, Ledger.open(self.folder).keys)
        return f"{self.address}/login?token={invite(store, name, hours=1)}"

    def stop(self):
        """End server and worker."""
        self.hold.unlink(missing_ok=True)
        self.kill()
        self.kill_worker()
