"""Factors of very wide layers: what whole ones are, in less memory."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from expunge.base.errors import SettingsError
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.layers import Layer, Route
from expunge.methods.least_change import curvature
from expunge.methods.least_change.curvature import compute_whitening
from expunge.methods.least_change.factors import GIGABYTE, ThinFactor, choose_thin, make_thin, make_whole
from expunge.methods.tracing import find_layers, trace_rows
from expunge.models.classifier import Classifier

VECTORS = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(0))


def layers_of(*sizes):
    """Return linear layers that take no memory."""
    with torch.device("meta"):
        linears = [nn.Linear(inputs, outputs) for inputs, outputs in sizes]
    return [Layer(str(number), each, each.weight, each.bias) for number, each in enumerate(linears)]


def test_a_thin_factor_has_the_metric_of_the_whole_one():
    whole, thin = make_whole(VECTORS.mT @ VECTORS, 0.01), make_thin(VECTORS, 0.01)
    identity = torch.eye(40).expand(2, 40, 40)
    expected = whole.before(whole.before(identity), transposed=True)
    torch.testing.assert_close(thin.before(thin.before(identity)), expected, rtol=1e-3, atol=1e-4)
    assert thin.effort < whole.effort


@pytest.mark.parametrize("factor", [make_whole(VECTORS.mT @ VECTORS, 0.01), make_thin(VECTORS, 0.01)])
@pytest.mark.parametrize("transposed", [False, True])
def test_before_and_after_are_products_with_one_matrix(factor, transposed):
    identity, given = torch.eye(40).expand(2, 40, 40), torch.rand(3, 2, 40, 7)
    matrix = factor.before(identity, transposed=transposed)
    torch.testing.assert_close(factor.before(given, transposed=transposed), matrix @ given, rtol=1e-3, atol=1e-4)
    after = factor.after(given.mT, transposed=transposed)
    torch.testing.assert_close(after, given.mT @ matrix, rtol=1e-3, atol=1e-4)


def test_nothing_seen_is_no_step():
    thin = make_thin(torch.zeros(1, 3, 20), 0.01)
    assert not bool(thin.before(torch.ones(1, 20, 2)).any())


def test_ordinary_layers_are_whole():
    assert choose_thin(layers_of((512, 1000), (2048, 512)), 512, 4.0) == frozenset()


def test_the_widest_sides_become_thin_and_no_others():
    layers = layers_of((25088, 4096), (4096, 4096), (4096, 1000))
    assert choose_thin(layers, 512, 4.0) == {(0, 2)}
    assert choose_thin(layers, 512, 2.0) == {(0, 2)}
    assert choose_thin(layers_of((768, 21841)), 512, 4.0) == {(0, 1)}


def test_what_does_not_fit_at_all_is_an_error():
    wide = layers_of(*[(3000, 3000)] * 40)
    with pytest.raises(SettingsError, match=r"`memory_gigabytes`: expected at least .* for the curvature .* got 0\.3"):
        choose_thin(wide, 2000, 0.3)


@pytest.mark.parametrize("route", [Route.FLOW, Route.FUNCTION])
def test_an_edit_with_thin_factors_has_the_metric_of_one_with_whole_ones(monkeypatch, route):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(75, 30), nn.ReLU(), nn.Linear(30, 3))
    classifier = Classifier.wrap(network, num_classes=3)
    x = torch.rand(8, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    layers = find_layers(classifier, x)
    if route is Route.FUNCTION:
        layers = tuple(Layer(each.name, each.module, each.weight, each.bias, route) for each in layers)
    grams = []
    for thin in (frozenset(), frozenset({(0, 2)})):
        monkeypatch.setattr(curvature, "choose_thin", lambda *_, chosen=thin: chosen)
        generator, context = torch.Generator().manual_seed(2), Context(Runtime())
        whitening = compute_whitening(classifier, layers, x, damping=0.05, generator=generator, context=context)
        assert isinstance(whitening.inputs[0], ThinFactor) is bool(thin)
        _, traced = trace_rows(classifier, layers, x[:4], torch.ones_like)
        rows = whitening.pull_rows(0, traced[0]).flatten(1)
        assert whitening.apply(0, torch.rand(layers[0].shape)).shape == layers[0].shape
        grams.append(rows @ rows.T)
    torch.testing.assert_close(grams[1], grams[0], rtol=1e-2, atol=1e-3 * float(grams[0].max()))


def test_memory_is_counted_in_gigabytes():
    layer = layers_of((10_000, 2))
    needed = (12 + 48) * 10_001**2 / GIGABYTE
    assert choose_thin(layer, 10, needed * 1.01) == frozenset()
    assert choose_thin(layer, 10, needed * 0.99) == {(0, 2)}


@pytest.mark.parametrize("factor", [make_whole(VECTORS.mT @ VECTORS, 0.01), make_thin(VECTORS, 0.01)])
@pytest.mark.parametrize("product", [lambda factor, x: factor.before(x), lambda factor, x: factor.after(x.mT)])
def test_a_product_with_many_rows_does_not_copy_the_factor_for_each(factor, product):
    rows = 50
    with Largest() as seen:
        product(factor, torch.rand(rows, 2, 40, 1))
    assert seen.numbers <= rows * 2 * 40, "as many numbers as go in, and not 40 times as many"


class Largest(TorchDispatchMode):
    """Notes the largest tensor that an operation returns without sharing memory with what it was given."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if not func.is_view and isinstance(found, torch.Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found
