"""Data sets of torchvision that lie on the disk."""

import struct

import numpy as np
import pytest

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data

pytest.importorskip("torchvision")
LABELS = {"train": [3, 1, 3], "t10k": [9, 0]}


@pytest.fixture
def root(tmp_path):
    """Return the folder above a FashionMNIST of five pictures, as torchvision unpacks it."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, labels in LABELS.items():
        count = len(labels)
        pixels = np.full((count, 28, 28), 51, dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + bytes(labels))
    return tmp_path


def test_both_parts_are_read_with_their_labels_and_names(root):
    found = load_data(f"torchvision:FashionMNIST:{root}", DataRequest(num_classes=10))
    assert found.train.labels.tolist() == LABELS["train"]
    assert found.test.labels.tolist() == LABELS["t10k"]
    assert list(found.train.ids) == ["0", "1", "2"]
    assert found.class_names[9] == "Ankle boot"
    pixels = found.train.load([0, 2])
    assert pixels.shape == (2, 1, 28, 28)
    assert pixels.unique().tolist() == pytest.approx([0.2])


def test_nothing_is_downloaded_where_files_are_missing(root):
    (root / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataError, match=r"expected FashionMNIST as torchvision unpacks it, got .*downloads nothing"
    ) as caught:
        load_data(f"torchvision:FashionMNIST:{root}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("FashionMNISt:.", "did you mean `FashionMNIST`"),
        ("ImageNet:.", "with one of CIFAR10"),
        ("MNIST", "expected torchvision:NAME:DIR"),
        ("MNIST:gone", "`gone`: expected a folder, got none there"),
    ],
)
def test_other_names_and_places_are_refused(place, words):
    with pytest.raises(DataError, match=words):
        load_data(f"torchvision:{place}")


def test_another_number_of_classes_is_refused(root):
    with pytest.raises(DataError):
        load_data(f"torchvision:FashionMNIST:{root}", DataRequest(num_classes=7))
