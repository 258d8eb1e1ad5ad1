from bisect import bisect_right

import pytest

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data
from expunge.data.preprocessing import Preprocessing
from expunge.data.sources.utkface import GROUPINGS, TRAIN, VALIDATION, _split

ODD = ("39_1_20170116174525125.jpg.chip.jpg", "24_0_1_20170116220224657 .jpg.chip.jpg", "portrait.jpg")
CLASSES = {"tnn": 9, "mfd": 3, "balanced": 4, "groups": 7, "tens": 12}


@pytest.fixture
def faces(tmp_path, picture):
    """Return a folder of 40 faces aged 1 to 118, three odd names, and a face of 120."""
    for number in range(40):
        picture(8, 8).save(tmp_path / f"{1 + 3 * number}_{number % 2}_{number % 5}_2017011{number:010d}.jpg.chip.jpg")
    for name in (*ODD, "120_0_0_20170111.jpg.chip.jpg"):
        picture(8, 8).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("ages", GROUPINGS)
def test_labels_are_age_groups(faces, ages):
    request = DataRequest(Preprocessing(resize=8), num_classes=CLASSES[ages])
    data = load_data(f"utkface:{faces}?ages={ages}", request)
    assert len(data.class_names) == CLASSES[ages]
    for name, label in zip(data.train.ids, data.train.labels.tolist(), strict=True):
        first, last = map(int, data.class_names[label].split("-"))
        assert first <= int(name.split("_")[0]) <= last


def test_edges_are_the_authors():
    assert bisect_right(GROUPINGS["mfd"], 40) - 1 == 1
    assert bisect_right(GROUPINGS["mfd"], 41) - 1 == 2
    assert bisect_right(GROUPINGS["tnn"], 14) - 1 == 1
    assert [len(edges) - 1 for edges in GROUPINGS.values()] == list(CLASSES.values())
    assert all(list(edges) == sorted(set(edges)) for edges in GROUPINGS.values())


def test_odd_names_are_left_out_and_said(faces):
    data = load_data(f"utkface:{faces}")
    (remark,) = data.notes()
    assert remark.startswith("4 files left out")
    assert "120_0_0_20170111" in remark
    assert not set(ODD) & {*data.train.ids, *data.test.ids}


def test_parts_are_those_of_the_paper_in_proportion(faces):
    data = load_data(f"utkface:{faces}")
    other = load_data(f"utkface:{faces}?test=validation&ages=mfd")
    assert (len(data.train.ids), len(data.test.ids), len(other.test.ids)) == (32, 4, 4)
    assert len({*data.train.ids, *data.test.ids, *other.test.ids}) == 40
    assert list(data.train.ids) == list(load_data(f"utkface:{faces}").train.ids)
    parts = _split(23_705)
    assert [len(rows) for rows in parts.values()] == [TRAIN, VALIDATION, 2_368]


def test_images_are_resized_and_cropped_as_in_the_paper_unless_asked_otherwise(faces):
    assert load_data(f"utkface:{faces}").train.load([0]).shape == (1, 3, 120, 120)
    assert load_data(f"utkface:{faces}", DataRequest(Preprocessing(resize=8))).train.load([0]).shape == (1, 3, 8, 8)
    grey = load_data(f"utkface:{faces}", DataRequest(Preprocessing(channels=1))).train.load([0])
    assert grey.shape == (1, 1, 120, 120)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("?ages=decades", "`ages`: expected one of tnn, mfd, balanced, groups, tens, got decades"),
        ("?test=train", "`test`: expected one of test, validation, got train"),
        ("?age=mfd", r"`options of utkface:`: expected ages=..., test=..., joined by &, each once, got age=mfd"),
        ("?ages=mfd&ages=tnn", "each once, got ages=tnn"),
        ("?ages=", "each once, got ages="),
    ],
)
def test_bad_options(faces, options, words):
    with pytest.raises(DataError, match=words):
        load_data(f"utkface:{faces}{options}")


def test_bad_folders(faces, tmp_path):
    with pytest.raises(DataError, match="gone`: expected a folder"):
        load_data(f"utkface:{faces / 'gone'}")
    (tmp_path / "few").mkdir()
    with pytest.raises(DataError, match=r"expected 10 faces named AGE_GENDER_RACE_DATE.jpg.chip.jpg, got 0"):
        load_data(f"utkface:{tmp_path / 'few'}")
    with pytest.raises(DataError, match="expected images of the classifier's 10 classes, got 3 classes: 0-19, 20-40"):
        load_data(f"utkface:{faces}?ages=mfd", DataRequest(num_classes=10))


@pytest.mark.data
def test_shared_faces(shared_data):
    data = load_data(f"utkface:{shared_data / 'utkface'}?ages=balanced", DataRequest(Preprocessing(resize=64)))
    assert (len(data.train.ids), len(data.test.ids)) == (3200, 400)
    assert data.train.load([0, 1, 2]).shape == (3, 3, 64, 64)
    assert data.notes() == ()
