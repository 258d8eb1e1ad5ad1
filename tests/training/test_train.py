import itertools
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from expunge.base.errors import ClassifierError, DataError
from expunge.compute.context import Context
from expunge.compute.runtime import Precision, Runtime
from expunge.data.images import Subset, TensorImages
from expunge.models.classifier import Classifier
from expunge.task.evaluation import predict
from expunge.training import Algorithm, Recipe, train_classifier

RECIPE = Recipe(epochs=3, learning_rate=0.05, batch_size=8)
RUNTIME = Runtime()


def build():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Classifier.wrap(nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(8, 5)), num_classes=5)


@pytest.fixture(scope="module")
def images(other_images):
    return TensorImages([f"other-{row}" for row in range(20)], other_images[1], other_images[0])


def test_training_learns_what_the_images_show(images):
    trained = train_classifier(
        build, images, Recipe(epochs=40, learning_rate=0.1, batch_size=8), seed=0, context=Context(RUNTIME)
    )
    assert not trained.module.training
    assert predict(trained, images).accuracy >= 95


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(images):
    first, second, other = (
        train_classifier(build, images, RECIPE, seed=seed, context=Context(RUNTIME)).sha256() for seed in (0, 0, 1)
    )
    assert first == second != other


@pytest.mark.parametrize("changes", [{"algorithm": Algorithm.SGD}, {"algorithm": Algorithm.ADAM}, {"momentum": 0.0}])
def test_a_stopped_training_goes_on_as_if_it_had_not_been_stopped(images, tmp_path, changes):
    recipe = Recipe(**{"epochs": 4, "learning_rate": 0.01, "batch_size": 8, **changes})
    whole = train_classifier(build, images, recipe, seed=3, context=Context(RUNTIME))
    path = tmp_path / "checkpoint.safetensors"
    for steps in (4, 5):
        with pytest.raises(KeyboardInterrupt):
            train_classifier(build, Stopping(images, steps), recipe, seed=3, context=Context(RUNTIME), checkpoint=path)
    resumed = train_classifier(build, images, recipe, seed=3, context=Context(RUNTIME), checkpoint=path)
    assert resumed.sha256() == whole.sha256()


def test_the_progress_counts_what_an_earlier_start_has_done(images, tmp_path):
    path, progress = tmp_path / "checkpoint.safetensors", Counting()
    with pytest.raises(KeyboardInterrupt):
        train_classifier(
            build, Stopping(images, 4), RECIPE, seed=0, context=Context(Runtime(progress=progress)), checkpoint=path
        )
    train_classifier(build, images, RECIPE, seed=0, context=Context(Runtime(progress=progress)), checkpoint=path)
    assert progress.totals == [9, 9]
    assert progress.units == [[0, 1, 1, 1, 1], [3, 1, 1, 1, 1, 1, 1]]


def test_a_checkpoint_of_another_training_is_refused(images, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train_classifier(build, images, RECIPE, seed=0, context=Context(RUNTIME), checkpoint=path)
    fewer = Subset(images, range(19))
    darker = TensorImages(images.ids, images.labels, 0.5 * images.pixels)

    def normalised():
        return Classifier.wrap(build().network, num_classes=5, mean=0.5, std=0.25)

    for make, other, seed in ((build, images, 1), (build, fewer, 0), (build, darker, 0), (normalised, images, 0)):
        with pytest.raises(ClassifierError, match="a checkpoint of this training"):
            train_classifier(make, other, RECIPE, seed=seed, context=Context(RUNTIME), checkpoint=path)


def test_a_damaged_checkpoint_is_named(images, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"half a file")
    with pytest.raises(ClassifierError, match=r"checkpoint\.safetensors`: expected a whole checkpoint"):
        train_classifier(build, images, RECIPE, seed=0, context=Context(RUNTIME), checkpoint=path)


def test_images_are_laid_out_as_convolutions_like_them_and_the_weights_are_not(images):
    seen = []

    def build_watched():
        classifier = build()
        classifier.module.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0])))
        return classifier

    trained = train_classifier(build_watched, images, RECIPE, seed=0, context=Context(RUNTIME))
    steps = [x for training, x in seen if training]
    assert steps
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in steps)
    assert all(tensor.is_contiguous() for tensor in trained.module.state_dict().values())


def test_mixed_precision_keeps_float32_weights_and_learns(images):
    recipe = Recipe(epochs=40, learning_rate=0.1, batch_size=8, precision=Precision.BFLOAT16)
    trained = train_classifier(build, images, recipe, seed=0, context=Context(RUNTIME))
    assert {weight.dtype for weight in trained.module.parameters()} == {torch.float32}
    assert predict(trained, images).accuracy >= 95
    exact = train_classifier(
        build, images, Recipe(epochs=40, learning_rate=0.1, batch_size=8), seed=0, context=Context(RUNTIME)
    )
    assert trained.sha256() != exact.sha256()


def test_global_generators_are_left_alone(images):
    before = torch.get_rng_state()
    train_classifier(build, images, RECIPE, seed=0, context=Context(RUNTIME))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_does_not_fit_is_refused_before_the_first_step(images):
    beyond = TensorImages(images.ids, images.labels + 1, images.pixels)
    with pytest.raises(DataError, match=r"`labels`: expected 0..4, the classifier's classes, got 5"):
        train_classifier(build, beyond, RECIPE, seed=0, context=Context(RUNTIME))
    with pytest.raises(DataError, match="at least one image to train on"):
        train_classifier(build, Subset(images, []), RECIPE, seed=0, context=Context(RUNTIME))


def test_a_loss_that_is_not_finite_is_an_error(images):
    with pytest.raises(ClassifierError, match="lower the learning rate"):
        train_classifier(build, images, Recipe(epochs=9, learning_rate=1e30), seed=0, context=Context(RUNTIME))


class Counting:
    """Progress that remembers its phases."""

    def __init__(self):
        self.totals, self.units = [], []

    @contextmanager
    def phase(self, name, total):
        self.totals.append(total)
        self.units.append([])
        yield self.units[-1].append


class Stopping:
    """Images whose reader presses Ctrl-C after so many batches of training."""

    def __init__(self, images, batches):
        self.ids, self.labels, self.images = images.ids, images.labels, images
        self.left = itertools.count(batches, -1)

    def load(self, rows):
        if 1 < len(rows) < len(self.ids) and next(self.left) == 0:
            raise KeyboardInterrupt
        return self.images.load(rows)
