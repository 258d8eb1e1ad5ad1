"""SIGTERM saves what there is, as Ctrl-C does, and a second one ends the command at once."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from expunge.cli import termination
from expunge.cli.termination import Termination, terminable
from expunge.methods import engine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")


def test_a_run_that_is_told_to_end_saves_its_best_state(expunge, job, monkeypatch):
    looked, look = iter(range(100)), engine._Judge.look

    def told(*arguments, **options):
        if next(looked) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return look(*arguments, **options)

    monkeypatch.setattr(engine._Judge, "look", told)
    done = expunge(*job.flags, "--forget-random", 8, "--out", "edited")
    assert done.code == 143, done.err
    assert "interrupted; the best state was kept" in done.out
    assert json.loads((job.folder / "edited" / "result.json").read_text())["stop_reason"] == "interrupted"
    assert not (job.folder / "edited" / ".expunge.lock").exists()


def test_a_command_without_a_state_to_save_ends_with_143(expunge, monkeypatch):
    monkeypatch.setattr("expunge.cli.group", lambda **_: os.kill(os.getpid(), signal.SIGTERM))
    done = expunge("methods")
    assert done.code == 143
    assert "interrupted: there was no edited state to save" in done.err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_handler_is_there_in_the_block_only():
    with terminable() as told:
        assert signal.getsignal(signal.SIGTERM) == told.hear
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # at once, so it is the same
        assert told.asked
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("forked", [True, False])
def test_a_second_signal_and_one_to_a_fork_end_the_process(monkeypatch, forked):
    sent = []
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append(number))
    monkeypatch.setattr(signal, "signal", lambda number, handler: sent.append(handler))
    monkeypatch.setattr(termination, "SECONDS_FOR_ONE", 0)
    told = Termination()
    if forked:
        told._process += 1
    else:
        told.asked_at = time.monotonic()
    told.hear(signal.SIGTERM, None)
    assert sent == [signal.SIG_DFL, signal.SIGTERM]


def test_a_handler_of_someone_else_stays():
    def other(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, other)
    try:
        with terminable():
            assert signal.getsignal(signal.SIGTERM) is other
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_have_no_handlers():
    found = []

    def look():
        with terminable():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]
