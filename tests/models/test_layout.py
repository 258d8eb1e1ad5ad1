import torch
from torch import nn

from expunge.models.classifier import Classifier
from expunge.models.layout import choose_layout

X = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(0))


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
