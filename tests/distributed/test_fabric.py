"""What one process does when another is gone."""

import os
import signal

import pytest
import torch

pytest.importorskip("lightning_fabric")

from expunge.base.errors import ExpungeWarning, ProcessError
from expunge.compute.fabric import FabricProcesses, _interrupt


class Broken:
    """A fabric whose other process is gone."""

    global_rank, world_size, device = 0, 2, torch.device("cpu")

    def all_reduce(self, tensor, reduce_op):
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


def test_what_is_saved_after_a_loss_is_not_interrupted_by_the_launchers_signal():
    with pytest.raises(ProcessError, match=r"gone \(Connection closed by peer\)"):
        FabricProcesses(Broken()).sum([torch.ones(3)])
    os.kill(os.getpid(), signal.SIGTERM)
