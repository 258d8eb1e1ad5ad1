import pytest
import torch
from torch import nn

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
        own, irrelevant = measure_sensitivities(smooth, x, y, other)
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
        linear_classifier(weight, torch.zeros(3)), torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), torch.tensor([2, 0])
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


def test_its_own_rule_ends_it_before_its_last_epoch(trained, rows, plain_training):
    edit = unlearn(trained, rows, method=MuMis(training=plain_training(epochs=200, learning_rate=1e-3)))
    own, second = ([abs(point.losses[name]) for point in edit.trace] for name in ("own class", "irrelevant class"))
    assert own[0] == pytest.approx(1, rel=1e-3), "norms are in units of the first"
    assert edit.stop_reason in (StopReason.COMPLETED, StopReason.GOAL_REACHED)
    assert edit.steps < 200
    assert second[-1] >= 1.2 * second[0] > second[-2]
    assert own[-1] < own[0]
