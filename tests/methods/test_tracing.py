"""Layers that are not what they seem: their row gradients are autograd's, and they can be edited."""

import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.data.forget import ForgetSet
from expunge.methods.flows import Flow
from expunge.methods.layers import Route, differentiate
from expunge.methods.tracing import find_layers, images_at_once, trace_rows
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.task.task import Limits, StopReason, Strength

FLOW, FUNCTION, ALONE = Route.FLOW, Route.FUNCTION, Route.ALONE
CLASSES = 3
QUICK = {
    "surrogates": {"mixes": 16, "procedural": 8, "inverted": 4, "inversion": {"steps": 1}},
    "exact": {"steps": 2, "surrogate_batch": 8},
    "robust": {"steps": 2, "surrogate_batch": 8, "copies": 8},
}


class Network(nn.Module):
    """Parts by name, and a function that calls them."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.how = forward

    def forward(self, x):
        return self.how(self, x)


class Standardised(nn.Conv2d):
    """A convolution with the standardised form of its weights."""

    def forward(self, x):
        mean, deviation = self.weight.mean((1, 2, 3), keepdim=True), self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / (deviation + 1e-5), self.bias, self.stride, self.padding)


class Scaled(torch.autograd.Function):
    """An operation that `torch.func` can't run."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def body(*layers):
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def pooled(network, x):
    return network.conv(x).relu().mean((2, 3))


def parts(**more):
    return {"conv": nn.Conv2d(3, 8, 3), "head": nn.Linear(8, CLASSES), **more}


def tokens(network, x):
    """Return tokens (n, b, channels), as torch's encoder layer takes them by default."""
    return network.embed(x).flatten(2).permute(2, 0, 1)


def crops(network, x):
    both = torch.stack([x[..., :-2, :-2], x[..., 2:, 2:]], 1).flatten(0, 1)
    return network.head(pooled(network, both)).view(len(x), 2, -1).mean(1)


def biased_by_table(network, x):
    """Add what a layer makes of a constant table, the same for all images."""
    return network.head(pooled(network, x) + network.table(torch.linspace(0, 1, 4).view(1, 4)))


def frozen(network, wanted):
    for name, weight in network.named_parameters():
        weight.requires_grad_(wanted(name))
    return network


def tied():
    network = Network(lambda n, x: n.head(n.second(n.first(pooled(n, x)).relu())), **parts())
    network.first, network.second = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
    network.second.weight = network.first.weight
    return network


def under_no_grad(network, x):
    with torch.no_grad():
        features = pooled(network, x)
    return network.head(features)


def in_bfloat16(network, x):
    with torch.autocast("cpu", torch.bfloat16):
        return network.head(pooled(network, x)).float()


def second_head(network, x):
    features = pooled(network, x)
    return SimpleNamespace(logits=network.head(features), embedding=network.project(features))


def auxiliary(network, x):
    features = network.norm(network.conv(x)).relu()
    if network.training:
        network.aux(features)
    return network.head(features.mean((2, 3)))


def biased_from_cache(network, x):
    """Keep what is computed from a weight, as LeViT keeps its attention biases."""
    if not network.cache:
        network.cache["bias"] = network.scale * 2
    return network.head(pooled(network, x) * network.cache["bias"])


def cached():
    network = Network(biased_from_cache, **parts(scale=nn.Parameter(torch.ones(8))))
    network.cache = {}
    return network


def weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


ENCODER = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0}
NETWORKS = {
    "standardised": (lambda: body(Standardised(3, 8, 3)), [FUNCTION, FLOW]),
    "circular padding": (lambda: body(nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")), [FUNCTION, FLOW]),
    "weight norm": (lambda: body(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))), [FUNCTION, FLOW]),
    "spectral norm": (lambda: body(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3))), [FUNCTION, FLOW]),
    "weight norm by hooks": (lambda: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(192, CLASSES))), [ALONE]),
    "tokens first": (
        lambda: Network(
            lambda n, x: n.head(n.layer(tokens(n, x)).mean(0)),
            embed=nn.Conv2d(3, 8, 2, stride=2),
            layer=nn.TransformerEncoderLayer(**ENCODER),
            head=nn.Linear(8, CLASSES),
        ),
        [FLOW, FUNCTION, FUNCTION, FUNCTION, FLOW],
    ),
    "two tokens": (
        lambda: Network(
            lambda n, x: n.head(F.gelu(n.mix(tokens(n, x)[:2])).mean(0)),
            embed=nn.Conv2d(3, 8, 2, stride=2),
            mix=nn.Linear(8, 8),
            head=nn.Linear(8, CLASSES),
        ),
        [FLOW, FUNCTION, FLOW],
    ),
    "crops inside the network": (lambda: Network(crops, **parts()), [FLOW, FLOW]),
    "constant table": (lambda: Network(biased_by_table, **parts(table=nn.Linear(4, 8))), [FLOW, FLOW, FUNCTION]),
    "tied weights": (tied, [FLOW, FLOW, FUNCTION]),
    "frozen biases": (lambda: frozen(body(nn.Conv2d(3, 8, 3)), lambda name: "weight" in name), [FLOW, FLOW]),
    "second head": (lambda: Network(second_head, **parts(project=nn.Linear(8, 4))), [FLOW, FLOW]),
    "without gradients inside": (lambda: Network(under_no_grad, **parts()), [FLOW]),
    "detached": (lambda: Network(lambda n, x: n.head(pooled(n, x).detach()), **parts()), [FLOW]),
    "called by keyword": (lambda: Network(lambda n, x: n.head(input=pooled(n, x)), **parts()), [FLOW, FUNCTION]),
    "weight used elsewhere": (
        lambda: Network(lambda n, x: F.linear(pooled(n, x), n.head.weight), **parts()),
        [FLOW, FUNCTION],
    ),
    "autocast inside": (lambda: Network(in_bfloat16, **parts()), [FUNCTION, FUNCTION]),
    "not for torch.func": (
        lambda: Network(lambda n, x: n.head(input=Scaled.apply(pooled(n, x))), **parts()),
        [FLOW, ALONE],
    ),
    "cache of what weights make": (cached, [FLOW, FLOW]),
    "auxiliary head": (
        lambda: Network(
            auxiliary, norm=nn.BatchNorm2d(8), aux=nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)), **parts()
        ),
        [FLOW, FLOW],
    ),
}
WITHOUT_LAYERS = {
    "only biases": lambda: frozen(body(nn.Conv2d(3, 8, 3)), lambda name: "bias" in name),
    "Conv1d": lambda: Network(lambda n, x: n.conv(x.flatten(2)).mean(2), conv=nn.Conv1d(3, CLASSES, 3)),
}


def make(build, count=5):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build().eval()
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Classifier.wrap(network, num_classes=CLASSES), x


def forget(classifier, x):
    return ForgetSet.numbered(x, classifier(x).argmax(dim=1))


@pytest.mark.parametrize("name", NETWORKS)
def test_row_gradients_are_those_of_autograd(name):
    build, routes = NETWORKS[name]
    classifier, x = make(build)
    layers = find_layers(classifier, x)
    assert sorted(layer.route for layer in layers) == sorted(routes)
    cotangent = torch.randn(len(x), CLASSES, generator=torch.Generator().manual_seed(2))
    logits, traced = trace_rows(classifier, layers, x, lambda _: cotangent)
    torch.testing.assert_close(logits, classifier(x).detach())
    tolerance = 0.02 if name == "autocast inside" else 1e-4
    for row in range(len(x)):
        expected = differentiate((classifier(x) * cotangent)[row].sum(), layers)
        for each, gradient in zip(traced, expected, strict=True):
            found = each.row_gradients()[row]
            assert float((found - gradient).detach().norm()) <= tolerance * float(gradient.detach().norm()) + 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_some_positions_are_those_of_all_that_are_chosen(name):
    classifier, x = make(NETWORKS[name][0])
    layers = find_layers(classifier, x)
    _, traced = trace_rows(classifier, layers, x, torch.ones_like)
    for flow in (each for each in traced if isinstance(each, Flow)):
        some = flow.inputs_at(lambda count: torch.arange(count).flip(0)[: max(1, count // 2)])
        for (columns, gradient), found, spread in zip(flow.unrolled(), some, flow.output_gradients(), strict=True):
            assert torch.equal(found, columns.flip(-1)[..., : max(1, columns.shape[-1] // 2)])
            assert torch.equal(spread, gradient)


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("name", NETWORKS)
def test_such_networks_are_edited(name, strength):
    classifier, x = make(NETWORKS[name][0], count=3)
    method = make_method("least-change", QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpungeWarning)
        edit = unlearn(classifier, forget(classifier, x), method=method, strength=strength, limits=Limits(steps=3))
    assert edit.stop_reason in (StopReason.GOAL_REACHED, StopReason.STEP_LIMIT)
    before, after = classifier.network.state_dict(), edit.classifier.network.state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", WITHOUT_LAYERS)
def test_nothing_to_edit_is_said(name):
    classifier, x = make(WITHOUT_LAYERS[name])
    with pytest.raises(ClassifierError, match="expected a linear or convolutional layer"):
        find_layers(classifier, x)


def test_what_is_edited_does_not_depend_on_the_scale_of_standardised_weights():
    edits = []
    for factor in (0.05, 20.0):
        classifier, x = make(lambda: body(Standardised(3, 8, 3, bias=False)), count=3)
        with torch.no_grad():
            classifier.network[0].weight.mul_(factor)
        method = make_method("least-change", {**QUICK, "surrogates": {"mixes": 16, "procedural": 8}})
        edit = unlearn(classifier, forget(classifier, x), method=method, strength=Strength.EXACT)
        edits.append(edit.classifier(x).detach() - classifier(x).detach())
    torch.testing.assert_close(edits[0], edits[1], rtol=0.05, atol=0.02)


def test_row_gradients_made_as_such_bound_the_images_at_once():
    classifier, x = make(lambda: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(192, CLASSES))))
    layers = find_layers(classifier, x)
    assert images_at_once(x) == images_at_once(x, layers) > 4


def test_a_layer_without_right_gradients_stays_as_it_is(monkeypatch):
    def fail(*_):
        raise RuntimeError("not for this network")

    classifier, x = make(NETWORKS["called by keyword"][0])
    monkeypatch.setattr("expunge.methods.tracing.differentiate_rows", fail)
    with pytest.warns(ExpungeWarning, match=r"1 layers stay as they are: no row gradients of network\.head"):
        layers = find_layers(classifier, x)
    assert [layer.name for layer in layers] == ["network.conv"]


def test_a_layer_does_not_stay_as_it_is_because_memory_is_short(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("out of memory")

    classifier, x = make(NETWORKS["called by keyword"][0])
    monkeypatch.setattr("expunge.methods.tracing.differentiate_rows", fail)
    with pytest.raises(torch.OutOfMemoryError):
        find_layers(classifier, x)
