"""What one process does when another is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from expunge.base.errors import ExpungeWarning, ProcessError, SettingsError
from expunge.compute.distributed import HERE, LOCAL_RANK, PLACE, Group, _interrupt, start_processes

PAIR = Path(__file__).with_name("pair.py")
SOURCES = Path(__file__).resolve().parents[2] / "src"
LOST, NOT_MET = "ProcessError", "SettingsError"
POINTS = {
    **dict.fromkeys(("begin:1", "before:0", "before:1"), (NOT_MET,)),
    **dict.fromkeys(("within:0", "within:1", "after:0", "after:1"), (NOT_MET, LOST)),
    **dict.fromkeys(("between:0", "between:1", "in:0", "in:1"), (LOST,)),
    **dict.fromkeys(("end:0", "end:1"), (LOST, "")),
}
"""At which one of two is killed, with its rank; and what the other one may say."""
SECONDS_TO_END = 30


def fail(tensor):
    raise RuntimeError("Connection closed by peer\nat some line")


@pytest.fixture(autouse=True)
def as_launched():
    """Answer SIGTERM as a started process does, for one test."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_launchers_signal_interrupts_once():
    with pytest.warns(ExpungeWarning, match="best state is kept"), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_saved_after_a_loss_is_not_interrupted_by_the_launchers_signal(monkeypatch):
    for name, answer in (("get_rank", lambda: 0), ("get_world_size", lambda: 2), ("all_reduce", fail)):
        monkeypatch.setattr(torch.distributed, name, answer)
    with pytest.raises(ProcessError, match=r"gone \(Connection closed by peer\)"):
        Group(torch.device("cpu"), torch.distributed.HashStore()).sum([torch.ones(3)])
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_process_whose_first_one_is_gone_does_not_look_for_it(monkeypatch):
    with socket.socket() as free:
        free.bind((HERE, 0))
        port = free.getsockname()[1]
    for name, value in ((LOCAL_RANK, "1"), (PLACE, str(port))):
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    with pytest.raises(SettingsError, match="the first process ended before this one had begun"):
        start_processes("cpu", 2, 1)
    assert time.monotonic() - begun < 5


@pytest.fixture(scope="module")
def tries():
    """Return what became of two processes, by the point at which one was killed and its rank."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, PAIR, *POINTS], env=environment, stdout=subprocess.PIPE, text=True, timeout=600, check=True
    )
    lines = (line for line in done.stdout.splitlines() if line.startswith("{"))  # an older gloo prints lines of its own
    return dict(zip(POINTS, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("point", POINTS)
def test_one_of_two_ends_soon_when_the_other_is_killed(tries, point):
    [told] = tries[point]["told"]
    assert told["error"] in POINTS[point]
    assert tries[point]["seconds"] < SECONDS_TO_END
