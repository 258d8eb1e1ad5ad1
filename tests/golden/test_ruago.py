"""RUAGO against its authors' code: three steps, with the same eight synthetic images in each.

Hardness is high, so that images count on which this small network's answers in training are far from the old ones.
"""

import pytest
from golden_net import assert_same_change, make_classifier, make_forget_set, make_pixels, read_golden

from expunge.methods.published import ruago
from expunge.methods.unlearn import make_method, unlearn


@pytest.fixture(autouse=True)
def _same_images(monkeypatch):
    monkeypatch.setattr(ruago, "invert_classifier", lambda *_: make_pixels(8, 300))


def edit_with(golden, **more):
    """Return the edited classifier."""
    method = make_method("ruago", {**golden["settings"], **more})
    return unlearn(make_classifier(), make_forget_set(), method=method).classifier


def test_three_steps_are_the_authors():
    golden = read_golden("ruago")
    assert_same_change(edit_with(golden), golden)


@pytest.mark.parametrize(
    "more",
    [
        {"attack": {"gradients": "normalised"}},
        {"attack": {"steps": 2}},
        {"temperature": 1.0},
        {"hardness": 12.0},
        {"rows_weight": 0.1},
        {"distillation_weight": 0.02},
    ],
)
def test_another_setting_is_another_method(more):
    golden = read_golden("ruago")
    with pytest.raises(AssertionError, match="off by"):
        assert_same_change(edit_with(golden, **more), golden)
