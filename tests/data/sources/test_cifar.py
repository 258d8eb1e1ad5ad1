import hashlib
import pickle
import sys

import numpy as np
import pytest

from expunge.base.errors import DataError
from expunge.data import load_data

datasets = pytest.importorskip("torchvision.datasets")


def pickled(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return path.name, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """Write CIFAR-10's files with two training images and one test image, and tell torchvision their sums."""
    folder = tmp_path / "cifar-10-batches-py"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    train = pickled(folder / "data_batch_1", {"data": pixels, "labels": [3, 1]})
    test = pickled(folder / "test_batch", {"data": pixels[:1], "labels": [9]})
    name, md5 = pickled(folder / "batches.meta", {"label_names": [f"class{label}" for label in range(10)]})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [train])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [test])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path, pixels


def test_cifar10(small_cifar):
    root, pixels = small_cifar
    data = load_data(f"cifar10:{root}")
    assert data.train.labels.tolist() == [3, 1]
    assert data.test.labels.tolist() == [9]
    assert data.class_names[9] == "class9"
    assert list(data.train.ids) == ["0", "1"]
    assert np.array_equal((data.train.load([1])[0] * 255).round().byte().flatten(), pixels[1])


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_missing_files_say_how_to_get_them(tmp_path, kind):
    with pytest.raises(DataError, match=rf"expected {kind.upper()} as torchvision unpacks it.*download=True"):
        load_data(f"{kind}:{tmp_path}")


def test_without_torchvision(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match=r"`torchvision`: expected an installed package.*expunge\[models\]"):
        load_data(f"cifar10:{tmp_path}")
