"""What is wrong with what people have is said in the package's words; the ways that work are in tests/contract."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset

from expunge.base.errors import DataError
from expunge.data.collect import collect_forget_set
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.data.objects import images_of, normalisation_of
from expunge.data.preprocessing import Preprocessing
from expunge.data.reading import Reading
from expunge.data.tolerant import TolerantImages, find_faults

X = torch.rand(4, 3, 5, 6)
Y = torch.tensor([0, 1, 1, 0])


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y.tolist(), strict=True)


def test_what_can_only_be_walked_through():
    for given in (Stream(), DataLoader(Stream(), batch_size=3)):
        images = images_of(given, lambda count: [count - 1, 0])
        assert torch.equal(images.load([0, 1]), X[[3, 0]])
        assert images.labels.tolist() == [0, 0]


def test_walking_through_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    images_of(DataLoader(Stream(), batch_size=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_mappings_as_items():
    items = [{"pixel_values": image, "label": np.int32(label)} for image, label in zip(X, Y, strict=True)]
    images = images_of(items)
    assert torch.equal(images.load([1]), X[1:2])
    assert images.labels.tolist() == Y.tolist()


WHOLE = [
    Y.float(),
    Y.double().numpy(),
    Y.numpy().astype(np.float16),
    Y[:, None],
    Y[:, None].float(),
    ["0.0", "1", "1.", "0"],
]


@pytest.mark.parametrize("labels", WHOLE)
def test_whole_numbers_of_any_type_are_labels(labels):
    assert images_of((X, labels)).labels.tolist() == Y.tolist()
    assert images_of(list(zip(X, labels, strict=True))).labels.tolist() == Y.tolist()
    assert ForgetSet.numbered(X, labels).y.tolist() == Y.tolist()


@pytest.mark.parametrize("new", [2.0, 2, np.int64(2), torch.tensor(2.0), [2.0] * 4, np.full(4, 2.0)])
def test_whole_numbers_of_any_type_are_new_labels(new):
    assert collect_forget_set((X, Y), new_labels=new).y_new.tolist() == [2] * 4


def test_columns_of_floats_are_labels(tmp_path):
    pandas = pytest.importorskip("pandas")
    Image.new("RGB", (6, 5)).save(tmp_path / "a.png")
    frame = pandas.DataFrame({"path": [str(tmp_path / "a.png")], "label": [1.0], "new_label": [2.0]})
    rows = collect_forget_set(frame)
    assert (rows.y.tolist(), rows.y_new.tolist()) == ([1], [2])


@pytest.mark.parametrize("empty", [None, float("nan"), ""])
def test_empty_new_labels_in_a_frame(tmp_path, empty):
    pandas = pytest.importorskip("pandas")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    for path in paths:
        Image.new("RGB", (6, 5)).save(path)
    frame = pandas.DataFrame({"path": paths, "label": [0, 1, 0], "new_label": [2, empty, empty]})
    assert collect_forget_set(frame, indices=[2, 1]).y_new is None
    assert collect_forget_set(frame, indices=[0]).y_new.tolist() == [2]
    with pytest.raises(DataError, match=r"`new_label of row 1`: expected a value, got nothing; .* or for none"):
        collect_forget_set(frame, indices=[0, 1])


class Listed:
    """A data set of torchvision's kind whose images must not be read for their labels."""

    def __init__(self, targets, target_transform=None):
        self.targets, self.target_transform, self.read = targets, target_transform, 0

    def __len__(self):
        return 4

    def __getitem__(self, row):
        self.read += 1
        return X[row], 1 - int(self.targets[row])


@pytest.mark.parametrize("targets", [Y, Y.tolist(), Y.numpy()])
def test_labels_that_a_data_set_lists_need_no_image(targets):
    listed = Listed(targets)
    assert images_of(Subset(Subset(listed, [0, 1, 2]), [2, 0]), lambda count: [1, 0]).labels.tolist() == [0, 1]
    assert images_of(listed).labels.tolist() == Y.tolist()
    assert listed.read == 0
    assert images_of(Listed(targets, target_transform=int)).labels.tolist() == (1 - Y).tolist()


class Damaged:
    """A data set with an item that can't be read."""

    def __len__(self):
        return 4

    def __getitem__(self, row):
        if row == 2:
            raise OSError("image file is truncated\n(3 bytes not processed)")
        if row > 3:
            raise IndexError(row)
        return X[row], int(Y[row])


def test_an_item_that_can_not_be_read_is_named():
    words = r"`item 2`: expected an image and its label, got OSError: image file is truncated \(3 bytes not processed\)"
    images = images_of(Damaged(), lambda count: [0, 2])
    for read_it in (lambda: images.labels, lambda: images.load([1])):
        with pytest.raises(DataError, match=words):
            read_it()


def test_a_picture_that_was_opened_only_is_named_where_it_is_cut_off(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "a.png") as opened, pytest.raises(DataError, match=r"`item 0`: .* truncated"):
        images_of([(opened, 0)]).load([0])


def test_an_item_that_can_not_be_read_is_left_out_of_what_is_measured():
    damaged = Damaged()
    damaged.targets = Y.tolist()
    tolerant = TolerantImages(images_of(damaged), (3, 5, 6))
    find_faults(tolerant, 4)
    assert list(tolerant.faults) == [2]


def test_images_of_the_packages_own_stay_as_they_are():
    own = TensorImages(["a", "b", "c", "d"], Y, X)
    assert images_of(own) is own
    assert list(images_of(own, lambda count: [2]).ids) == ["c"]


def test_bytes_fill_the_bounds_of_the_classifier():
    grey = Image.new("L", (6, 5), 51)
    for given in (grey, np.full((1, 5, 6), 51, dtype=np.uint8), torch.full((1, 5, 6), 51, dtype=torch.uint8)):
        assert torch.allclose(Reading(lower=-1, upper=1).to_pixels(given, "here"), torch.full((1, 5, 6), -0.6))


def test_a_picture_that_was_opened_is_read_as_its_file_is(tmp_path):
    deep = Image.fromarray(np.linspace(0, 65535, 48).reshape(8, 6).astype(np.uint16))
    deep.save(tmp_path / "deep.png")
    assert torch.equal(Reading().to_pixels(deep, "here"), Reading().to_pixels(tmp_path / "deep.png", "here"))


def test_pictures_are_preprocessed_and_palettes_become_colours():
    reading = Reading(Preprocessing(resize=4, crop=(4, 4)))
    assert reading.to_pixels(Image.new("P", (8, 8), 3), "here").shape == (3, 4, 4)
    with pytest.raises(DataError, match="`here`: expected an image as large as the crop, got a smaller one"):
        Reading(Preprocessing(crop=(9, 9))).to_pixels(Image.new("RGB", (8, 8)), "here")


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_files_and_pictures_become_grey_where_that_is_asked_for(tmp_path, mode):
    picture = Image.new(mode, (6, 5), (255, 0, 0) if mode == "RGB" else 76 * (257 if mode == "I;16" else 1))
    picture.save(tmp_path / "a.png")
    reading = Reading(Preprocessing(channels=1))
    for given in (picture, tmp_path / "a.png", str(tmp_path / "a.png")):
        assert torch.allclose(reading.to_pixels(given, "here"), torch.full((1, 5, 6), 76 / 255))


def read(given):
    images = images_of(given)
    return images.labels, images.load(range(len(images.ids)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (7, "expected a ForgetSet, .* or a Hugging Face dataset, got int"),
        ("photos", "got str"),
        (X, "got Tensor"),
        ({"x": X}, "got dict"),
        ([1, 2, 3], "item 0`: expected an image and its label, got int"),
        ([{"image": X[0]}], r"expected a column of labels called label or labels or y, got image"),
        ([(X[0], 1e30)], "label of row 0`: expected a whole number or a class name, got 1e\\+30"),
        ([(X[0], float("nan"))], "label of row 0`: expected a whole number or a class name, got nan"),
        ([(X[0], 0.5)], "label of row 0`: expected a whole number or a class name, got 0.5"),
        ([(X[0], "ant")], "expected a label: a number or a class name, got ant"),
        ([(X[0], [0, 1])], r"expected one label, got 2 values; .*Classifier\.wrap\(\.\.\., label=NUMBER\)"),
        (
            [(X[0], 0), (X[0, :, :2], 1)],
            r"item 1`: expected an image of shape \(3, 5, 6\) as the first, got \(3, 2, 6\)",
        ),
        ([(object(), 0)], "expected a picture, a file, a tensor or an array, got object"),
        ((X, Y[:2]), "labels`: expected 4, one an image, got 2"),
        ((X.long(), Y), r"expected pixels as uint8 \(0\.\.255\) or floats, got torch\.int64"),
        ((np.array([["a"]]), [0]), "expected pixels as uint8"),
        ((X[0, 0], Y[:1]), "labels`: expected 5, one an image, got 1"),
        ((list(X), [0, 1]), "labels`: expected 4, one an image, got 2"),
        ((X[0], 3), r"labels`: expected labels, one an image, got 3; wrap one item in a list: \[\(image, label\)\]"),
        ((X[:1], torch.tensor(3)), r"labels`: expected labels, one an image, got tensor\(3\); wrap one item"),
        ((list(X[:1]), np.int64(3)), r"labels`: expected labels, one an image, got np\.int64\(3\); wrap one item"),
        ((Image.new("RGB", (6, 5)), 3), "labels`: expected labels, one an image, got 3; wrap one item"),
        ((["a.png"], "ant"), "labels`: expected labels, one an image, got 'ant'; wrap one item"),
    ],
)
def test_what_is_no_images(given, words):
    with pytest.raises(DataError, match=words):
        read(given)


PATHS = ["a b.png", "c.png"]


@pytest.mark.parametrize("number", [int, float, np.int64, torch.tensor, str])
def test_two_lists_of_an_image_and_its_label_are_two_images(number):
    for first, second in (PATHS, X[:2]):
        assert images_of([[first, number(1)], [second, number(0)]]).labels.tolist() == [1, 0]


def test_two_lists_of_an_image_and_its_classes():
    reading = Reading(class_names=("ant", "bee"))
    assert images_of([["a b.png", "bee"], ["c.png", "ant"]], reading=reading).labels.tolist() == [1, 0]
    several = [[X[0], [0, 1]], [X[1], torch.tensor([1, 0])]]
    assert images_of(several, reading=Reading(label=1)).labels.tolist() == [1, 0]


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("labels", [[1, 0], ["1", "0"], torch.tensor([1, 0]), [np.float32(1), np.float32(0)]])
@pytest.mark.parametrize("images", [PATHS, list(X[:2]), list(X[:2, 0].numpy()), X[:2]], ids=range(4))
def test_two_images_and_two_labels(kind, labels, images):
    assert images_of(kind((images, labels))).labels.tolist() == [1, 0]


def test_frames_name_the_columns_that_they_lack():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="expected a column of images called path or paths or file, got name, label"):
        images_of(pandas.DataFrame({"name": ["a"], "label": [0]}))
    with pytest.raises(DataError, match="expected numbers, or class names that the classifier knows, got 'ant'"):
        images_of(pandas.DataFrame({"Path": ["a.png"], "LABEL": ["ant"]}))


def test_a_dictionary_of_splits_is_asked_for_one():
    datasets = pytest.importorskip("datasets")
    with pytest.raises(DataError, match=r"expected one split of the dataset, got train, test; pass dataset\['train'\]"):
        images_of(datasets.DatasetDict(train=datasets.Dataset.from_dict({}), test=datasets.Dataset.from_dict({})))


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std


@pytest.mark.parametrize("mean", [(0.5, 0.25, 0.0), [0.5, 0.25, 0.0], torch.tensor([0.5, 0.25, 0.0])])
def test_the_normalisation_of_a_data_set_is_found(mean):
    inner = SimpleNamespace(transforms=[SimpleNamespace(), Normalize(mean, (1.0, 0.5, 2.0))])
    dataset = SimpleNamespace(transform=SimpleNamespace(transforms=[inner]))
    for given in (dataset, Subset(dataset, [0]), Subset(Subset(dataset, [0]), [0])):
        assert normalisation_of(given) == ((0.5, 0.25, 0.0), (1.0, 0.5, 2.0))
    assert normalisation_of((X, Y)) is None


def test_a_normalisation_is_taken_back_and_what_lies_beyond_pixels_is_left_to_be_seen():
    reading = Reading(normalisation=((0.5,) * 3, (0.25,) * 3))
    assert torch.allclose(reading.to_pixels((X - 0.5) / 0.25, "here"), X, atol=1e-6)
    assert float(reading.to_pixels(X + 9, "here").max()) > 2


def test_a_frame_whose_file_is_not_there(monkeypatch, tmp_path):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    images = images_of(pandas.DataFrame({"path": ["gone.png"], "label": [0]}))
    with pytest.raises(DataError) as refused:
        images.load([0])
    where = f"a relative path starts in the current folder, {tmp_path}"
    assert str(refused.value) == f"`gone.png`: expected an image file, got none there; {where}"
