import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import accuracy_score
from torch import nn

from expunge.base.errors import ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.images import TensorImages
from expunge.models.classifier import Classifier
from expunge.models.pixels import Bounds
from expunge.task.evaluation import (
    Predictions,
    RobustGoal,
    churn,
    compute_logits,
    measure_robust_goal,
    predict,
    right_after,
    to_predictions,
)
from expunge.task.goals import Misclassify, Relabel
from expunge.task.transforms import copy_kinds, random_copies

MISCLASSIFY = Misclassify()


def draw_predictions(seed, count=30):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 5, generator=generator)
    return to_predictions(logits, torch.randint(5, (count,), generator=generator)), logits


@given(st.integers(0, 999), st.integers(1, 30))
def test_accuracy_is_that_of_scikit_learn(seed, count):
    predictions, logits = draw_predictions(seed, count)
    expected = 100 * accuracy_score(predictions.labels.numpy(), logits.numpy().argmax(axis=1))
    assert predictions.accuracy == pytest.approx(expected)


@given(st.integers(0, 999), st.integers(1, 30))
def test_confidence_is_scipys_softmax(seed, count):
    predictions, logits = draw_predictions(seed, count)
    np.testing.assert_allclose(predictions.confidence, softmax(logits.numpy(), axis=1).max(axis=1), rtol=1e-5)


@given(st.integers(0, 499), st.integers(500, 999), st.integers(1, 30))
def test_churn_is_the_share_of_changed_predictions(seed, other, count):
    (before, _), (after, _) = draw_predictions(seed, count), draw_predictions(other, count)
    expected = 100 * np.mean(before.predicted.numpy() != after.predicted.numpy())
    assert churn(before, after) == pytest.approx(expected)
    assert churn(before, after) == churn(after, before)
    assert churn(before, before) == 0


def test_churn_sees_changes_that_accuracy_hides():
    labels = torch.tensor([0, 1])
    before = Predictions(labels, torch.tensor([0, 0]), torch.ones(2))
    after = Predictions(labels, torch.tensor([1, 1]), torch.ones(2))
    assert before.accuracy == after.accuracy == 50
    assert churn(before, after) == 100


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_logits_do_not_depend_on_the_batch_size_nor_on_the_mode(classifier, rows, count, batch_size):
    x = rows.x[:count]
    expected = torch.cat([classifier(image) for image in x.split(1)])
    classifier.module.train()
    before = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    logits = compute_logits(classifier, x, batch_size)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert not logits.requires_grad
    assert all(part.training for part in classifier.module.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.module.state_dict().items())


def test_logits_remember_where_memory_ended(classifier, rows, monkeypatch):
    sharing, expected, seen, forward = Sharing(6), compute_logits(classifier, rows.x), [], classifier.module.forward

    def few_at_once(x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        seen.append(len(x))
        return forward(x)

    monkeypatch.setattr(classifier.module, "forward", few_at_once)
    with pytest.warns(ExpungeWarning, match="going on with batches of 3 images"):
        compute_logits(classifier, rows.x, sharing)
    assert torch.allclose(compute_logits(classifier, rows.x, sharing), expected, atol=1e-5)
    assert seen == [3, 3, 3, 3]


def test_a_network_that_keeps_tensors_of_its_first_call_can_still_be_trained(rows):
    """Position tables are often made on the first call; under inference mode they could never be used in training."""

    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = nn.Linear(144, 5), None

        def forward(self, x):
            self.scale = torch.ones(144) if self.scale is None else self.scale
            return self.layer(x.flatten(1)) * self.scale[:5] + self.layer.bias * self.scale[:5]

    classifier = Classifier(Lazy(), 5)
    compute_logits(classifier, rows.x)
    classifier(rows.x).sum().backward()
    assert classifier.module.layer.weight.grad is not None


def test_predict_goes_through_images_of_bytes_batch_by_batch(classifier, other_images):
    x, labels = other_images
    pixels = (x * 255).to(torch.uint8)
    images = TensorImages([str(n) for n in range(len(x))], labels, pixels)
    expected = to_predictions(classifier(pixels / 255), labels)
    for batch_size in (1, 3, 256):
        predictions = predict(classifier, images, Runtime(batch_size=batch_size))
        assert torch.equal(predictions.labels, labels)
        assert torch.equal(predictions.predicted, expected.predicted)
        assert torch.allclose(predictions.confidence, expected.confidence, atol=1e-5)


def constant(label):
    """Return a classifier that answers `label` whatever it sees."""
    layer = nn.Linear(144, 5)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.nn.functional.one_hot(torch.tensor(label), 5))
    return Classifier(nn.Sequential(nn.Flatten(), layer), 5)


def measure(classifier, rows, goal=MISCLASSIFY, labels=None, seed=0, copies=32):
    generator = torch.Generator().manual_seed(seed)
    labels = rows.y if labels is None else labels
    return measure_robust_goal(classifier, rows.x, labels, goal, generator=generator, copies=copies)


def test_a_classifier_that_never_answers_with_the_label_holds_on_every_copy(rows):
    never = rows.rows([0, 1, 2])
    robust = measure(constant(4), never)
    assert robust.share == robust.rows_held == 1.0
    assert set(robust.by_kind.values()) == {1.0}


def test_each_copy_of_all_rows_is_a_step_forward(rows):
    steps, generator = [], torch.Generator().manual_seed(0)
    measure_robust_goal(constant(4), rows.x, rows.y, MISCLASSIFY, generator=generator, copies=3, advance=steps.append)
    assert steps == [1, 1, 1]


def test_the_unedited_classifier_fails_on_every_copy(trained, rows):
    robust = measure(trained, rows)
    assert robust.share < 0.02
    assert robust.rows_held == 0.0


def test_a_constant_classifier_holds_relabel_where_it_answers_with_the_new_label(rows):
    robust = measure(constant(3), rows, Relabel(), torch.tensor([3, 3, 3, 0, 1, 2]))
    assert robust.share == robust.rows_held == 0.5


def test_every_kind_is_covered_by_default(trained, rows):
    robust = measure(trained, rows)
    assert robust.copies_per_row == 32
    assert set(robust.by_kind) == {"+".join(kind) for kind in copy_kinds(3)}
    assert list(robust.by_kind) == sorted(robust.by_kind)


def test_the_same_seed_gives_the_same_figures(trained, rows):
    hard = rows.rows([0, 3])
    assert measure(trained, hard, seed=3) == measure(trained, hard, seed=3)


def test_shares_are_means_over_the_copies(rows):
    """A classifier of brightness, seen from outside: count by hand what the copies do to it."""
    weight = torch.zeros(5, 144)
    weight[1] = 1.0
    layer = nn.Linear(144, 5)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
        layer.bias[0] = rows.x.sum(dim=(1, 2, 3)).median()
    classifier = Classifier(nn.Sequential(nn.Flatten(), layer), 5)
    labels = torch.zeros(6, dtype=torch.int64)
    flags, kinds = [], []
    for kind, copy in random_copies(rows.x, 40, Bounds(), torch.Generator().manual_seed(7)):
        flags.append(classifier(copy).argmax(dim=1).numpy() != 0)
        kinds.append("+".join(kind))
    table = np.stack(flags)
    robust = measure(classifier, rows, labels=labels, seed=7, copies=40)
    assert 0 < robust.share < 1
    assert robust.share == pytest.approx(table.mean())
    assert robust.rows_held == pytest.approx((table.mean(axis=0) >= 0.95).mean())
    for kind in set(kinds):
        chosen = [number for number, name in enumerate(kinds) if name == kind]
        assert robust.by_kind[kind] == pytest.approx(table[chosen].mean())


def test_the_worst_kind_is_the_one_that_holds_least():
    assert RobustGoal(0.5, {"a": 0.7, "b": 0.3, "c": 0.5}, 0.0, 3, (0.5,)).worst_kind == "b"


@given(st.integers(0, 100))
def test_what_was_right_and_wrong_before_is_told_apart(seed):
    before, after = draw_predictions(seed)[0], draw_predictions(seed + 1)[0]
    after = Predictions(before.labels, after.predicted, after.confidence)
    for right_before in (True, False):
        chosen = [
            bool(new == label)
            for label, old, new in zip(before.labels, before.predicted, after.predicted, strict=True)
            if bool(old == label) == right_before
        ]
        expected = 100 * sum(chosen) / len(chosen) if chosen else None
        assert right_after(before, after, right_before=right_before) == pytest.approx(expected)


def test_of_no_images_there_is_no_share():
    right = Predictions(torch.tensor([1]), torch.tensor([1]), torch.ones(1))
    assert right_after(right, right, right_before=False) is None
