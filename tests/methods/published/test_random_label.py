import pytest
import torch

from expunge.methods.published.random_label import Order, RandomLabel, draw_labels
from expunge.methods.unlearn import unlearn


def test_labels_are_uniform_over_all_classes_the_own_one_too():
    counts = draw_labels(5000, 5, torch.Generator().manual_seed(0)).bincount(minlength=5)
    assert counts.sum() == 5000
    assert ((counts - 1000).abs() < 100).all()


@pytest.mark.parametrize(("order", "losses"), [(Order.ROWS_FIRST, {"forget", "retain"}), (Order.MIXED, {"everything"})])
def test_an_epoch_goes_through_rows_and_retain_data_once(trained, rows, retain, plain_training, order, losses):
    edit = unlearn(trained, rows, method=RandomLabel(order=order, training=plain_training(epochs=2)), retain=retain)
    assert [set(point.losses) for point in edit.trace] == [losses, losses]
    assert edit.cost.gradient_evaluations == 2 * 26


@pytest.mark.parametrize("order", Order)
def test_labels_are_drawn_anew_each_epoch(trained, rows, retain, plain_training, order):
    """With a rate of next to nothing, only other labels change an epoch's loss."""
    method = RandomLabel(order=order, training=plain_training(epochs=4, learning_rate=1e-12))
    edit = unlearn(trained, rows, method=method, retain=retain)
    name = "forget" if order is Order.ROWS_FIRST else "everything"
    assert len({round(point.losses[name], 3) for point in edit.trace}) == 4
