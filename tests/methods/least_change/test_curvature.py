import pytest
import torch
from torch import nn

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.least_change.curvature import compute_whitening, draw_contrasts
from expunge.methods.least_change.factors import make_whole
from expunge.methods.least_change.moments import Side, add_moments, draw_vectors, trace
from expunge.methods.tracing import find_layers, trace_rows
from expunge.models.classifier import Classifier


def whiten(classifier, x, damping=1e-9):
    layers = find_layers(classifier, x)
    context = Context(Runtime(batch_size=50))
    generator = torch.Generator().manual_seed(0)
    return (
        layers,
        compute_whitening(classifier, layers, x, damping=damping, generator=generator, context=context),
        context,
    )


def test_whitened_length_is_the_logit_change_of_a_linear_classifier():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), num_classes=4)
    x = torch.rand(4000, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    (layer,), whitening, context = whiten(classifier, x, damping=1e-6)
    assert context.cost().gradient_evaluations == 4000
    wanted = torch.randn(1, 4, 13, generator=torch.Generator().manual_seed(2))
    wanted = wanted - wanted.mean(dim=1, keepdim=True)  # what moves all logits alike changes no answer
    step = torch.linalg.solve(whitening.outputs[0].matrix.mT, wanted) @ torch.linalg.inv(whitening.inputs[0].matrix)
    torch.testing.assert_close(whitening.apply(0, step), wanted, atol=1e-3, rtol=1e-3)
    before = classifier(x).detach()
    layer.write(layer.read() + wanted)
    change = classifier(x).detach() - before
    ratio = change.square().sum(dim=1).mean() / step.square().sum()
    assert 0.9 < float(ratio) < 1.1


def test_gradients_are_pulled_by_the_transpose_of_what_moves_weights():
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    classifier = Classifier.wrap(network, num_classes=3)
    x = torch.rand(20, 4, 7, 5, generator=torch.Generator().manual_seed(1))
    layers, whitening, _ = whiten(classifier, x, damping=0.1)
    for number, layer in enumerate(layers):
        step, gradient = torch.rand(layer.shape), torch.rand(layer.shape)
        torch.testing.assert_close(
            (whitening.apply(number, step) * gradient).sum(),
            (step * whitening.pull(number, gradient)).sum(),
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.mark.parametrize("size", [(3, 3), (9, 8)])
def test_row_gradients_are_whitened_alike_by_positions_and_by_matrices(size):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    classifier = Classifier.wrap(network, num_classes=3)
    x = torch.rand(20, 3, *size, generator=torch.Generator().manual_seed(1))
    layers, whitening, _ = whiten(classifier, x, damping=0.1)
    _, flows = trace_rows(classifier, layers, x[:3], torch.ones_like)
    assert flows[0].positions == (size[0] - 2) * (size[1] - 2)
    for number, flow in enumerate(flows):
        expected = whitening.pull(number, flow.row_gradients())
        torch.testing.assert_close(whitening.pull_rows(number, flow), expected, atol=1e-5, rtol=1e-4)


def test_vectors_of_a_layer_that_is_called_twice_have_the_expected_moments():
    """With the same signs for both calls, their sum would have twice the trace where the calls are alike."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 2)

        def forward(self, x):
            x = x.flatten(2).mT
            return self.head((self.linear(x) + self.linear(x)).mean(dim=1))

    classifier = Classifier.wrap(Twice(), num_classes=2)
    x = torch.rand(3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    layer = next(each for each in find_layers(classifier, x) if each.module is classifier.network.linear)
    _, (traced,) = trace_rows(classifier, (layer,), x, torch.ones_like)
    for side, size in ((Side.OUTPUTS, 4), (Side.INPUTS, 4)):
        whole = torch.zeros(1, size, size)
        add_moments(traced, *((whole, None) if side is Side.INPUTS else (None, whole)), 0)
        drawn = [trace(draw_vectors(traced, side, seed, slice(0, 3)), thin=True) for seed in range(400)]
        torch.testing.assert_close(torch.stack(drawn).mean(dim=0), trace(whole, thin=False), rtol=0.15, atol=0)


def test_a_layer_that_nothing_reaches_gives_no_nan():
    classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), num_classes=4)
    _, whitening, _ = whiten(classifier, torch.zeros(3, 3, 2, 2))
    assert all(bool(torch.isfinite(factor.matrix).all()) for factor in (*whitening.outputs, *whitening.inputs))


def test_groups_are_whitened_apart():
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    classifier = Classifier.wrap(network, num_classes=3)
    x = torch.rand(20, 4, 7, 5, generator=torch.Generator().manual_seed(1))
    layers, whitening, _ = whiten(classifier, x, damping=0.1)
    assert [tuple(factor.matrix.shape) for factor in whitening.outputs] == [(2, 3, 3), (1, 3, 3)]
    assert [tuple(factor.matrix.shape) for factor in whitening.inputs] == [(2, 19, 19), (1, 7, 7)]
    assert whitening.apply(0, torch.rand(5, *layers[0].shape)).shape == (5, *layers[0].shape)


def test_moments_that_rounding_made_indefinite_are_damped_more():
    moments = torch.tensor([[[1.0, 1.0], [1.0, 1.0 - 1e-4]]])
    assert float(torch.linalg.eigvalsh(moments).min()) < 0
    factor = make_whole(moments, 1e-9).matrix
    assert bool(torch.isfinite(factor).all())
    assert 0 < float((factor @ moments @ factor.mT).diagonal(dim1=1, dim2=2).max()) <= 1


def test_contrasts_have_no_mean():
    drawn = draw_contrasts(3, 5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)


def test_the_whitening_does_not_depend_on_how_many_images_go_through_at_a_time(trained):
    x = torch.rand(20, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    layers = find_layers(trained, x)
    whole, parts = (
        compute_whitening(
            trained,
            layers,
            x,
            damping=0.1,
            generator=torch.Generator().manual_seed(0),
            context=Context(Runtime(batch_size=batch_size)),
        )
        for batch_size in (20, 3)
    )
    for one, other in zip((*whole.outputs, *whole.inputs), (*parts.outputs, *parts.inputs), strict=True):
        torch.testing.assert_close(one.matrix, other.matrix, rtol=1e-3, atol=1e-4)


def test_layers_below_a_head_that_is_nearly_zero_get_no_free_steps():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        network[3].weight.mul_(1e-9)
    classifier = Classifier.wrap(network, num_classes=4)
    x = torch.rand(20, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    layers, whitening, _ = whiten(classifier, x, damping=0.01)
    moved = [whitening.apply(number, torch.ones(layer.shape)) for number, layer in enumerate(layers)]
    assert not bool(moved[0].any())
    assert bool(moved[1].any())
