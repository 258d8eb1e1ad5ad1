import pytest
import torch

from expunge.methods.published.boundary_shrink import BoundaryShrink, NearestLabel, take_signed_step
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.pixels import Bounds
from expunge.task.task import StopReason

OTHER = BoundaryShrink(nearest=NearestLabel.OTHER)


def find(classifier, x, y, step_size, nearest):
    return BoundaryShrink(step_size=step_size, nearest=nearest).find_labels(classifier.frozen_copy(), x, y)


@pytest.mark.parametrize("step_size", [1e-9, 0.01, 0.1, 1.0])
def test_the_best_other_label_is_never_the_rows_own(trained, rows, step_size):
    labels = find(trained, rows.x, rows.y, step_size, NearestLabel.OTHER)
    assert bool((labels != rows.y).all())


@pytest.mark.parametrize("step_size", [1e-9, 0.01, 0.1, 1.0])
def test_the_answer_after_the_step_may_be_the_rows_own_label(trained, rows, step_size):
    moved = take_signed_step(trained.frozen_copy(), rows.x, rows.y, step_size)
    labels = find(trained, rows.x, rows.y, step_size, NearestLabel.ANSWER)
    assert torch.equal(labels, trained(moved).argmax(dim=1))
    if step_size == 1e-9:
        assert torch.equal(labels, trained(rows.x).argmax(dim=1)), "nothing moved"


@pytest.mark.parametrize("nearest", NearestLabel)
def test_the_nearest_label_is_the_one_that_the_signed_step_leads_to(linear_classifier, nearest):
    """From (0, 0), class 1 gains most from one pixel, class 2 from many: the signed step moves all of them."""
    weight = torch.zeros(3, 4)
    weight[1, 0], weight[2] = 0.9, 0.4
    classifier = linear_classifier(weight, torch.tensor([0.5, 0.0, 0.0]), Bounds(-1.0, 1.0))
    x = torch.zeros(1, 1, 2, 2)
    assert find(classifier, x, torch.tensor([0]), 0.5, nearest).tolist() == [2]


@pytest.mark.parametrize("bounds", [Bounds(0.0, 1.0), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)])
def test_the_step_moves_each_pixel_by_its_share_of_the_range_in_8_bits(linear_classifier, bounds):
    weight = torch.tensor([[1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]) / bounds.width
    classifier = linear_classifier(weight, torch.zeros(2), bounds).frozen_copy()
    shares = torch.tensor([0.5, 0.5, 0.02, 0.98]).view(1, 1, 2, 2)
    x = bounds.lower + shares * bounds.width
    moved = take_signed_step(classifier, x, torch.tensor([0]), 0.1)
    expected = torch.tensor([102.0, 153.0, 0.0, 255.0]) / 255
    torch.testing.assert_close((moved.flatten() - bounds.lower) / bounds.width, expected)


def test_rows_end_in_their_nearest_class(trained, rows):
    few = rows.rows([1])
    method = make_method("boundary-shrink", {"nearest": "other", "descent": {"learning_rate": 0.01}})
    edit = unlearn(trained, few, method=method)
    nearest = OTHER.find_labels(trained.frozen_copy(), few.x, few.y)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert torch.equal(edit.classifier(few.x).argmax(dim=1), nearest)
