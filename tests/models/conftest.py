"""Small networks of the test's own, and real images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn


@pytest.fixture
def small_network():
    """Return a network for 4x6 images with three classes and a BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 2 * 4, 3))


@pytest.fixture
def shared_tiles(shared_data):
    """Return a function from a CIFAR's name to 250 of its test images, spread over the classes, and labels."""

    def read(name: str):
        labels = np.load(shared_data / name / "index.npz")["y_test"][:5000]
        mosaic = np.asarray(Image.open(shared_data / name / "test-00.webp").convert("RGB"))
        rows, columns = mosaic.shape[0] // 32, mosaic.shape[1] // 32
        tiles = mosaic.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)[:5000:20]
        return torch.from_numpy(tiles.copy()).float() / 255, torch.from_numpy(labels[::20].copy())

    return read
