import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.l2ul.importance import compute_importance, penalty, scale_to_unit
from expunge.models.classifier import Classifier


def importance_of(classifier, x):
    return compute_importance(classifier, x, Context(Runtime()))


def make_double(linear_classifier, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    bias = torch.randn(4, generator=generator, dtype=torch.float64)
    x = torch.rand(3, 3, 2, 2, generator=generator, dtype=torch.float64)
    return linear_classifier(weight, bias), weight, bias, x


def test_a_linear_classifier_by_hand(linear_classifier):
    """d||Wx + b|| / dW = u x' and d/db = u, with u the unit vector of the output."""
    classifier, weight, bias, x = make_double(linear_classifier)
    importance = importance_of(classifier, x)
    rows = x.flatten(1)
    units = rows @ weight.t() + bias
    units = units / units.norm(dim=1, keepdim=True)
    by_row = units[:, :, None] * rows[:, None, :]
    torch.testing.assert_close(importance["1.weight"], by_row.abs().mean(dim=0))
    torch.testing.assert_close(importance["1.bias"], units.abs().mean(dim=0))


def test_a_linear_classifier_by_finite_differences(linear_classifier):
    classifier, _, _, x = make_double(linear_classifier)
    importance = importance_of(classifier, x)["1.weight"]
    weight = classifier.module[1].weight
    step = 1e-6
    for output, pixel in ((0, 0), (1, 5), (3, 11)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[output, pixel] += sign * step
                values.append(classifier(x).norm(dim=1))
                weight[output, pixel] -= sign * step
        numerical = ((values[0] - values[1]) / (2 * step)).abs().mean()
        torch.testing.assert_close(importance[output, pixel], numerical, rtol=1e-6, atol=1e-9)


def test_every_parameter_has_one_and_frozen_ones_have_none_to_speak_of(classifier, rows):
    classifier.network[0].weight.requires_grad_(False)
    importance = importance_of(classifier, rows.x)
    assert {name: tensor.shape for name, tensor in importance.items()} == {
        name: weight.shape for name, weight in classifier.module.named_parameters()
    }
    assert not importance["network.0.weight"].any()
    assert all(bool((tensor >= 0).all()) for tensor in importance.values())
    assert importance["network.8.weight"].any()


def test_a_weight_that_takes_no_part_has_an_importance_of_0(linear_classifier, rows):
    class Idle(nn.Module):
        def __init__(self, classifier):
            super().__init__()
            self.used, self.idle = classifier.module, nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    classifier = Classifier(Idle(linear_classifier(torch.ones(5, 144), torch.zeros(5))), 5)
    assert not importance_of(classifier, rows.x)["idle.weight"].any()


def test_an_output_of_zero_gives_no_nan(linear_classifier, rows):
    dead = linear_classifier(torch.zeros(5, 144), torch.zeros(5))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in importance_of(dead, rows.x).values())


def test_weights_flags_and_gradients_are_left_alone(classifier, rows):
    classifier.module.train()
    before = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    importance_of(classifier, rows.x)
    assert all(part.training for part in classifier.module.modules())
    assert all(weight.grad is None for weight in classifier.module.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.module.state_dict().items())


def test_one_gradient_a_row_is_counted(trained, rows):
    context = Context(Runtime())
    compute_importance(trained, rows.x, context)
    assert context.cost().gradient_evaluations == len(rows)


@given(st.integers(0, 99), st.floats(-5, 5), st.floats(0.01, 100))
def test_scaling_keeps_order_and_reaches_both_ends(seed, shift, width):
    tensor = shift + width * torch.rand(4, 3, generator=torch.Generator().manual_seed(seed))
    scaled = scale_to_unit({"w": tensor})["w"]
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert torch.equal(scaled.flatten().argsort(stable=True), tensor.flatten().argsort(stable=True))


def test_the_penalty_by_hand():
    layer = nn.Linear(2, 1)
    anchor = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.5, 1.0]]))
        layer.bias.copy_(torch.tensor([5.0]))
    importance = {"weight": torch.tensor([[0.0, 0.75]]), "bias": torch.tensor([1.0])}
    loss = penalty(layer, anchor, importance, weight=4.0)
    assert loss.item() == pytest.approx(4.0 / 2 * (1.0 * 0.25 + 0.25 * 1.0 + 0.0))
    loss.backward()
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[4.0 * 0.5, 4.0 * 0.25 * -1.0]]))
    assert layer.bias.grad.item() == 0


def test_the_penalty_of_no_change_is_0(trained, rows):
    importance = scale_to_unit(importance_of(trained, rows.x))
    anchor = {name: weight.detach() for name, weight in trained.module.named_parameters()}
    assert penalty(trained.module, anchor, importance).item() == 0
