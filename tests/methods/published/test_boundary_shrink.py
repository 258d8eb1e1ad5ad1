import pytest
import torch

from expunge.methods.published.boundary_shrink import find_nearest_labels
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Bounds
from expunge.task.task import StopReason


@pytest.mark.parametrize("step_size", [1e-9, 0.01, 0.1, 1.0])
def test_the_nearest_label_is_never_the_rows_own(trained, rows, step_size):
    """A step too short to leave the class would otherwise train the row toward what it is to lose."""
    labels = find_nearest_labels(trained.frozen_copy(), rows.x, rows.y, step_size)
    assert bool((labels != rows.y).all())


def test_the_nearest_label_is_the_one_that_the_signed_step_leads_to(linear_classifier):
    """From (0, 0), class 1 gains most from one pixel, class 2 from many: the signed step moves all of them."""
    weight = torch.zeros(3, 4)
    weight[1, 0], weight[2] = 0.9, 0.4
    classifier = linear_classifier(weight, torch.tensor([0.5, 0.0, 0.0]), Bounds(-1.0, 1.0))
    x = torch.zeros(1, 1, 2, 2)
    assert find_nearest_labels(classifier.frozen_copy(), x, torch.tensor([0]), 0.5).tolist() == [2]


def test_rows_end_in_their_nearest_class(trained, rows):
    few = rows.rows([1])
    method = make_method("boundary-shrink", {"descent": {"learning_rate": 0.01}})
    edit = unlearn(trained, few, method=method)
    nearest = find_nearest_labels(trained.frozen_copy(), few.x, few.y, 0.1)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert torch.equal(edit.classifier(few.x).argmax(dim=1), nearest)
