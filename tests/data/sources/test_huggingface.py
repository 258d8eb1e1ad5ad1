import sys

import numpy as np
import pytest
from PIL import Image

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data
from expunge.data.objects import images_of
from expunge.data.preprocessing import Preprocessing

datasets = pytest.importorskip("datasets")
NAMES = ["cat", "dog", "eel"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep what the library prepares out of the user's own cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def pictures(count):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)) for _ in range(count)]


def make(count=5, **more):
    """Return a dataset of 6x4 images with classes; `more` are columns and their features."""
    features = {"img": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    values = {"img": pictures(count), "label": [row % 3 for row in range(count)]}
    for name, (feature, column) in more.items():
        features[name], values[name] = feature, column
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


def test_a_dataset_from_disk(tmp_path):
    make().save_to_disk(tmp_path / "set")
    data = load_data(f"hf:{tmp_path / 'set'}", DataRequest(num_classes=3))
    assert data.class_names == tuple(NAMES)
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1]
    assert list(data.train.ids) == ["0", "1", "2", "3", "4"]
    loaded = (data.train.load([3, 1]) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(loaded, np.stack([np.asarray(pictures(5)[row]) for row in (3, 1)]))
    assert data.test is None
    assert load_data(f"hf:{tmp_path / 'set'}", DataRequest(Preprocessing(2))).train.load([0]).shape == (1, 3, 2, 3)


@pytest.mark.parametrize("options", ["", "?train=train&test=validation"])
def test_splits(tmp_path, options):
    parts = {"train": make(4), "validation": make(2)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    data = load_data(f"hf:{tmp_path / 'set'}{options}")
    assert (len(data.train.ids), len(data.test.ids)) == (4, 2)
    with pytest.raises(DataError, match="expected a split holdout, got train, validation"):
        load_data(f"hf:{tmp_path / 'set'}?test=holdout")


def test_a_folder_of_images(tmp_path):
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        pictures(2)[number].save(tmp_path / "set" / "train" / name / "a.png")
    data = load_data(f"hf:{tmp_path / 'set'}")
    assert data.class_names == ("cat", "dog")
    assert data.train.load([0, 1]).shape == (2, 3, 4, 6)


def test_columns_are_named_where_there_are_several(tmp_path):
    coarse = datasets.ClassLabel(names=["pet", "fish"])
    make(4, coarse=(coarse, [0, 0, 1, 0])).save_to_disk(tmp_path / "set")
    with pytest.raises(
        DataError, match=r"one column of type ClassLabel, got label, coarse; name it: hf:PLACE\?label=C"
    ):
        load_data(f"hf:{tmp_path / 'set'}")
    data = load_data(f"hf:{tmp_path / 'set'}?label=coarse&image=img")
    assert data.train.labels.tolist() == [0, 0, 1, 0]
    with pytest.raises(DataError, match="expected a column fine, got img, label, coarse"):
        load_data(f"hf:{tmp_path / 'set'}?label=fine")
    with pytest.raises(DataError, match="label`: expected a column of images"):
        load_data(f"hf:{tmp_path / 'set'}?label=coarse&image=label")


@pytest.mark.parametrize("name", ["y", "Target", "category", "fine_label"])
def test_a_column_of_numbers_is_known_by_its_name_as_it_is_in_python(tmp_path, name):
    features = datasets.Features({"img": datasets.Image(), name: datasets.Value("int64")})
    rows = datasets.Dataset.from_dict({"img": pictures(2), name: [1, 0]}, features=features)
    rows.save_to_disk(tmp_path / "set")
    for images in (load_data(f"hf:{tmp_path / 'set'}").train, images_of(rows), images_of(list(rows))):
        assert images.labels.tolist() == [1, 0]


def test_class_counts_and_labels_are_checked(tmp_path):
    make(4, number=(datasets.Value("int64"), [0, 1, -1, 2])).save_to_disk(tmp_path / "set")
    with pytest.raises(DataError, match="expected images of the classifier's 10 classes, got 3 classes: cat, dog, eel"):
        load_data(f"hf:{tmp_path / 'set'}", DataRequest(num_classes=10))
    with pytest.raises(DataError, match=r"row 2 of .*: number`: expected a label, a whole number from 0, got -1"):
        load_data(f"hf:{tmp_path / 'set'}?label=number")


def test_a_missing_image_is_named(tmp_path):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = datasets.Dataset.from_dict({"img": [pictures(1)[0], None], "label": [0, 1]}, features=features)
    rows.save_to_disk(tmp_path / "set")
    data = load_data(f"hf:{tmp_path / 'set'}")
    with pytest.raises(DataError, match=r"row 1 of .*set, train`: expected an image, got none"):
        data.train.load([0, 1])


def test_what_cannot_be_loaded_is_explained(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected a dataset that `datasets` can load, got"):
        load_data(f"hf:{tmp_path / 'empty'}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"`datasets`: expected an installed package.*expunge\[huggingface\]"):
        load_data(f"hf:{tmp_path}")
