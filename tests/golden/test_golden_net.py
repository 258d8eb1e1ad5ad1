"""The comparison that every golden test rests on: it sees a step of half the length, and one of another direction."""

import pytest
import torch
from golden_net import CLASSES, assert_same_change, make_classifier, make_forget_set, make_net, make_retain


def changed_by(factor):
    state = make_net().state_dict()
    return {
        name: (tensor.double() * factor).flatten().tolist()
        for name, tensor in state.items()
        if tensor.is_floating_point()
    }


def moved(factor):
    classifier = make_classifier()
    with torch.no_grad():
        for tensor in classifier.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(factor)
    return classifier


def test_the_network_is_right_about_rows_of_every_class():
    rows, retain = make_forget_set(), make_retain()
    assert set(rows.y.tolist()) == set(retain.labels.tolist()) == set(range(CLASSES))


def test_the_same_change_passes():
    assert_same_change(moved(1.01), {"state": changed_by(1.01)})


@pytest.mark.parametrize("factor", [1.0, 1.005, 0.99, 1.0101])
def test_another_change_is_caught(factor):
    with pytest.raises(AssertionError, match=r"conv1\.weight: off by"):
        assert_same_change(moved(factor), {"state": changed_by(1.01)})
