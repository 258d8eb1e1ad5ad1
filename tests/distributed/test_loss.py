"""What one process does when another is gone."""

import os
import signal
import socket
import time

import pytest
import torch

from expunge.base.errors import ExpungeWarning, ProcessError, SettingsError
from expunge.compute.distributed import HERE, LOCAL_RANK, PLACE, Group, _interrupt, start_processes


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
        Group(torch.device("cpu")).sum([torch.ones(3)])
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
