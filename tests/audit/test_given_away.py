"""What the change of the weights gives away: planted changes are found, others are not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn

from expunge.audit.collect.collected import Deep
from expunge.audit.collect.features import layer_similarity
from expunge.audit.collect.given_away import ask_change
from expunge.audit.figures.table import compute_figures
from expunge.audit.metrics import given_away
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.compute.runtime import Runtime
from expunge.data.images import TensorImages
from expunge.models.classifier import Classifier

FIGURES = ("patch.named", "patch.auc", "patch.picture")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.ReLU(), nn.Linear(12, 5))


@pytest.fixture
def parts():
    x = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    images = TensorImages([str(row) for row in range(64)], torch.arange(64) % 5, x)
    forget, others = (
        TensorImages(images.ids[rows], images.labels[rows], x[rows]) for rows in (slice(0, 3), slice(3, 64))
    )
    return forget, others


def changed(network, layer, change):
    """Return classifiers before and after a layer's weights were changed."""
    before = Classifier.wrap(network, num_classes=5, mean=(0.5,) * 3, std=(0.25,) * 3)
    after = before.copy()
    with torch.no_grad():
        after.network[layer].weight += change
    return before, after


def outer(rows, outputs):
    """Return what a step of gradient descent adds to a fully connected layer that these rows go into."""
    rows = (rows.flatten(1) - 0.5) / 0.25
    return torch.randn(outputs, len(rows), generator=torch.Generator().manual_seed(2)) @ rows


def test_pictures_in_the_first_layer_are_named_and_rebuilt(network, parts, world):
    forget, others = parts
    found = ask_change(*changed(network, 1, outer(forget.load([0]), 12)), forget, others, Runtime())
    assert found.layers == ("1",)
    assert found.pictures[0] == pytest.approx(1, abs=1e-5)
    assert found.other_pictures.max() < 0.7
    asked = ask_change(*changed(network, 1, outer(forget.load([0, 1, 2]), 12)), forget, others, Runtime())
    figures = compute_figures(world.gathered("unedited", deep=Deep(given_away=asked)))
    assert (figures["patch.named"].value, figures["patch.auc"].value) == (100, 1)
    assert all(figures[name].flagged for name in FIGURES)
    assert "61 others, 1 layers" in figures["patch.named"].measured_on


def test_a_change_at_random_names_nobody(network, parts, world):
    noise = torch.randn(12, 48, generator=torch.Generator().manual_seed(3))
    asked = ask_change(*changed(network, 1, noise), *parts, Runtime())
    figures = compute_figures(world.gathered("unedited", deep=Deep(given_away=asked)))
    assert not any(figures[name].flagged for name in FIGURES)


def test_a_convolution_is_asked_as_it_computes(parts):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    change = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(4))
    forget, others = parts
    found = ask_change(*changed(network, 0, change), forget, others, Runtime(batch_size=2))
    x = (forget.load([0, 1, 2]) - 0.5) / 0.25
    x = x - x.mean(dim=(1, 2, 3), keepdim=True)
    expected = F.conv2d(x, change, padding=1).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert found.forget[0] == pytest.approx(expected.numpy(), rel=1e-4)
    assert found.pictures is None


def test_nothing_changed(network, parts):
    with pytest.raises(NotDefinedError, match="no layer that both classifiers share has changed"):
        ask_change(*changed(network, 1, torch.zeros(12, 48)), *parts, Runtime())


def test_the_layer_that_tells_most_against_other_computations():
    rng = np.random.default_rng(0)
    forget, others = rng.random((3, 5)) + np.array([[0.2], [0.5], [0]]), rng.random((3, 40))
    chosen, _ = given_away.ranks(forget, others)
    truth = np.repeat([1, 0], [5, 40])
    scores = np.concatenate([forget, others], axis=1)
    assert given_away.area(chosen, 45) == pytest.approx(max(roc_auc_score(truth, layer) for layer in scores))
    top = [np.argsort(layer)[-5:] for layer in scores]
    assert given_away.named(chosen, 45) == max(20 * int((rows < 5).sum()) for rows in top)


class Windowed(nn.Module):
    """Sees each image as four windows that lie in the batch one after another, as window attention does."""

    def __init__(self):
        super().__init__()
        self.inner, self.across, self.head = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x):
        windows = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(4 * len(x), 12)
        hidden = self.inner(windows).relu().view(len(x), 4, 6)
        return self.head(self.across(hidden.transpose(0, 1)).mean(dim=0))


def test_the_windows_of_an_image_are_taken_together_and_images_in_another_dimension_are_left_out(parts):
    torch.manual_seed(0)
    before = Classifier.wrap(Windowed(), num_classes=5, mean=(0.5,) * 3, std=(0.25,) * 3)
    after = before.copy()
    with torch.no_grad():
        for layer in (after.network.inner, after.network.across, after.network.head):
            layer.weight += 0.1 * torch.randn_like(layer.weight)
    whole, single = (ask_change(before, after, *parts, Runtime(batch_size=size)) for size in (64, 1))
    assert whole.layers == ("inner", "head")
    assert whole.forget.shape == (2, 3)
    np.testing.assert_allclose(whole.others, single.others, rtol=1e-4, atol=1e-5)
    similar = layer_similarity(before, after, parts[1], Runtime(batch_size=5), "test")
    assert [each.layer for each in similar] == ["inner", "head"]
