import json

import pytest

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data

SOME = ("n01440764", "n01443537", "n01484850")
NAMES = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark")


@pytest.fixture
def imagenet(tmp_path, picture):
    """Return a function that makes a small ImageNet of three classes, with two training images each."""

    def write(*more, classes=SOME):
        lines = [f"{wnid} {name}" for wnid, name in zip(SOME, NAMES, strict=True)]
        (tmp_path / "LOC_synset_mapping.txt").write_text("\n".join(lines) + "\n")
        for path in [*(f"train/{wnid}/{wnid}_{number}.JPEG" for wnid in classes for number in (1, 2)), *more]:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            picture(8, 6).save(tmp_path / path, format="JPEG")
        return tmp_path

    return write


def test_classes_are_numbered_as_their_wnids_sort(imagenet):
    data = load_data(f"imagenet:{imagenet(f'val/{SOME[2]}/x.JPEG', f'val/{SOME[0]}/y.JPEG', f'val/{SOME[1]}/z.JPEG')}")
    assert data.class_names == NAMES
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train.ids[2] == "n01443537/n01443537_1.JPEG"
    assert list(data.test.ids) == [f"{SOME[0]}/y.JPEG", f"{SOME[1]}/z.JPEG", f"{SOME[2]}/x.JPEG"]
    assert data.test.labels.tolist() == [0, 1, 2]
    assert data.train.load([0]).shape == (1, 3, 6, 8)


def test_without_val_there_are_no_test_images(imagenet):
    assert load_data(f"imagenet:{imagenet()}").test is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\nV_1,n01484850 1 2 3 4 n01484850 5 6 7 8\nV_2,n01440764 1 2\n",
        ),
        ("val.txt", "V_1.JPEG 2\nV_2.JPEG 0\nV_3.JPEG 1\n"),
        ("val_labels.csv", "path,label\nV_2.JPEG,n01440764\nV_1.JPEG,2\n"),
    ],
)
@pytest.mark.parametrize("folder", [".", "val"])
def test_a_flat_val_takes_its_labels_from_a_table(imagenet, name, text, folder):
    root = imagenet("val/V_1.JPEG", "val/V_2.JPEG")
    (root / folder / name).write_text(text)
    data = load_data(f"imagenet:{root}")
    assert list(data.test.ids) == ["V_1.JPEG", "V_2.JPEG"]
    assert data.test.labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("V_1.JPEG 2\n", r"val.txt`: expected a label for each validation image, got V_2.JPEG, which it lacks"),
        ("V_1.JPEG 2\nV_2.JPEG 3\n", r"val.txt, line 2`: expected a WordNet id, or a label in 0..2, got 3"),
        ("V_1.JPEG 2\nV_2.JPEG\n", r"val.txt, line 2`: expected a file and its label"),
    ],
)
def test_bad_tables_name_the_line(imagenet, text, words):
    root = imagenet("val/V_1.JPEG", "val/V_2.JPEG")
    (root / "val.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        load_data(f"imagenet:{root}")


def test_the_challenges_own_numbers_are_refused(imagenet):
    root = imagenet("val/V_1.JPEG")
    with pytest.raises(DataError, match=r"expected a table of the validation labels: .*, got none; or one folder a"):
        load_data(f"imagenet:{root}")
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n")
    with pytest.raises(DataError, match="its numbers are not in the order of the WordNet ids"):
        load_data(f"imagenet:{root}")


def test_a_missing_class_is_named(imagenet):
    root = imagenet(classes=SOME[::2])
    with pytest.raises(DataError, match=r"train`: expected a folder for each of 3 classes, got 1 missing: n01443537;"):
        load_data(f"imagenet:{root}")


def test_a_class_missing_from_val_is_named(imagenet):
    with pytest.raises(DataError, match=r"val`: expected a folder for each of 3 classes, got 2 missing: n01443537, n0"):
        load_data(f"imagenet:{imagenet(f'val/{SOME[0]}/x.JPEG')}")


def test_an_empty_class_and_an_unknown_folder_are_named(imagenet):
    root = imagenet()
    (root / "train" / "n99999999").mkdir()
    with pytest.raises(DataError, match="expected folders named by WordNet ids of ImageNet's classes, got n99999999"):
        load_data(f"imagenet:{root}")
    (root / "train" / "n99999999").rmdir()
    for path in (root / "train" / SOME[1]).iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"n01443537`: expected images \(.jpg"):
        load_data(f"imagenet:{root}")


def test_the_thousand_classes_are_known_without_a_list(imagenet):
    pytest.importorskip("timm")
    root = imagenet()
    (root / "LOC_synset_mapping.txt").unlink()
    with pytest.raises(
        DataError, match=r"each of 1000 classes, got 997 missing: n01491361, .* and 992 more; is it unpa"
    ):
        load_data(f"imagenet:{root}", DataRequest(num_classes=1000))


def test_a_part_of_the_classes_for_a_classifier_of_that_part(imagenet):
    root = imagenet()
    assert load_data(f"imagenet:{root}", DataRequest(num_classes=3)).class_names == SOME
    with pytest.raises(DataError, match=r"expected the classifier's 10 classes, .*, got 3"):
        load_data(f"imagenet:{root}", DataRequest(num_classes=10))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("imagenet_class_index.json", "{", "expected classes such as"),
        ("imagenet_class_index.json", '{"0": ["tench"]}', "expected classes such as"),
        ("LOC_synset_mapping.txt", "tench n01440764\n", "expected WordNet ids such as n01440764, got tench"),
        ("synset_words.txt", "n01443537 goldfish\nn01440764 tench\n", "expected WordNet ids in ascending order"),
    ],
)
def test_bad_lists_are_named(imagenet, name, text, words):
    root = imagenet()
    (root / "LOC_synset_mapping.txt").unlink()
    (root / name).write_text(text)
    with pytest.raises(DataError, match=rf"{name}`: {words}"):
        load_data(f"imagenet:{root}")


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="expected a folder with train/ and val/"):
        load_data(f"imagenet:{tmp_path}")
    with pytest.raises(DataError, match="gone`: expected a folder"):
        load_data(f"imagenet-a:{tmp_path / 'gone'}")


def test_imagenet_a_has_the_labels_of_imagenet(tmp_path, picture):
    pytest.importorskip("timm")
    for wnid in ("n01498041", "n12144580"):
        (tmp_path / wnid).mkdir()
        picture(8, 6).save(tmp_path / wnid / "0.001_x.jpg")
    (tmp_path / "README.txt").write_text("200 folders")
    data = load_data(f"imagenet-a:{tmp_path}", DataRequest(num_classes=1000))
    assert data.train.labels.tolist() == [6, 987]
    assert (data.class_names[6], data.class_names[987]) == ("stingray", "corn")
    assert data.test is None
    with pytest.raises(DataError, match="expected a classifier of ImageNet's 1000 classes, got 10"):
        load_data(f"imagenet-a:{tmp_path}", DataRequest(num_classes=10))
    (tmp_path / "stingray").mkdir()
    with pytest.raises(DataError, match="expected folders named by WordNet ids of ImageNet's classes, got stingray"):
        load_data(f"imagenet-a:{tmp_path}")


def test_a_class_index_numbers_the_classes_too(tmp_path, picture):
    (tmp_path / SOME[1]).mkdir()
    picture(8, 6).save(tmp_path / SOME[1] / "a.jpg")
    index = {str(label): [wnid, f"name{label}"] for label, wnid in enumerate(SOME)}
    (tmp_path / "imagenet_class_index.json").write_text(json.dumps(index))
    data = load_data(f"imagenet-a:{tmp_path}")
    assert data.train.labels.tolist() == [1]
    assert data.class_names == ("name0", "name1", "name2")


@pytest.mark.data
def test_the_shared_photographs_bear_the_wnids_of_their_labels(shared_data):
    pytest.importorskip("timm")
    from expunge.data.sources.wnids import read_wnids  # noqa: PLC0415 - needs timm

    images = load_data(f"folder:{shared_data / 'imagenet_samples'}").train
    labels = {wnid: label for label, wnid in enumerate(read_wnids(shared_data))}
    assert [labels[name.split(".")[0]] for name in images.ids] == images.labels.tolist()
