import re

import numpy as np
import pytest
import torch
from PIL import Image

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data
from expunge.data.preprocessing import Preprocessing


def arrays(count=3, height=4, width=6):
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return pixels, np.arange(count) % 3


@pytest.fixture
def save(tmp_path):
    def write(**content):
        np.savez(tmp_path / "set.npz", **content)
        return f"npz:{tmp_path / 'set.npz'}"

    return write


def test_train_and_test_with_class_names(save):
    x, y = arrays()
    data = load_data(save(x_train=x, y_train=y, x_test=x[:1], y_test=y[:1], classes=np.array(["a", "b", "c"])))
    assert data.class_names == ("a", "b", "c")
    assert list(data.train.ids) == ["0", "1", "2"]
    assert data.train.load([2, 0]).shape == (2, 3, 4, 6)
    assert torch.equal(data.train.load([2])[0], torch.from_numpy(x[2]).permute(2, 0, 1).float() / 255)
    assert len(data.test.labels) == 1
    assert data.notes() == ()


def test_x_and_y_are_training_images(save):
    x, y = arrays(count=1)
    data = load_data(save(x=x, y=y))
    assert data.test is None
    assert data.train.labels.tolist() == [0]


def test_the_first_training_images_alone(save):
    x, y = arrays()
    data = load_data(save(x_train=x, y_train=y, x_test=x, y_test=y) + "?first=2")
    assert list(data.train.ids) == ["0", "1"]
    assert data.train.labels.tolist() == [0, 1]
    assert len(data.test.labels) == 3


@pytest.mark.parametrize("said", ["0", "-1", "all", "4"])
def test_another_number_of_first_images_is_refused(save, said):
    x, y = arrays()
    with pytest.raises(DataError, match=rf"images, 1\.\.3, got {said}"):
        load_data(save(x=x, y=y) + f"?first={said}")


def test_channels_first_and_last_are_the_same(save):
    x, y = arrays()
    last = load_data(save(x=x, y=y)).train.load([0, 1])
    first = load_data(save(x=x.transpose(0, 3, 1, 2), y=y)).train.load([0, 1])
    assert torch.equal(first, last)


def test_one_channel_stays_one_channel(save):
    x, y = arrays()
    assert load_data(save(x=x[..., 0], y=y)).train.load([0, 1]).shape == (2, 1, 4, 6)
    assert load_data(save(x=x[..., :1], y=y)).train.load([0]).shape == (1, 1, 4, 6)


@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_is_applied_to_arrays(save, channels):
    x, y = arrays(height=10, width=14)
    data = load_data(save(x=x[..., :channels], y=y), DataRequest(Preprocessing(8, (6, 7))))
    assert data.train.load([0, 2]).shape == (2, channels, 6, 7)


def test_crop_beyond_the_arrays_is_refused(save):
    x, y = arrays()
    data = load_data(save(x=x, y=y), DataRequest(Preprocessing(crop=(32, 32))))
    with pytest.raises(DataError, match="image 1`: expected one as large as the crop"):
        data.train.load([1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"x": arrays()[0]}, "y is missing"),
        ({"x_train": arrays()[0], "y": arrays()[1]}, "y_train is missing"),
        ({"images": arrays()[0]}, "got none of the known names"),
        (
            {"x": arrays()[0].astype(np.float32), "y": arrays()[1]},
            r"got float32 in .*; store them as .*astype\(\"uint8\"\)",
        ),
        (
            {"x": arrays()[0] / 255, "y": arrays()[1]},
            "0..255, got float64 in 0..1; multiply by 255 where they are 0..1",
        ),
        (
            {"x": arrays()[0].astype(int) + 1000, "y": arrays()[1]},
            "expected uint8 values, 0..255, got int64 in 1000..1255$",
        ),
        ({"x": arrays()[0] > 9, "y": arrays()[1]}, "expected uint8 values, 0..255, got bool$"),
        ({"x": arrays()[0][0], "y": arrays()[1][:1]}, "expected 4 whole numbers"),
        ({"x": np.zeros((2, 4, 4, 7), np.uint8), "y": np.arange(2)}, "with 1 or 3 channels, got \\(2, 4, 4, 7\\)"),
        ({"x": arrays()[0], "y": arrays()[1][:2]}, "expected 3 whole numbers, one an image, got int64 \\(2,\\)"),
        ({"x": arrays()[0], "y": arrays()[1] * 0.5}, "whole numbers, one an image, got float64"),
        ({"x": arrays()[0], "y": arrays()[1] + np.inf}, "whole numbers, one an image, got float64"),
        ({"x": arrays()[0], "y": arrays()[1] - 1}, "expected numbers from 0 that fit into 63 bits, got -1"),
        ({"x": arrays()[0][:0], "y": arrays()[1][:0]}, "expected at least one image"),
        ({"x": arrays()[0], "y": arrays()[1], "classes": np.array(["a", "b"])}, "expected labels in 0..1.*got 2"),
        ({"x": arrays()[0], "y": arrays()[1], "classes": np.arange(3)}, "classes`: expected a list of names"),
    ],
)
def test_wrong_arrays_are_named(save, content, words):
    with pytest.raises(DataError, match=words):
        load_data(save(**content))


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_become_grey_where_that_is_asked_for(save, channels):
    x = np.random.default_rng(0).integers(0, 256, (3, 6, 4, 3), dtype=np.uint8)[..., :channels]
    pixels = load_data(save(x=x, y=np.arange(3)), DataRequest(Preprocessing(channels=1))).train.load([1])
    grey = x[1, ..., 0] if channels == 1 else np.asarray(Image.fromarray(x[1]).convert("L"))
    assert np.array_equal((pixels[0, 0] * 255).round().numpy(), grey)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int8])
def test_whole_numbers_of_any_type_are_labels_and_pixels(save, kind):
    x, y = arrays()
    images = load_data(save(x=x.astype(np.int64), y=y.astype(kind)[:, None])).train
    assert images.labels.tolist() == y.tolist()
    assert torch.equal(images.load(range(3)), load_data(save(x=x, y=y)).train.load(range(3)))


def test_a_folder_is_no_archive(photo_folder, tmp_path):
    (tmp_path / "pictures").mkdir()
    for kind in ("npz", "tar"):
        for place, right in ((photo_folder, "folder"), (tmp_path / "pictures", "imagefolder")):
            said = f"`{place}`: expected a file, as {kind}: reads, got a folder; say {right}:{place}"
            with pytest.raises(DataError, match=re.escape(said)):
                load_data(f"{kind}:{place}")


@pytest.mark.parametrize("kind", ["folder", "imagefolder"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("four.npz", "; say npz:four.npz"),
        ("all.tar", "; say tar:all.tar"),
        ("t.csv", "; say folder:. and --table t.csv"),
        ("a.b", ""),
    ],
)
def test_an_archive_is_no_folder(tmp_path, monkeypatch, kind, name, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"expected a folder, as {kind}: reads, got a file{hint}") + "$"):
        load_data(f"{kind}:{name}")


def test_pickled_objects_are_refused(save):
    x, y = arrays()
    spec = save(x=x, y=y, classes=np.array(["a", "bb", None], dtype=object))
    with pytest.raises(DataError, match=r"expected plain arrays.*pickled objects are not read"):
        load_data(spec)


def test_damaged_archive_is_named(save, tmp_path):
    x, y = arrays()
    spec = save(x=x, y=y)
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"set\.npz`: expected a whole .npz archive"):
        load_data(spec)


def test_damaged_array_is_named(save, tmp_path):
    x, y = arrays()
    spec = save(x=x, y=y)
    content = bytearray((tmp_path / "set.npz").read_bytes())
    content[200] ^= 0xFF
    (tmp_path / "set.npz").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"set\.npz`: expected a whole .npz archive"):
        load_data(spec)


def test_text_and_single_arrays_are_refused(tmp_path):
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(DataError, match=r"a\.npz"):
        load_data(f"npz:{tmp_path / 'a.npz'}")
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(DataError, match="got a single array"):
        load_data(f"npz:{tmp_path / 'b.npy'}")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz`: expected a file"):
        load_data(f"npz:{tmp_path / 'gone.npz'}")


def test_as_many_names_as_the_classifier_has_classes(tmp_path):
    x, y = np.zeros((2, 4, 4, 3), dtype=np.uint8), np.array([0, 1])
    np.savez(tmp_path / "a.npz", x=x, y=y, classes=np.array(["cat", "dog"]))
    assert load_data(f"npz:{tmp_path / 'a.npz'}", DataRequest(num_classes=2)).class_names == ("cat", "dog")
    with pytest.raises(DataError, match=r"classes`: expected images of the classifier's 3 classes, got 2 classes: cat"):
        load_data(f"npz:{tmp_path / 'a.npz'}", DataRequest(num_classes=3))
