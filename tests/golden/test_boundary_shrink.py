"""Boundary shrink against its authors' code: three steps toward labels, three of which are the rows' own.

The step is shorter than theirs, so that it doesn't leave the class of these rows; one of them stays only because the
image is rounded to 8 bits.
"""

import pytest
from golden_net import assert_same_change, make_classifier, make_forget_set, read_golden

from expunge.methods.unlearn import make_method, unlearn
from expunge.task.task import Limits

GOLDEN = read_golden("boundary_shrink")


def edit_with(**more):
    """Return the edited classifier after the golden file's number of steps, whatever the goal says."""
    method = make_method("boundary-shrink", {**GOLDEN["settings"], **more})
    edit = unlearn(make_classifier(), make_forget_set(), method=method, limits=Limits(steps=GOLDEN["steps"]))
    assert edit.steps == GOLDEN["steps"]
    return edit.classifier


def test_three_steps_are_the_authors():
    assert_same_change(edit_with(), GOLDEN)


def test_the_best_other_label_is_another_method():
    with pytest.raises(AssertionError, match="off by"):
        assert_same_change(edit_with(nearest="other"), GOLDEN)
