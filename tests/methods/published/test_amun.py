import pytest
import torch
from torch import nn

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.published.amun import Amun, AmunRetain, NearestSearch, find_examples, find_nearest
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.folding import choose_layout
from expunge.models.pixels import Bounds
from expunge.surrogates.attack import l2_norms
from expunge.task.task import Task
from expunge.training import Training, trainer

SEARCH = NearestSearch()


def find(classifier, x, search=SEARCH, batch_size=256):
    return find_nearest(classifier.frozen_copy(), x, search, Context(Runtime(batch_size=batch_size)))


def test_examples_flip_the_prediction_and_carry_it_as_their_label(trained, rows):
    nearest = find(trained, rows.x, batch_size=4)
    assert bool(nearest.found.all())
    predicted = trained(nearest.x).argmax(dim=1)
    assert torch.equal(predicted, nearest.labels)
    assert bool((predicted != rows.y).all())
    assert nearest.x.min() >= 0
    assert nearest.x.max() <= 1


def test_examples_are_near_minimal_against_a_binary_search(trained, rows):
    """A bisection over the radius, with the same attack at each, finds none at less than half the distance."""
    found = l2_norms(find(trained, rows.x).x - rows.x).flatten()
    for row, distance in enumerate(found.tolist()):
        low, high = 0.0, distance
        for _ in range(6):
            middle = (low + high) / 2
            near = find(trained, rows.x[row : row + 1], NearestSearch(first_radius=middle, steps=100))
            reached = float(l2_norms(near.x - rows.x[row : row + 1]))
            low, high = (low, min(middle, reached)) if reached <= middle + 1e-6 else (middle, high)
        assert distance <= 2 * high + 1e-5


def test_the_distance_to_a_linear_boundary_is_at_most_a_step_more_than_the_exact_one(linear_classifier):
    weight = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    classifier = linear_classifier(weight, torch.tensor([0.3, 0.0]), Bounds(-5.0, 5.0))
    x = torch.zeros(1, 1, 2, 2)
    distance = float(l2_norms(find(classifier, x).x - x))
    exact = 0.3 / 2**0.5
    assert exact < distance <= 1.2 * exact


def test_rows_that_nothing_flips_have_no_example(trained, rows, linear_classifier):
    constant = linear_classifier(torch.zeros(2, 4), torch.tensor([1.0, 0.0]))
    nearest = find(constant, torch.rand(3, 1, 2, 2))
    assert not bool(nearest.found.any())


def test_a_row_that_is_wrong_already_is_its_own_example(trained, rows):
    labels = rows.y.clone()
    labels[2] = (labels[2] + 1) % 5
    nearest = find_nearest(trained.frozen_copy(), rows.x, SEARCH, Context(Runtime()), labels=labels)
    assert torch.equal(nearest.x[2], rows.x[2])
    assert nearest.labels[2] == rows.y[2]
    assert bool((nearest.labels != labels).all())


def test_examples_are_named_after_their_rows(trained, rows):
    examples = find_examples(Task.create(trained, rows), SEARCH, Context(Runtime()))
    assert list(examples.ids) == [f"nearest of row-{number}" for number in range(6)]
    assert bool((examples.labels != rows.y).all())


class Seen(list):
    """Batches seen in training, shared by all copies of a network."""

    def __deepcopy__(self, memo):
        return self


class Recording(nn.Module):
    """A network that keeps what it is trained on."""

    def __init__(self, network, seen):
        super().__init__()
        self.network, self.seen = network, seen

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.network(x)


@pytest.mark.parametrize(("kind", "augmented"), [(Amun, 6), (AmunRetain, 26)])
def test_rows_and_retain_data_are_augmented_and_examples_are_not(trained, rows, retain, monkeypatch, kind, augmented):
    monkeypatch.setattr(trainer, "augment", lambda x, *others: torch.full_like(x, 7.0))
    seen = Seen()
    classifier = Classifier(Recording(trained.copy().module, seen), 5)
    laid_out = choose_layout(trained, rows.x)  # as `unlearn` does
    examples = find_examples(Task.create(laid_out, rows), SEARCH, Context(Runtime())).pixels
    unlearn(classifier, rows, method=kind(training=Training(epochs=1)), retain=retain)
    (batch,) = seen
    changed = (batch == 7.0).flatten(1).all(dim=1)
    assert int(changed.sum()) == augmented
    assert {tuple(each.flatten().tolist()) for each in batch[~changed]} == {
        tuple(each.flatten().tolist()) for each in examples
    }


@pytest.mark.parametrize(("kind", "images"), [(Amun, 12), (AmunRetain, 32)])
def test_an_epoch_goes_through_everything_once(trained, rows, retain, plain_training, kind, images):
    one, two = (
        unlearn(trained, rows, method=kind(training=plain_training(epochs=epochs)), retain=retain) for epochs in (1, 2)
    )
    assert two.cost.gradient_evaluations - one.cost.gradient_evaluations == images
