"""Real image files of every awkward kind, made on the spot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from expunge.data.images import TensorImages


def make_picture(width, height, mode="RGB"):
    """Return a smooth image: red grows to the right, green downwards."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    array = np.stack([across, down, np.full_like(across, 40)], axis=2).round().astype(np.uint8)
    return Image.fromarray(array).convert(mode)


@pytest.fixture
def picture():
    """Return a function from width, height and mode to a smooth image."""
    return make_picture


@pytest.fixture
def photo_folder(tmp_path):
    """Return a folder with a.png and b.png (12 wide, 8 high) and a table of them."""
    make_picture(12, 8).save(tmp_path / "a.png")
    make_picture(12, 8).save(tmp_path / "b.png")
    (tmp_path / "table.csv").write_text("path,label\na.png,0\nb.png,1\n")
    return tmp_path


@pytest.fixture
def ten_images():
    """Return ten 4x6 images with the ids i0 to i9 and the labels 0 to 9."""
    pixels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 4, 6)
    return TensorImages([f"i{row}" for row in range(10)], torch.arange(10), pixels)


@pytest.fixture
def write_table(tmp_path):
    """Return a function that writes a table and returns its path."""

    def write(text: str, name: str = "forget.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
