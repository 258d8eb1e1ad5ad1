import sys
import threading

import pytest

from expunge.compute.bars import Bars, Lines


@pytest.fixture
def lines():
    """Return progress in lines on a clock that a test sets, the clock, and what was said."""
    clock, said = [0.0], []
    return Lines(lambda: clock[0], said.append), clock, said


def test_a_short_phase_says_nothing(lines):
    progress, clock, said = lines
    with progress.phase("train", 10) as advance:
        for _ in range(10):
            clock[0] += 2.9
            advance(1)
    assert said == []


def test_a_long_phase_says_every_30_seconds_how_long_the_rest_takes(lines):
    progress, clock, said = lines
    with progress.phase("train", 10) as advance:
        for _ in range(10):
            clock[0] += 20
            advance(1)
    assert said == [
        "train: 2 of 10, 40 s so far, about 2 min 40 s left",
        "train: 4 of 10, 1 min 20 s so far, about 2 min 0 s left",
        "train: 6 of 10, 2 min 0 s so far, about 1 min 20 s left",
        "train: 8 of 10, 2 min 40 s so far, about 40 s left",
        "train: 10 of 10, 3 min 20 s so far, about 0 s left",
        "train: done in 3 min 20 s",
    ]


def test_a_phase_of_unknown_length_says_what_is_done(lines):
    progress, clock, said = lines
    with progress.phase("search", None) as advance:
        clock[0] += 31
        advance(7)
    assert said == ["search: 7 done, 31 s so far", "search: done in 31 s"]


def test_nothing_is_drawn_where_there_is_no_terminal(capsys):
    with Bars().phase("train", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_bars_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with Bars().phase("train", 3) as advance:
        advance(3)
    assert "train" in capsys.readouterr().err


def test_a_step_that_takes_long_is_told_of_before_it_is_over():
    told, said = threading.Event(), []
    lines = Lines(say=lambda line: (said.append(line), told.set()), seconds_between=0.02)
    with lines.phase("edit", 80):
        assert told.wait(30), "nothing was said, although no step was over"
    assert said[0].startswith("edit: 0 of 80, ")
    with pytest.raises(KeyboardInterrupt), lines.phase("edit", 80):
        raise KeyboardInterrupt
    left = [each for each in threading.enumerate() if each.name == "progress of edit"]
    for thread in left:
        thread.join(30)
    assert not any(thread.is_alive() for thread in left)
