import pytest
import torch

from expunge.base.errors import DataError
from expunge.data import DataRequest, load_data
from expunge.data.preprocessing import Preprocessing


def test_table_gives_ids_labels_and_pixels(photo_folder):
    data = load_data(f"folder:{photo_folder}")
    assert list(data.train.ids) == ["a.png", "b.png"]
    assert data.train.labels.tolist() == [0, 1]
    pixels = data.train.load([1])
    assert pixels.shape == (1, 3, 8, 12)
    assert pixels.dtype == torch.float32
    assert data.test is None


def test_ids_and_class_names_of_the_table(photo_folder):
    (photo_folder / "labels.csv").write_text("id,path,label\nx, a.png ,dog\ny,./b.png,cat\n")
    data = load_data(f"folder:{photo_folder}", DataRequest(table=photo_folder / "labels.csv"))
    assert list(data.train.ids) == ["x", "y"]
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0]


def test_class_names_of_the_classifier_decide(photo_folder):
    (photo_folder / "table.csv").write_text("path,label\na.png,dog\nb.png,cat\n")
    data = load_data(f"folder:{photo_folder}", DataRequest(class_names=("bird", "dog", "cat")))
    assert data.train.labels.tolist() == [1, 2]
    assert data.class_names == ("bird", "dog", "cat")


def test_column_name_names_numbers(photo_folder):
    (photo_folder / "table.csv").write_text("path,label,name\na.png,1,dog\nb.png,0,cat\n")
    assert load_data(f"folder:{photo_folder}").class_names == ("cat", "dog")


def test_conversions_are_noted_once_an_image(photo_folder, picture):
    picture(12, 8, "L").save(photo_folder / "a.png")
    data = load_data(f"folder:{photo_folder}")
    assert data.notes() == ()
    data.train.load([0, 1])
    data.train.load([0])
    assert data.notes() == ("train: 1 image converted from greyscale to RGB",)
    (photo_folder / "table.csv").write_text("path,label,split\na.png,0,train\nb.png,1,test\n")
    parts = load_data(f"folder:{photo_folder}")
    parts.train.load([0])
    assert parts.notes() == ("train and test: 1 image converted from greyscale to RGB",)


def test_grey_is_noted_only_where_colours_are_lost(photo_folder, picture):
    picture(12, 8, "L").save(photo_folder / "a.png")
    data = load_data(f"folder:{photo_folder}", DataRequest(Preprocessing(channels=1)))
    x = data.train.load([0, 1])
    assert x.shape == (2, 1, 8, 12)
    assert torch.equal(x[0], x[1])
    assert data.notes() == ("train: 1 image converted from RGB to greyscale",)


def test_different_sizes_say_what_to_pass(photo_folder, picture):
    picture(9, 9).save(photo_folder / "b.png")
    data = load_data(f"folder:{photo_folder}")
    with pytest.raises(DataError, match=r"b\.png`: expected 8x12 pixels as in .*a\.png, got 9x9; .*--resize"):
        data.train.load([0, 1])
    resized = load_data(f"folder:{photo_folder}", DataRequest(Preprocessing(8, (8, 8))))
    assert resized.train.load([0, 1]).shape == (2, 3, 8, 8)


def test_crop_beyond_an_image_is_named(photo_folder):
    data = load_data(f"folder:{photo_folder}", DataRequest(Preprocessing(crop=(9, 9))))
    with pytest.raises(DataError, match=r"a\.png`: expected an image as large as the crop"):
        data.train.load([0])


def test_no_rows_are_refused(photo_folder):
    with pytest.raises(DataError, match="`indices`: expected at least one image"):
        load_data(f"folder:{photo_folder}").train.load([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.png,0\na.png,1\n", r"line 3`: expected each path once, got a\.png again, first in .*line 2"),
        ("id,path,label\nx,a.png,0\nx,b.png,1\n", "line 3`: expected each id once, got x again"),
        ("id,path,label\n,a.png,0\n", "line 2`: expected a value for id, got nothing"),
        ("path,class\na.png,0\n", "expected a column label, got path, class"),
        ("path,label,label\na.png,0,1\n", "expected each column once, got label more than once"),
        ("path,label\na.png\n", "line 2`: expected 2 cells, got 1"),
        ("path,label\na.png,0,dog\n", "line 2`: expected 2 cells, got 3; put cells that hold a comma in quotes"),
        ("path,label\na.png,\n", "line 2`: expected a value for label, got nothing"),
        ('path,label\n"a.png,0\n', "expected values separated by ','"),
        ("path,label\n\nc.png,0\n", r"line 3`: expected an image file, got c\.png, which is not in"),
        ("path,label\n/etc/passwd,0\n", "line 2`: expected a path inside .*, got /etc/passwd"),
        ("path,label\nsub/../../a.png,0\n", "line 2`: expected a path inside"),
        (
            "path,label\na.png,-1\nb.png,1\n",
            "line 2`: expected a label, a whole number from 0, got -1; .* 1 are numbers",
        ),
        ("path,label\na.png,dog\nb.png,1\n", "line 3`: expected a label, a class name, got 1; .* 1 are names"),
        (
            "path,label,name\na.png,0,cat\nb.png,0,dog\n",
            "line 3`: expected the name cat for label 0, as before, got dog",
        ),
        ("path,label\n", "expected at least one line below the column names"),
        ("", "expected a column path and label, got an empty file"),
    ],
)
def test_wrong_tables_name_file_and_line(photo_folder, text, words):
    (photo_folder / "table.csv").write_text(text)
    with pytest.raises(DataError, match=f"table.csv.*{words}"):
        load_data(f"folder:{photo_folder}")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("3", "expected a label in 0..2, got 3"),
        ("dgo", r"expected a label: a number or a class name, got dgo; did you mean dog\?"),
        ("crane", "expected a name of one class, got crane, which is 0 and 2; write the number instead"),
        ("-1", "expected a label: a number or a class name, got -1"),
    ],
)
def test_labels_outside_of_the_classes_name_the_line(photo_folder, label, words):
    (photo_folder / "table.csv").write_text(f"path,label\na.png,1\nb.png,{label}\n")
    with pytest.raises(DataError, match=rf"table\.csv, line 3`: {words}"):
        load_data(f"folder:{photo_folder}", DataRequest(class_names=("crane", "dog", "crane")))


def test_names_must_be_all_classes_of_a_classifier_without_names(photo_folder):
    (photo_folder / "table.csv").write_text("path,label\na.png,cat\nb.png,dog\n")
    assert load_data(f"folder:{photo_folder}", DataRequest(num_classes=2)).class_names == ("cat", "dog")
    with pytest.raises(DataError, match=r"table\.csv`: expected the classifier's 10 classes, .*, got 2"):
        load_data(f"folder:{photo_folder}", DataRequest(num_classes=10))


@pytest.mark.parametrize("names", [(), ("cat", "dog")])
def test_whole_numbers_with_a_point_are_labels(photo_folder, names):
    (photo_folder / "table.csv").write_text("path,label\na.png,0\nb.png,1.0\n")
    assert load_data(f"folder:{photo_folder}", DataRequest(class_names=names)).train.labels.tolist() == [0, 1]


@pytest.mark.parametrize(("label", "said"), [("10", "10; labels count from 0"), ("70", "70")])
def test_labels_beyond_the_classifiers_name_the_line(photo_folder, label, said):
    (photo_folder / "table.csv").write_text(f"path,label\na.png,0\nb.png,{label}\n")
    with pytest.raises(DataError, match=rf"table\.csv, line 3`: expected a label in 0\.\.9, got {said}$"):
        load_data(f"folder:{photo_folder}", DataRequest(num_classes=10))


@pytest.mark.parametrize("odd", ["-1", "1.5", "nan", "cat"])
def test_the_one_odd_label_is_named(photo_folder, picture, odd):
    for name in "cd":
        picture(12, 8).save(photo_folder / f"{name}.png")
    (photo_folder / "table.csv").write_text(f"path,label\na.png,3\nb.png,0\nc.png,1\nd.png,{odd}\n")
    words = rf"line 5`: expected a label, a whole number in 0\.\.3, got {odd}; labels are .*, and 3 are numbers"
    with pytest.raises(DataError, match=words):
        load_data(f"folder:{photo_folder}", DataRequest(num_classes=4))


def test_number_that_names_another_class_is_refused(photo_folder):
    with pytest.raises(DataError, match="expected an unmistakable label, got 0, the number of one class"):
        load_data(f"folder:{photo_folder}", DataRequest(class_names=("1", "0")))


def test_table_that_is_not_text_is_named(photo_folder):
    (photo_folder / "table.csv").write_bytes(b"path,label\na.png,\xe9\n")
    with pytest.raises(DataError, match=r"table\.csv`: expected UTF-8 text"):
        load_data(f"folder:{photo_folder}")


def test_byte_order_mark_is_no_part_of_a_name(photo_folder):
    (photo_folder / "table.csv").write_text("\ufeffpath,label\r\na.png,0\r\n")
    assert list(load_data(f"folder:{photo_folder}").train.ids) == ["a.png"]


def test_folder_without_table_or_without_folder(tmp_path):
    with pytest.raises(DataError, match=r"expected a table of the images: table\.csv or labels\.csv, got neither"):
        load_data(f"folder:{tmp_path}")
    with pytest.raises(DataError, match="gone`: expected a folder"):
        load_data(f"folder:{tmp_path / 'gone'}")
    with pytest.raises(DataError, match=r"gone\.csv`: expected a table that can be read, got No such file"):
        load_data(f"folder:{tmp_path}", DataRequest(table=tmp_path / "gone.csv"))


@pytest.mark.parametrize("spec", ["", "folder", "folder:", "zip:a", ":a"])
def test_unknown_sources_list_the_known_ones(spec):
    with pytest.raises(DataError, match=r"expected .*one of npz:PATH, folder:PATH, imagefolder:PATH"):
        load_data(spec)


def test_table_belongs_to_folders_only(tmp_path):
    with pytest.raises(DataError, match="`table`: expected a table only with folder:"):
        load_data("npz:a.npz", DataRequest(table=tmp_path / "table.csv"))
