import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expunge.models.classifier import Classifier
from expunge.models.folding import choose_layout, fold_batchnorm

X = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(0))


def make(network):
    """Return a classifier with BatchNorm statistics and weights that are not those of an untrained one."""
    generator = torch.Generator().manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return Classifier.wrap(network.eval(), num_classes=4)


def count_norms(classifier):
    return sum(isinstance(part, nn.BatchNorm2d) for part in classifier.module.modules())


def head(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)]


class Forked(nn.Module):
    """The convolution's output goes past the BatchNorm, too."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        self.head = nn.Sequential(*head(5))

    def forward(self, x):
        x = self.convolution(x)
        return self.head(F.relu(self.norm(x)) + x)


class Shared(nn.Module):
    """One BatchNorm after two convolutions."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5)
        self.head = nn.Sequential(*head(5))

    def forward(self, x):
        return self.head(self.norm(self.second(F.relu(self.norm(self.first(x))))))


def test_the_answers_and_the_gradients_of_the_input_are_the_same(trained, rows):
    folded = fold_batchnorm(trained, rows.x)
    assert count_norms(trained) == 2
    assert count_norms(folded) == 0
    gradients = []
    for classifier in (trained, folded):
        x = rows.x.clone().requires_grad_(True)
        logits = classifier(x)
        gradients.append(torch.autograd.grad(F.cross_entropy(logits, rows.y), x)[0])
    torch.testing.assert_close(folded(rows.x), trained(rows.x).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)


def test_the_copy_is_frozen_and_in_eval_mode_and_the_original_as_it_was(classifier, rows):
    classifier.module.train()
    before = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    folded = fold_batchnorm(classifier, rows.x)
    assert not any(part.training for part in folded.module.modules())
    assert not any(weight.requires_grad for weight in folded.module.parameters())
    assert all(part.training for part in classifier.module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.module.state_dict().items())


@pytest.mark.parametrize("network", [Forked, Shared])
def test_what_cannot_be_folded_stays_as_it_is(network):
    classifier = make(network())
    folded = fold_batchnorm(classifier, X)
    assert count_norms(folded) == 1
    assert torch.equal(folded(X), classifier(X))


@pytest.mark.parametrize(
    "first",
    [nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(3, 6, (3, 1), stride=2, bias=False), nn.Conv2d(3, 6, 3, padding="same")],
)
def test_convolutions_of_all_kinds(first):
    classifier = make(nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), *head(6)))
    folded = fold_batchnorm(classifier, X)
    assert count_norms(folded) == 0
    torch.testing.assert_close(folded(X), classifier(X), rtol=1e-4, atol=1e-5)


def test_a_batchnorm_with_an_activation_of_its_own():
    layers = pytest.importorskip("timm.layers")
    classifier = make(nn.Sequential(nn.Conv2d(3, 6, 3), layers.BatchNormAct2d(6), *head(6)))
    folded = fold_batchnorm(classifier, X)
    assert count_norms(folded) == 0
    torch.testing.assert_close(folded(X), classifier(X), rtol=1e-4, atol=1e-5)


def test_without_batchnorm_there_is_nothing_to_fold():
    classifier = make(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), *head(6)))
    assert torch.equal(fold_batchnorm(classifier, X)(X), classifier(X))


def test_shared_modules_are_neither_copied_nor_folded_and_the_rest_is(classifier, rows):
    edited = [part for part in classifier.module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))][-2:]
    folded = fold_batchnorm(classifier, rows.x, sharing=edited)
    assert 0 < count_norms(folded) < count_norms(classifier)
    own = {id(weight) for part in edited for weight in part.parameters()}
    assert {id(weight) for weight in folded.module.parameters() if weight.requires_grad} == own
    with torch.no_grad():
        for part in edited:
            part.weight.mul_(1.5)
    torch.testing.assert_close(folded(rows.x), classifier(rows.x), rtol=1e-4, atol=1e-5)


class Viewing(nn.Module):
    """Takes for granted that maps lie channel by channel."""

    def __init__(self):
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 4, 5)

    def forward(self, x):
        x = self.convolution(x)
        return self.linear(x.view(len(x), -1))


class Striding(Viewing):
    """Reads the memory as it lies, without an error."""

    def forward(self, x):
        x = self.convolution(x)
        return self.linear(x.as_strided((len(x), 96), (96, 1)))


def test_convolutions_get_their_channels_side_by_side(trained, rows):
    chosen = choose_layout(trained, rows.x)
    assert chosen.layout is torch.channels_last
    assert chosen.module is trained.module
    assert chosen.copy().layout is chosen.frozen_copy().layout is torch.channels_last
    torch.testing.assert_close(chosen(rows.x), trained(rows.x), rtol=1e-4, atol=1e-5)
    assert choose_layout(chosen, rows.x) == chosen


def test_images_reach_the_module_in_that_layout(trained, rows):
    seen = []
    chosen = choose_layout(trained, rows.x).copy()
    chosen.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    chosen(rows.x)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen[0], rows.x)


def test_a_network_that_can_not_take_it_is_left_alone():
    for network in (Viewing(), Striding()):
        classifier = Classifier.wrap(network, num_classes=5)
        assert choose_layout(classifier, X) is classifier


def test_without_convolutions_nothing_changes(linear_classifier):
    linear = linear_classifier(torch.ones(2, 144), torch.zeros(2))
    assert choose_layout(linear, X) is linear


def test_the_mode_comes_back(classifier, rows):
    classifier.module.train()
    before = classifier.network[1].running_mean.clone()
    choose_layout(classifier, rows.x)
    assert all(part.training for part in classifier.module.modules())
    assert torch.equal(classifier.network[1].running_mean, before)
