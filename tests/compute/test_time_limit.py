import time
from contextlib import contextmanager

import pytest

from expunge.compute import time_limit
from expunge.compute.runtime import SILENT
from expunge.compute.time_limit import TimedProgress, TimeUp
from expunge.methods import METHODS
from expunge.methods.unlearn import unlearn
from expunge.task.task import Limits, StopReason


def test_a_phase_ends_at_the_first_count_after_the_time_and_the_steps_do_not():
    over = TimedProgress(SILENT, time.perf_counter() - 1)
    with over.phase("edit", 3) as advance:
        advance(1)
    with pytest.raises(TimeUp), over.phase("invert", 3) as advance:
        advance(1)
    with TimedProgress(SILENT, time.perf_counter() + 60).phase("invert", 3) as advance:
        advance(1)


@pytest.mark.parametrize("method", ["least-change", "l2ul", "ruago"])
def test_a_limit_that_is_over_in_the_first_phase_leaves_the_classifier_as_it_was(trained, rows, method):
    assert method in METHODS
    edit = unlearn(trained, rows, method=method, limits=Limits(seconds=1e-9))
    assert edit.stop_reason is StopReason.TIME_LIMIT
    assert edit.steps <= 1
    if edit.steps == 0:
        assert edit.classifier.sha256() == trained.sha256()
    assert edit.goal_achieved < 1


SMALL = {
    "least-change": {"surrogates": {"mixes": 8, "procedural": 8, "inverted": 8}},
    "l2ul": {"attack": {"targets_per_row": 1, "steps": 2}},
}
PHASES = {"least-change": ("invert", "curvature", "answers"), "l2ul": ("attack", "importance")}


class Late:
    """A display during which the time is over as soon as a phase of that name counts; it notes all names."""

    def __init__(self, monkeypatch, name=None):
        self.names, self._name, self._patch = [], name, monkeypatch

    @contextmanager
    def phase(self, name, total):
        self.names.append(name)

        def advance(units):
            if name == self._name:
                self._patch.setattr(time_limit.time, "perf_counter", lambda: float("inf"))

        yield advance


@pytest.mark.parametrize(
    ("method", "phase"), [(method, phase) for method, phases in PHASES.items() for phase in phases]
)
def test_an_edit_ends_in_the_phase_in_which_its_time_is_over(trained, rows, method, phase, monkeypatch):
    late = Late(monkeypatch, phase)
    edit = unlearn(trained, rows, method=method, limits=Limits(steps=3, seconds=1e6), progress=late, **SMALL[method])
    assert edit.stop_reason is StopReason.TIME_LIMIT
    assert late.names[-1] == phase
    assert edit.classifier.sha256() == trained.sha256()
