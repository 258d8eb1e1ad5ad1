import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from expunge.base.errors import ClassifierError, DataError, ExpungeWarning, ForgetSetError, SettingsError
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.models.classifier import Classifier
from expunge.models.pixels import Bounds
from expunge.task.goals import Misclassify, Relabel
from expunge.task.task import Limits, Task


def test_the_goal_follows_from_the_new_labels(trained, rows, relabelled):
    assert Task.create(trained, rows).goal == Misclassify()
    assert torch.equal(Task.create(trained, rows).labels, rows.y)
    assert Task.create(trained, relabelled).goal == Relabel()
    assert torch.equal(Task.create(trained, relabelled).labels, relabelled.y_new)


def test_the_goal_can_be_said(trained, rows, relabelled):
    assert Task.create(trained, relabelled, goal=Misclassify()).goal == Misclassify()
    drawn = Task.create(trained, rows, goal=Relabel(), seed=1).labels
    assert bool((drawn != rows.y).all())
    assert torch.equal(drawn, Task.create(trained, rows, goal=Relabel(), seed=1).labels)
    others = [Task.create(trained, rows, goal=Relabel(), seed=seed).labels for seed in range(2, 6)]
    assert not all(torch.equal(drawn, other) for other in others)


@pytest.mark.parametrize("count", [1, 3])
def test_small_forget_sets(trained, rows, count):
    assert Task.create(trained, rows.rows(range(count))).right.tolist() == [True] * count


def test_a_label_outside_the_classes(trained, rows):
    wrong = ForgetSet(rows.ids, rows.x, rows.y + 1)
    with pytest.raises(
        ForgetSetError, match=r"`label`: expected labels in 0..4, got label 5 of image row-4; check the class list"
    ):
        Task.create(trained, wrong)


@pytest.mark.parametrize("change", [lambda x: x * 255, lambda x: (x - 0.5) / 0.25, lambda x: x + 0.5])
def test_pixels_out_of_bounds(trained, rows, change):
    moved = ForgetSet(rows.ids, change(rows.x), rows.y)
    with pytest.raises(
        ForgetSetError, match=r"`x`: expected pixels within 0\.0\.\.1\.0, got .*; scale the images, lea"
    ):
        Task.create(trained, moved)


def test_pixels_may_miss_the_bounds_by_rounding(trained, rows):
    x = rows.x.clone()
    x[0, 0, 0, 0] = 1 + 5e-7
    Task.create(trained, ForgetSet(rows.ids, x, rows.y))


def test_images_scaled_twice(trained, rows):
    """They lie within the bounds, so only the range that they use gives them away."""
    with pytest.raises(ForgetSetError, match=r"`x`: expected pixels that use the range 0\.0\.\.1\.0, got .*scale the"):
        Task.create(trained, ForgetSet(rows.ids, rows.x / 255, rows.y), minimum_right=0)


def test_images_in_0_1_for_a_classifier_of_bytes(trained, rows):
    of_bytes = Classifier(trained.module, 5, Bounds(0, 255))
    with pytest.raises(ForgetSetError, match=r"`x`: expected pixels that use the range 0\.\.255"):
        Task.create(of_bytes, rows, minimum_right=0)


def test_a_black_image_is_an_image(linear_classifier):
    classifier = linear_classifier(torch.zeros(2, 144), torch.tensor([1.0, -1.0]))
    black = ForgetSet(("black",), torch.zeros(1, 3, 8, 6), torch.tensor([0]))
    assert Task.create(classifier, black).right.all()


def test_images_that_the_classifier_does_not_take(trained, rows):
    with pytest.raises(ForgetSetError, match=r"`x`: expected images that the classifier takes, got \(2, 8, 6\) \("):
        Task.create(trained, ForgetSet(rows.ids, rows.x[:, :2], rows.y))


def test_a_wrong_number_of_outputs(trained, rows):
    with pytest.raises(ClassifierError, match=r"outputs of shape \(b, 7\), got \(6, 5\); check the class count"):
        Task.create(Classifier(trained.module, 7), rows)


def test_probabilities(trained, rows):
    softened = Classifier(nn.Sequential(trained.copy().module, nn.Softmax(dim=1)), 5)
    with pytest.raises(ClassifierError, match="expected logits, got probabilities"):
        Task.create(softened, rows)


def test_nan_logits(trained, rows):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = trained.copy().module

        def forward(self, x):
            return self.layer(x).log()

    with pytest.raises(ClassifierError, match="expected finite logits, got NaN or infinity"):
        Task.create(Classifier(Broken(), 5), rows)


def test_a_classifier_whose_weights_are_all_frozen(trained, rows):
    with pytest.raises(
        ClassifierError, match=r"a weight that requires gradients, got none; call requires_grad_\(True\)"
    ):
        Task.create(trained.frozen_copy(), rows)


def mislabelled(rows, count):
    y = rows.y.clone()
    y[:count] = (y[:count] + 1) % 5
    return ForgetSet(rows.ids, rows.x, y)


def test_fewer_than_half_right_is_an_error(trained, rows):
    with pytest.raises(
        ForgetSetError,
        match=r"at least 50% of the forget set predicted as labelled, got 2 of 6; the normalisation, the labels",
    ):
        Task.create(trained, mislabelled(rows, 4))


def test_fewer_than_half_right_can_be_allowed(trained, rows):
    with pytest.warns(ExpungeWarning, match="4 of 6 rows are not predicted as labelled"):
        task = Task.create(trained, mislabelled(rows, 4), minimum_right=0.3)
    assert task.right.tolist() == [False] * 4 + [True] * 2


def test_half_right_is_enough_and_warned_of(trained, rows):
    with pytest.warns(
        ExpungeWarning, match="3 of 6 rows are not predicted as labelled: they are misclassified already"
    ):
        Task.create(trained, mislabelled(rows, 3))


def test_all_right_is_silent(trained, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Task.create(trained, rows).right.all()


@pytest.mark.parametrize("steps", [0, -1])
def test_limits_of_steps(steps):
    with pytest.raises(SettingsError, match=f"`max_steps`: expected at least 1, got {steps}"):
        Limits(steps=steps)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_limits_of_seconds(seconds):
    with pytest.raises(SettingsError, match=f"`max_seconds`: expected above 0, got {seconds}"):
        Limits(seconds=seconds)


@given(st.integers(0, 2**40), st.text(max_size=9))
def test_a_generator_is_the_same_each_time(seed, purpose):
    assert seeded_generator(seed, purpose).initial_seed() == seeded_generator(seed, purpose).initial_seed()


def test_generators_differ_by_seed_and_purpose():
    seeds = {seeded_generator(seed, purpose).initial_seed() for seed in range(50) for purpose in ("a", "b", "1:a")}
    assert len(seeds) == 150


def test_no_task_draws_from_the_global_generator(trained, rows):
    before = torch.get_rng_state()
    Task.create(trained, rows, goal=Relabel()).generator("copies")
    assert torch.equal(torch.get_rng_state(), before)


def make_retain(other_images, **changes):
    parts = {"ids": [f"other-{row}" for row in range(20)], "labels": other_images[1], "pixels": other_images[0]}
    return TensorImages(**{**parts, **changes})


def test_retain_data_that_fit_are_kept(trained, rows, other_images):
    retain = make_retain(other_images)
    assert Task.create(trained, rows, retain=retain).retain is retain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": [], "labels": torch.zeros(0, dtype=torch.int64), "pixels": torch.zeros(0, 3, 8, 6)}, "at least one"),
        ({"labels": torch.full((20,), 5)}, "labels in 0..4, got 5..5"),
        ({"pixels": torch.rand(20, 3, 6, 8)}, "the forget set's shape"),
    ],
)
def test_retain_data_that_do_not_fit(trained, rows, other_images, changes, words):
    with pytest.raises(DataError, match=f"`retain`: expected .*{words}"):
        Task.create(trained, rows, retain=make_retain(other_images, **changes))


def test_retain_data_that_hold_a_row_to_forget(trained, rows, other_images):
    x, labels = torch.cat([other_images[0], rows.x[:1]]), torch.cat([other_images[1], rows.y[:1]])
    ids = [f"row-{number}" for number in range(1, 21)]
    with pytest.raises(DataError, match=r"`retain`: expected none of the images to forget, got 1 of them: row-0"):
        Task.create(trained, rows, retain=TensorImages([*ids, "row-0"], labels, x))
    assert Task.create(trained, rows, retain=TensorImages([*ids, "new"], labels, x)).retain, "ids alone say nothing"
