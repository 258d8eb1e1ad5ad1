import time

import pytest

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
