import pytest
import torch

from expunge.models.classifier import Bounds
from expunge.training import Algorithm, Augmentation, Schedule, Training
from expunge.training.augmentation import augment
from expunge.training.recipe import make_optimiser, set_rate
from expunge.training.trainer import draw_batches

FLIPS = Augmentation.FLIPS_AND_CROPS


@pytest.mark.parametrize(("count", "size"), [(1, 4), (5, 4), (9, 4), (12, 4), (3, 1)])
def test_batches_hold_every_row_once_and_no_more_than_asked(count, size):
    batches = list(draw_batches(count, size, torch.Generator().manual_seed(0)))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert max(map(len, batches)) <= size
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


def test_augmented_images_are_crops_of_the_padded_image_or_its_mirror():
    x = torch.arange(1.0, 49.0).view(1, 1, 8, 6).expand(40, 3, 8, 6)
    moved = augment(x, FLIPS, Bounds(-1, 50), torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    padded = torch.full((3, 10, 8), -1.0)
    padded[:, 1:9, 1:7] = x[0]
    crops = [padded[:, top : top + 8, left : left + 6] for top in range(3) for left in range(3)]
    allowed = [crop for each in crops for crop in (each, each.flip(-1))]
    kinds = [next(number for number, crop in enumerate(allowed) if torch.equal(image, crop)) for image in moved]
    assert len(set(kinds)) > 10


def test_crops_are_never_mirrored():
    x = torch.arange(1.0, 49.0).view(1, 1, 8, 6).expand(40, 3, 8, 6)
    moved = augment(x, Augmentation.CROPS, Bounds(), torch.Generator().manual_seed(0))
    steps = moved[:, 0, 3].diff(dim=-1)
    assert bool((steps[:, 1:-1] == 1).all())


def test_no_augmentation_leaves_images_as_they_are():
    x = torch.rand(3, 3, 8, 6)
    assert augment(x, Augmentation.NONE, Bounds(), torch.Generator()) is x


def test_the_cosine_goes_from_the_full_rate_to_almost_none(classifier):
    training = Training(learning_rate=0.1, schedule=Schedule.COSINE)
    optimiser = make_optimiser(classifier, training)
    rates = []
    for progress in (0.0, 0.5, 0.99):
        set_rate(optimiser, training, progress)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[:2] == pytest.approx([0.1, 0.05])
    assert 0 < rates[2] < 1e-4


def test_warmup_rises_to_the_full_rate():
    training = Training(learning_rate=0.1, warmup=0.2)
    assert [training.rate(progress) for progress in (0.0, 0.1, 0.2, 0.9)] == pytest.approx([0.01, 0.055, 0.1, 0.1])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_optimiser_knows_only_weights_that_require_gradients(classifier, algorithm):
    classifier.network[0].requires_grad_(False)
    optimiser = make_optimiser(classifier, Training(algorithm=algorithm))
    held = {id(weight) for weight in optimiser.param_groups[0]["params"]}
    assert held == {id(weight) for weight in classifier.module.parameters() if weight.requires_grad}
