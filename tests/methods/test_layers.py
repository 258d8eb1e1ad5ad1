import pytest
import torch
from torch import nn

from expunge.methods.layers import count_weights, differentiate
from expunge.methods.tracing import find_layers, trace_rows
from expunge.models.classifier import Classifier


class SamePadded(nn.Conv2d):
    """A convolution that pads inside its forward, more after than before, as TensorFlow's "same" does."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


class Twice(nn.Module):
    """A network that calls one layer twice and one never."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(12, 12)
        self.unused = nn.Linear(12, 3)
        self.last = nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.shared(torch.relu(self.shared(x.flatten(1)))))


class Tokens(nn.Module):
    """A transformer-like network: a patch embedding, linear layers over tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 2, stride=2)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(torch.nn.functional.gelu(self.mix(tokens)).mean(1))


def convolutional(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


NETWORKS = {
    "plain with in-place activation": lambda: convolutional(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True)),
    "strided and dilated": lambda: convolutional(nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2, bias=False)),
    "grouped": lambda: convolutional(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=4)),
    "depthwise": lambda: convolutional(nn.Conv2d(3, 8, 1, stride=2), nn.Conv2d(8, 8, 3, padding=1, groups=8)),
    "same padding": lambda: convolutional(SamePadded(3, 8, 3, stride=2), nn.ReLU()),
    "padding by name": lambda: convolutional(nn.Conv2d(3, 8, (3, 1), padding="same"), nn.ReLU()),
    "with BatchNorm": lambda: convolutional(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
    "shared layer": Twice,
    "tokens": Tokens,
}


def make(name, height=2, width=2):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NETWORKS[name]()
    return Classifier.wrap(network, num_classes=3), torch.rand(
        3, 3, height, width, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_row_gradients_equal_those_of_autograd_row_by_row(name):
    classifier, x = make(name, *((2, 2) if name == "shared layer" else (8, 6)))
    classifier.module.eval()
    layers = find_layers(classifier, x)
    cotangent = torch.randn(3, 3, generator=torch.Generator().manual_seed(2))
    logits, flows = trace_rows(classifier, layers, x, lambda _: cotangent)
    torch.testing.assert_close(logits, classifier(x).detach())
    for row in range(3):
        parameters = [layer.module.weight for layer in layers]
        expected = torch.autograd.grad((classifier(x[row : row + 1]) * cotangent[row]).sum(), parameters)
        for layer, flow, gradient in zip(layers, flows, expected, strict=True):
            found = flow.row_gradients()[row]
            found = found[..., :-1] if layer.module.bias is not None else found
            torch.testing.assert_close(found.reshape(gradient.shape), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_row_gradients_add_up_to_the_gradient_of_the_sum_biases_included(name):
    classifier, x = make(name, *((2, 2) if name == "shared layer" else (8, 6)))
    classifier.module.eval()
    layers = find_layers(classifier, x)
    _, flows = trace_rows(classifier, layers, x, torch.ones_like)
    gradients = differentiate(classifier(x).sum(), layers)
    for layer, flow, gradient in zip(layers, flows, gradients, strict=True):
        assert flow.row_gradients().shape == (3, *layer.shape)
        torch.testing.assert_close(flow.row_gradients().sum(0), gradient, rtol=1e-4, atol=1e-6)


def test_layers_that_are_not_called_or_not_trainable_are_left_out():
    classifier, x = make("shared layer")
    classifier.network.last.weight.requires_grad_(False)
    assert [layer.name for layer in find_layers(classifier, x)] == ["network.shared"]


def test_write_what_was_read_and_nothing_changes():
    classifier, x = make("grouped", 8, 6)
    before = classifier.sha256()
    for layer in find_layers(classifier, x):
        matrix = layer.read()
        assert matrix.shape == layer.shape
        layer.write(matrix)
    assert classifier.sha256() == before
    assert count_weights(find_layers(classifier, x)) == sum(weight.numel() for weight in classifier.module.parameters())


def test_tracing_leaves_flags_statistics_and_hooks_alone():
    classifier, x = make("with BatchNorm", 8, 6)
    classifier.module.train()
    before = classifier.sha256()
    trace_rows(classifier, find_layers(classifier, x), x, torch.ones_like)
    assert classifier.sha256() == before
    assert all(part.training for part in classifier.module.modules())
    assert not any(part._forward_hooks for part in classifier.module.modules())
