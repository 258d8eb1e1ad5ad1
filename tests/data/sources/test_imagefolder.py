import re

import numpy as np
import pytest

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data


@pytest.fixture
def tree(tmp_path, picture):
    """Return a function that writes one image a path."""

    def write(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            picture(6, 4).save(tmp_path / path)
        return tmp_path

    return write


def test_agrees_with_torchvision(tree):
    datasets = pytest.importorskip("torchvision.datasets")
    root = tree("dog/2.png", "dog/1.JPG", "cat/deep/x.png", "cat/a.png", "Ant/z.webp")
    (root / "cat" / "notes.txt").write_text("no image")
    theirs = datasets.ImageFolder(str(root))
    ours = load_data(f"imagefolder:{root}")
    by_path = {str(path): label for path, label in theirs.samples}
    assert {str(path): int(label) for path, label in zip(ours.train.paths, ours.train.labels, strict=True)} == by_path
    assert list(ours.class_names) == theirs.classes
    assert "cat/deep/x.png" in ours.train.ids
    assert np.array_equal((ours.train.load([0])[0] * 255).round().byte().permute(1, 2, 0), theirs[0][0])


@pytest.mark.parametrize("name", ["test", "val"])
def test_splits(tree, name):
    root = tree("train/a/1.png", "train/b/1.png", f"{name}/b/9.png")
    data = load_data(f"imagefolder:{root}")
    assert list(data.train.ids) == ["a/1.png", "b/1.png"]
    assert list(data.test.ids) == ["b/9.png"]
    assert data.test.labels.tolist() == [1]


def test_train_without_test(tree):
    assert load_data(f"imagefolder:{tree('train/a/1.png')}").test is None


def test_names_of_the_classifier_number_the_folders(tree):
    data = load_data(f"imagefolder:{tree('a/1.png', 'b/1.png')}", DataRequest(class_names=("b", "x", "a")))
    assert data.train.labels.tolist() == [2, 0]
    assert data.class_names == ("b", "x", "a")
    assert data.notes() == ()


def test_other_names_of_the_same_number_are_noted(tree):
    data = load_data(f"imagefolder:{tree('a/1.png', 'b/1.png')}", DataRequest(class_names=("y", "x")))
    assert data.train.labels.tolist() == [0, 1]
    assert "numbered as their folders sort" in data.notes()[0]


def test_another_number_of_other_names_is_refused(tree):
    with pytest.raises(DataError, match="folders named as the classifier's 3 classes, got a, b; the classes are x, y"):
        load_data(f"imagefolder:{tree('a/1.png', 'b/1.png')}", DataRequest(class_names=("x", "y", "z")))


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    ("folders", "names", "said"),
    [
        (("ant", "bird"), ("bird", "ants"), "got ant; did you mean `ants`?"),
        (("ANT", "bird"), ("bird", "ant"), "got ANT; did you mean `ant`?"),
        (("Ant", "Bird"), ("bird", "ant"), "got Ant, Bird; did you mean `ant`?"),
    ],
)
def test_a_folder_that_bears_no_name_among_others_that_do(tree, folders, names, said, given):
    request = DataRequest(class_names=names, names_given=given)
    with pytest.raises(DataError, match=re.escape(said)):
        load_data(f"imagefolder:{tree(*(f'{name}/1.png' for name in folders))}", request)


def test_other_names_than_those_that_the_user_said_are_refused(tree):
    root = tree("n01/1.png", "n02/1.png")
    with pytest.raises(DataError, match="got n01, n02; the classes are cat, ant"):
        load_data(f"imagefolder:{root}", DataRequest(class_names=("cat", "ant"), names_given=True))


def test_a_test_folder_of_another_case_is_named(tree):
    root = tree("train/ant/1.png", "test/Ant/1.png")
    with pytest.raises(DataError, match=r"got Ant; did you mean `ant`\?"):
        load_data(f"imagefolder:{root}", DataRequest(class_names=("ant", "bee"), names_given=True))


def test_folders_must_be_all_classes_of_a_classifier_without_names(tree):
    root = tree("a/1.png", "b/1.png")
    assert load_data(f"imagefolder:{root}", DataRequest(num_classes=2)).class_names == ("a", "b")
    with pytest.raises(
        DataError, match=r"expected the classifier's 1000 classes, .*, got 2; say --classes with the names of all"
    ):
        load_data(f"imagefolder:{root}", DataRequest(num_classes=1000))


def test_empty_classes_and_missing_folders_are_named(tree, tmp_path):
    root = tree("a/1.png")
    (root / "b").mkdir()
    with pytest.raises(DataError, match=r"b`: expected images \(.jpg"):
        load_data(f"imagefolder:{root}")
    with pytest.raises(DataError, match="a`: expected one folder a class, got no folders"):
        load_data(f"imagefolder:{root / 'a'}")
    with pytest.raises(DataError, match="gone`: expected a folder"):
        load_data(f"imagefolder:{tmp_path / 'gone'}")


def test_test_classes_must_be_training_classes(tree):
    with pytest.raises(DataError, match=r"test`: expected classes of .*train, got c"):
        load_data(f"imagefolder:{tree('train/a/1.png', 'test/c/1.png')}")
