import pytest
import torch
from torch import nn

from expunge.base.errors import ExpungeWarning
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.images import TensorImages
from expunge.models.pixels import Bounds
from expunge.training import Algorithm, Augmentation, Schedule, Training
from expunge.training.augmentation import augment
from expunge.training.recipe import make_optimiser, set_rate
from expunge.training.step import Pass, differentiate_pass
from expunge.training.trainer import Trainer, draw_batches

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


def test_the_rate_falls_to_a_tenth_after_each_epoch_at_its_first_step():
    training = Training(epochs=7, learning_rate=1.0, schedule=Schedule.TENTHS)
    for epoch in range(7):
        rates = [training.rate((epoch + step / 3) / 7) for step in range(3)]
        assert rates == pytest.approx([0.1**epoch] * 3)


def test_images_that_stay_as_they_are_are_not_augmented(trained, rows):
    kept, seen = torch.tensor([False, True, False, False, True, True]), {}

    def losses(batch):
        seen.update(zip(batch.rows.tolist(), batch.x, strict=True))
        return {"nothing": 0 * working(batch.x).sum()}

    working = trained.copy()
    one = Trainer(working, Training(batch_size=4), Context(Runtime()), lambda _: torch.Generator().manual_seed(0))
    one.run_pass(TensorImages(rows.ids, rows.y, rows.x), losses, epoch=0, as_they_are=kept)
    same = [torch.equal(seen[row], rows.x[row]) for row in range(6)]
    assert [each for each, stays in zip(same, kept.tolist(), strict=True) if stays] == [True] * 3
    assert not all(same)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_optimiser_knows_only_weights_that_require_gradients(classifier, algorithm):
    classifier.network[0].requires_grad_(False)
    optimiser = make_optimiser(classifier, Training(algorithm=algorithm))
    held = {id(weight) for weight in optimiser.param_groups[0]["params"]}
    assert held == {id(weight) for weight in classifier.module.parameters() if weight.requires_grad}


@pytest.mark.parametrize(("norm", "training", "at_once"), [(True, True, 8), (True, False, 3), (False, True, 3)])
def test_batches_that_go_through_whole_or_are_not_normalised_by_themselves_are_no_news(norm, training, at_once):
    take_pass(norm, training, at_once)


def test_that_batchnorm_sees_parts_of_a_batch_is_said():
    with pytest.warns(ExpungeWarning, match="8 images go through 3 at a time, and BatchNorm takes the statistics of"):
        take_pass(True, True, 3)


def take_pass(norm, training, at_once):
    """Differentiate a pass of eight images through a small network."""
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4) if norm else nn.ReLU()).train(training)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    one = Pass(len(x), lambda part: {"term": module(x[part]).square().sum()})
    differentiate_pass(one, list(module.parameters()), module, Sharing(at_once))
