"""What the tests of single methods share: retain data, and training without anything random in it."""

import pytest
import torch

from expunge.data.images import TensorImages
from expunge.models.modes import BatchNormMode
from expunge.training import Augmentation, Training


@pytest.fixture(scope="session")
def retain(other_images):
    """Return twenty images that are no forget rows."""
    return TensorImages([f"other-{row}" for row in range(20)], other_images[1], other_images[0])


@pytest.fixture(scope="session")
def plain_training():
    """Return a function that makes training of one epoch in one batch, with nothing added: SGD, BatchNorm frozen."""

    def make(**changes):
        settings = {
            "epochs": 1,
            "learning_rate": 0.01,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "batch_size": 64,
            "batchnorm": BatchNormMode.FROZEN,
            "augmentation": Augmentation.NONE,
        }
        return Training(**{**settings, **changes})

    return make


@pytest.fixture(scope="session")
def weights_of():
    """Return a function from a classifier to all its weights in one vector."""

    def flatten(classifier):
        return torch.cat([weight.detach().flatten() for weight in classifier.module.parameters()])

    return flatten
