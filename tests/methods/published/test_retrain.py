from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.base.errors import ClassifierError
from expunge.compute.runtime import Precision
from expunge.data.forget import ForgetSet
from expunge.methods.published.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.reinitialise import reinitialise
from expunge.task.task import Limits, StopReason
from expunge.training import Recipe

BRIEF = Retrain(training=Recipe(epochs=2, batch_size=8))


def test_nothing_is_left_of_the_old_weights(trained, rows, retain):
    other = trained.copy()
    with torch.no_grad():
        for tensor in other.module.state_dict().values():
            tensor.add_(1) if not tensor.is_floating_point() else tensor.mul_(1.01)
    one, same = (unlearn(each, rows, method=BRIEF, retain=retain) for each in (trained, other))
    assert other.sha256() != trained.sha256()
    assert one.classifier.sha256() == same.classifier.sha256()


def test_an_offset_is_another_seed_of_the_training_alone(trained, rows, retain):
    moved = unlearn(trained, rows, method=replace(BRIEF, seed_offset=3), retain=retain)
    plain, other = (unlearn(trained, rows, method=BRIEF, retain=retain, seed=seed) for seed in (0, 3))
    assert moved.classifier.sha256() == other.classifier.sha256() != plain.classifier.sha256()
    assert moved.task.seed == 0


def test_it_learns_the_retain_data(trained, rows, retain):
    training = Recipe(epochs=60, batch_size=10)
    edit = unlearn(trained, rows, method=Retrain(training=training), retain=retain)
    right = edit.classifier(retain.pixels).argmax(dim=1) == retain.labels
    assert right.float().mean() > 0.9
    assert edit.stop_reason in (StopReason.COMPLETED, StopReason.GOAL_REACHED)


@pytest.mark.parametrize("setting", [{"label_smoothing": 0.5}, {"precision": Precision.BFLOAT16}])
def test_the_whole_recipe_counts(trained, rows, retain, setting):
    other = Retrain(training=replace(BRIEF.training, **setting))
    one, two = (unlearn(trained, rows, method=method, retain=retain).classifier for method in (BRIEF, other))
    assert one.sha256() != two.sha256()
    assert all(tensor.dtype == torch.float32 for tensor in two.module.parameters())


def test_weights_without_gradients_stay(classifier, rows, retain):
    classifier.network[0].requires_grad_(False)
    edit = unlearn(classifier, rows, method=BRIEF, retain=retain, limits=Limits(steps=1))
    assert torch.equal(edit.classifier.network[0].weight, classifier.network[0].weight)
    assert not torch.equal(edit.classifier.network[3].weight, classifier.network[3].weight)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x * self.factor


def test_modules_that_cannot_draw_new_weights_are_named(rows, retain):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 3), Scale(), nn.Linear(3, 5))
    classifier = Classifier.wrap(network, num_classes=5)
    agreeing = ForgetSet(rows.ids, rows.x, classifier(rows.x).argmax(dim=1))
    with pytest.raises(
        ClassifierError, match=r"modules that can draw new weights, got network\.2 \(Scale\); give them"
    ):
        unlearn(classifier, agreeing, method=BRIEF, retain=retain)


def test_statistics_of_a_batchnorm_without_weights_start_anew_too():
    norm = nn.BatchNorm2d(3, affine=False)
    norm(torch.rand(2, 3, 4, 4) + 5)
    network = nn.Sequential(norm, nn.Flatten(), nn.Linear(48, 2))
    reinitialise(Classifier.wrap(network, num_classes=2), torch.Generator())
    assert norm.running_mean.abs().max() == 0


def test_new_weights_are_new_and_depend_on_the_generator_only(trained):
    twins = [trained.copy() for _ in range(3)]
    for twin, seed in zip(twins, (0, 0, 1), strict=True):
        before = torch.get_rng_state()
        reinitialise(twin, torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), before)
    assert twins[0].sha256() == twins[1].sha256() != twins[2].sha256()
    assert torch.equal(twins[0].network[1].running_mean, torch.zeros(8))
    assert not torch.equal(twins[0].network[0].weight, trained.network[0].weight)
