"""A classifier cut in two: what goes through a cut must be enough for the answer, and nothing else counts."""

import pytest
import torch
from torch import nn

from expunge.models.classifier import Classifier
from expunge.models.tails import cut_at, enter, find_cut


class Skipping(nn.Module):
    """A block that its input goes round, then tokens, as in vision transformers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.mixing = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        stem = self.stem(x).relu()
        maps = self.inner(stem) + stem
        tokens = self.mixing(maps.flatten(2).transpose(1, 2))
        return self.head(tokens.mean(dim=1))


@pytest.fixture
def skipping():
    torch.manual_seed(0)
    return Classifier.wrap(Skipping(), num_classes=3, mean=0.5, std=0.5)


def test_the_part_after_the_cut_answers_like_the_whole(classifier, rows):
    cut = find_cut(classifier, classifier.network[3], rows.x)

    assert cut == "network.2"
    features = enter(classifier, cut, rows.x)
    assert torch.allclose(cut_at(classifier, cut, rows.x)(features), classifier(rows.x), atol=1e-5)


def test_a_module_that_something_goes_round_is_no_cut(skipping):
    """`inner` is called last before `mixing`, but its input goes round it."""
    x = torch.rand(2, 3, 6, 5)

    assert find_cut(skipping, skipping.network.mixing, x) == "network.stem"
    assert find_cut(skipping, skipping.network.stem, x) is None, "nothing is called before it"
    assert find_cut(skipping, skipping.network.head, x) == "network.mixing"


def test_tokens_go_through_a_cut_as_images_do(skipping):
    x = torch.rand(2, 3, 6, 5)
    features = enter(skipping, "network.mixing", x)

    assert features.shape == (2, 30, 4, 1)
    assert torch.allclose(cut_at(skipping, "network.mixing", x)(features), skipping(x), atol=1e-5)


def test_weights_before_the_cut_have_no_part_in_the_answer(classifier, rows):
    part = cut_at(classifier, "network.2", rows.x)
    part(enter(classifier, "network.2", rows.x)).sum().backward()

    assert all(weight.grad is None for weight in classifier.network[0].parameters())
    assert all(weight.grad is not None for weight in classifier.network[3].parameters())
