import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expunge.base.errors import ClassifierError
from expunge.data.forget import ForgetSet
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.steadiness import check_copy, check_steadiness

X = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def make(*layers):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))
    return Classifier.wrap(network, num_classes=3)


class AlwaysOn(nn.Module):
    """Dropout that doesn't know of eval mode."""

    def __init__(self, share=0.1):
        super().__init__()
        self.share = share

    def forward(self, x):
        return F.dropout(x, self.share)


class CentredInBatch(nn.Module):
    def forward(self, x):
        return x - x.mean(dim=0, keepdim=True)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (nn.BatchNorm2d(8, track_running_stats=False), "does not depend on the others"),
        (CentredInBatch(), "does not depend on the others"),
        (AlwaysOn(), "depend on chance"),
    ],
)
def test_answers_that_depend_on_the_batch_or_on_chance_are_refused(layer, found, count):
    with pytest.raises(ClassifierError, match=found):
        check_steadiness(make(layer), X[:count])


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(8), nn.Dropout(0.5), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)])
def test_layers_that_know_of_eval_mode_are_steady(layer):
    classifier = make(layer)
    before, state = [part.training for part in classifier.module.modules()], torch.get_rng_state()
    check_steadiness(classifier, X)
    assert [part.training for part in classifier.module.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)


def test_an_edit_is_refused_before_it_begins():
    classifier = make(nn.BatchNorm2d(8, track_running_stats=False))
    labels = classifier(X).argmax(dim=1)
    with pytest.raises(ClassifierError, match="the others in its batch"):
        unlearn(classifier, ForgetSet.numbered(X, labels), minimum_right=0)


def test_a_copy_computes_with_its_own_weights():
    check_copy(make(), X)
    replaced = make()
    forward = replaced.network.forward

    def doubled(x):
        return 2 * forward(x)

    replaced.network.forward = doubled
    with pytest.raises(ClassifierError, match="define forward in the class"):
        check_copy(replaced, X)
    with pytest.raises(ClassifierError, match="define forward in the class"):
        unlearn(replaced, ForgetSet.numbered(X, torch.tensor([0, 1, 2])), method="l2ul", minimum_right=0)


def test_frozen_weights_are_no_matter_of_copies():
    frozen = make()
    frozen.module.requires_grad_(False)
    check_copy(frozen, X)


class WithoutGradients(nn.Linear):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x.flatten(1))


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)).detach()


@pytest.mark.parametrize("kind", [WithoutGradients, Detached])
def test_answers_without_gradients_are_refused_as_such(kind):
    classifier = Classifier.wrap(kind(192, 3), num_classes=3, mean=0, std=1)
    with pytest.raises(
        ClassifierError, match="expected a network whose answers have gradients, got answers without any"
    ):
        check_copy(classifier, X)
