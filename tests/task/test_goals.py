import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import ForgetSetError
from expunge.data.forget import ForgetSet
from expunge.task.goals import GOALS, Misclassify, Relabel, achieved, check_labels, draw_other_labels

X = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(0))
ROWS = ForgetSet(("a", "b", "c"), X, torch.tensor([0, 1, 2]))


def draw_logits(seed, rows=4, classes=5):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (rows,), generator=generator)


@given(st.integers(0, 999))
def test_achieved_is_what_argmax_says(seed):
    logits, labels = draw_logits(seed)
    predicted = logits.argmax(dim=1)
    assert torch.equal(achieved(Misclassify(), logits, labels), predicted != labels)
    assert torch.equal(achieved(Relabel(), logits, labels), predicted == labels)


@given(st.integers(0, 999))
def test_the_gap_is_the_distance_to_the_best_other_label(seed):
    logits, labels = draw_logits(seed)
    for row, label in enumerate(labels.tolist()):
        values = logits[row].tolist()
        gap = values[label] - max(values[:label] + values[label + 1 :])
        assert math.isclose(Misclassify().gap(logits, labels)[row].item(), gap)
        assert math.isclose(Relabel().gap(logits, labels)[row].item(), -gap)


@given(st.integers(0, 999))
def test_losses_are_cross_entropy_up_and_down(seed):
    logits, labels = draw_logits(seed)
    plain = logits.numpy()
    expected = np.log(np.exp(plain).sum(axis=1)) - plain[np.arange(len(plain)), labels.numpy()]
    np.testing.assert_allclose(Relabel().loss(logits, labels).numpy(), expected)
    np.testing.assert_allclose(Misclassify().loss(logits, labels).numpy(), -expected)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
def test_neither_a_tie_nor_nan_holds_a_goal(goal):
    logits = torch.tensor([[1.0, 1.0, 0.0], [math.nan, 1.0, 0.0], [math.nan] * 3])
    assert not achieved(goal, logits, torch.tensor([0, 0, 1])).any()


def test_misclassify_speaks_of_the_label_even_where_there_is_a_new_one():
    rows = ForgetSet(ROWS.ids, X, ROWS.y, ROWS.y + 1)
    assert torch.equal(Misclassify().labels(rows, 5, torch.Generator()), rows.y)


def test_relabel_takes_the_new_label_or_draws_one():
    given_new = ForgetSet(ROWS.ids, X, ROWS.y, ROWS.y + 1)
    assert torch.equal(Relabel().labels(given_new, 5, torch.Generator()), ROWS.y + 1)
    drawn = Relabel().labels(ROWS, 5, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, Relabel().labels(ROWS, 5, torch.Generator().manual_seed(0)))
    assert bool((drawn != ROWS.y).all())


@given(st.integers(2, 12), st.integers(0, 999))
def test_a_drawn_label_is_a_class_and_never_the_label(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (20,), generator=generator)
    drawn = draw_other_labels(labels, classes, generator)
    assert bool((drawn != labels).all())
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < classes


def test_drawn_labels_are_uniform_over_the_others():
    drawn = draw_other_labels(torch.full((8000,), 2), 5, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=5)
    assert counts[2] == 0
    assert bool(((counts[[0, 1, 3, 4]] - 2000).abs() < 200).all())


def test_labels_outside_the_classes_are_named_with_their_rows():
    check_labels(ROWS, 3)
    with pytest.raises(ForgetSetError, match=r"`label`: expected labels in 0..1, got label 2 of image c; check"):
        check_labels(ROWS, 2)
    corrected = ForgetSet(ROWS.ids, X, ROWS.y, torch.tensor([7, 0, 8]))
    with pytest.raises(
        ForgetSetError, match=r"`new label`: expected new labels in 0..4, got new label 7 of image a and 1"
    ):
        check_labels(corrected, 5)
