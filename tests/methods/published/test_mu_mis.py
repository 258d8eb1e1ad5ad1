import pytest
import torch
from torch import nn

from expunge.methods.published import mu_mis
from expunge.methods.published.mu_mis import MuMis, has_grown_back, measure_sensitivities
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.task.task import StopReason


@pytest.fixture
def smooth():
    """Return a smooth classifier in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)
        )
    return Classifier(network.double(), 3)


def test_the_double_backward_gradient_equals_a_numerical_one(smooth):
    x = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, other = torch.tensor([0, 2]), torch.tensor([1, 0])

    def loss():
        own, irrelevant = measure_sensitivities(smooth, x, (y, other))
        return (own - irrelevant).mean()

    weights = list(smooth.module.parameters())
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        flat = weight.data.view(-1)
        for place in range(len(flat)):
            old, values = flat[place].item(), []
            for moved in (old + 1e-5, old - 1e-5):
                flat[place] = moved
                values.append(loss().item())
            flat[place] = old
            exact = 0.0 if gradient is None else gradient.view(-1)[place].item()
            assert exact == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_the_sensitivity_is_the_squared_norm_of_the_logits_gradient(linear_classifier):
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    own, other = measure_sensitivities(
        linear_classifier(weight, torch.zeros(3)), torch.rand(2, 1, 2, 2), (torch.tensor([0, 1]), torch.tensor([2, 0]))
    )
    squares = weight.square().sum(dim=1)
    torch.testing.assert_close(own, squares[[0, 1]])
    torch.testing.assert_close(other, squares[[2, 0]])


@pytest.mark.parametrize(
    ("norms", "regrowth", "ends"),
    [
        ([], 1.0, False),
        ([2.0], 1.0, False),
        ([2.0, 1.0], 0.1, False),
        ([2.0, 1.0, 1.5], 1.0, False),
        ([2.0, 1.0, 1.5], 0.7, True),
        ([2.0, 1.0, 2.0], 1.0, True),
        ([2.0, 2.5], 1.2, True),
        ([2.0, 2.1], 1.2, False),
    ],
)
def test_it_ends_once_the_second_norm_has_left_its_minimum_and_grown_back(norms, regrowth, ends):
    assert has_grown_back(norms, regrowth) is ends


def test_the_sensitivity_is_that_to_what_the_network_is_given(trained, rows):
    """Pixels and normalised images differ by the deviation, a quarter here."""
    bare = Classifier.wrap(trained.network, num_classes=trained.num_classes)
    (to_given,) = measure_sensitivities(trained, rows.x, (rows.y,))
    (expected,) = measure_sensitivities(bare, (rows.x - 0.5) / 0.25, (rows.y,))
    torch.testing.assert_close(to_given, expected)


def test_wrong_classes_are_drawn_anew_for_each_step_and_stay_the_same_for_the_stop_rule(
    trained, rows, plain_training, monkeypatch
):
    seen = {1: [], 2: []}

    def watched(classifier, x, labels):
        seen[len(labels)].append((x, labels[-1]))
        return measure_sensitivities(classifier, x, labels)

    monkeypatch.setattr(mu_mis, "measure_sensitivities", watched)
    unlearn(trained, rows, method=MuMis(regrowth=100.0, training=plain_training(epochs=5, learning_rate=1e-6)))
    order = [[int((rows.x == row).flatten(1).all(dim=1).int().argmax()) for row in x] for x, _ in seen[2]]
    drawn = [labels[torch.tensor(places).argsort()] for places, (_, labels) in zip(order, seen[2], strict=True)]
    assert all(bool((labels != rows.y).all()) for labels in drawn)
    assert len({tuple(labels.tolist()) for labels in drawn}) > 1
    assert len(seen[1]) == 6, "before the edit and after each pass"
    assert all(torch.equal(labels, seen[1][0][1]) for _, labels in seen[1])


def test_its_own_rule_ends_it_before_its_last_epoch(trained, rows, plain_training):
    training = plain_training(epochs=200, learning_rate=1e-2)
    edit = unlearn(trained, rows, method=MuMis(regrowth=1.2, training=training))
    own = [point.losses["own class"] for point in edit.trace]
    assert edit.stop_reason in (StopReason.COMPLETED, StopReason.GOAL_REACHED)
    assert edit.steps < 200
    assert own[-1] < own[0]
