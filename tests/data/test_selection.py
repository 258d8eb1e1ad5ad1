import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import DataError, ForgetSetError
from expunge.data import forget_set, load_data, random_rows, rows_from_numbers, rows_from_table
from expunge.data.images import TensorImages


@given(st.integers(1, 30), st.integers(0, 2**31), st.data())
def test_random_rows_are_different_rows_and_nested(total, seed, data):
    images = TensorImages([str(row) for row in range(total)], torch.zeros(total), torch.zeros(total, 1, 1, 2))
    count = data.draw(st.integers(1, total))
    rows = random_rows(images, count, seed=seed)
    assert rows == sorted(set(rows))
    assert len(rows) == count
    assert set(rows) <= set(range(total))
    assert set(rows) <= set(random_rows(images, total, seed=seed))
    assert rows == random_rows(images, count, seed=seed)


def test_random_rows_leave_the_global_generator_alone(ten_images):
    before = torch.get_rng_state()
    assert random_rows(ten_images, 5, seed=0) != random_rows(ten_images, 5, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [0, -1, 11])
def test_random_rows_refuse_impossible_counts(ten_images, count):
    with pytest.raises(ForgetSetError, match=rf"`count`: expected 1..10, the number of images, got {count}"):
        random_rows(ten_images, count, seed=0)


@pytest.mark.parametrize(("text", "rows"), [("3", [3]), ("3,1", [3, 1]), (" 4-6 , 0", [4, 5, 6, 0]), ("9-9", [9])])
def test_rows_from_numbers(ten_images, text, rows):
    assert rows_from_numbers(text, ten_images) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected numbers and ranges such as 3,17,40-45, got nothing"),
        ("1,,2", "got nothing"),
        ("-1", "got -1"),
        ("1.5", "got 1.5"),
        ("5-3", "expected ranges that end after they start, got 5-3"),
        ("3,10", r"expected numbers in 0..9, got 10"),
        ("0-99999999999", r"expected numbers in 0..9"),
        ("3,2-4", "expected each number once, got 3 more than once"),
    ],
)
def test_wrong_numbers_are_refused(ten_images, text, words):
    with pytest.raises(ForgetSetError, match=words):
        rows_from_numbers(text, ten_images)


def test_rows_from_table_by_id(ten_images, write_table):
    assert rows_from_table(write_table("id,why\ni7,asked\ni2,asked\n"), ten_images) == ([7, 2], None)


def test_new_labels_are_numbers_or_names(ten_images, write_table):
    table = write_table("id,new_label\ni7,2\ni2,cat\n")
    assert rows_from_table(table, ten_images, class_names=("ant", "cat", "dog")) == ([7, 2], [2, 1])
    assert rows_from_table(write_table("id,new_label\ni7,2\n"), ten_images) == ([7], [2])


def test_a_column_of_new_labels_in_which_there_are_none_says_nothing(ten_images, write_table):
    assert rows_from_table(write_table("id,new_label\ni7,\ni2, \n"), ten_images) == ([7, 2], None)


@pytest.mark.parametrize("table", ["id,label\ni7,7\ni2,\n", "id,label\ni7,seven\ni2,2\n"])
def test_labels_that_the_data_have_or_can_not_compare_are_no_matter(ten_images, write_table, table):
    assert rows_from_table(write_table(table), ten_images) == ([7, 2], None)


def test_new_labels_of_a_column_of_floats(ten_images, write_table):
    assert rows_from_table(write_table("id,label,new_label\ni7,7.0,2.0\ni2,2,1.\n"), ten_images) == ([7, 2], [2, 1])


def test_table_of_a_folder_is_a_table_of_what_to_forget(photo_folder):
    (photo_folder / "table.csv").write_text("path,label,new_label\na.png,0,1\nb.png,1,0\n")
    images = load_data(f"folder:{photo_folder}").train
    rows, new_labels = rows_from_table(photo_folder / "table.csv", images)
    forget = forget_set(images, rows, new_labels=new_labels)
    assert forget.ids == ("a.png", "b.png")
    assert forget.y_new.tolist() == [1, 0]


@pytest.fixture
def classes(tmp_path, picture, monkeypatch):
    """Return the images of photos/train/cat and dog, seen from the folder above."""
    for name in ("cat/1.png", "cat/deep/2.png", "dog/1.png", "dog/3.png"):
        (tmp_path / "photos/train" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(6, 4).save(tmp_path / "photos/train" / name)
    monkeypatch.chdir(tmp_path)
    return load_data("imagefolder:photos").train


@pytest.mark.parametrize("column", ["id", "path"])
@pytest.mark.parametrize(
    "name",
    [
        "cat/deep/2.png",
        "./cat/deep/2.png",
        "photos/train/cat/deep/2.png",
        "cat/../cat/deep/2.png",
        "{here}/photos/train/cat/deep/2.png",
        "2.png",
        "train/cat/deep/2.png",
        "cat\\deep\\2.png",
    ],
)
def test_an_image_may_be_named_by_its_file(classes, write_table, tmp_path, name, column):
    assert rows_from_table(write_table(f"{column}\n{name.format(here=tmp_path)}\n"), classes) == ([1], None)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("1.png", r"expected the name of one image, got 1.png, which is cat/1.png and dog/1.png"),
        ("dog/2.png", r"got dog/2.png; did you mean cat/deep/2.png\?"),
        ("Cat/1.PNG", r"got Cat/1.PNG; did you mean cat/1.png\?"),
        ("/elsewhere/photos/train/cat/1.png", r"got /elsewhere/photos/train/cat/1.png; did you mean cat/1.png\?"),
        ("dog/30.png", r"got dog/30.png; did you mean dog/3.png\?"),
        ("../x.gif", r"got ../x.gif$"),
        ("dog/3.png\n3.png", r"line 3`: expected each image once, got 3.png again, first in .*line 2"),
    ],
)
def test_an_unclear_file_is_refused(classes, write_table, names, words):
    with pytest.raises((DataError, ForgetSetError), match=words):
        rows_from_table(write_table(f"path\n{names}\n"), classes)


@pytest.mark.parametrize("name", ["./a.png", "a.png", "{here}/a.png"])
def test_a_file_is_found_whose_image_is_called_otherwise(photo_folder, write_table, name):
    (photo_folder / "table.csv").write_text("path,label,id,split\na.png,0,one,train\nb.png,1,two,test\n")
    images = load_data(f"folder:{photo_folder}").train
    assert rows_from_table(write_table(f"path\n{name.format(here=photo_folder)}\n"), images) == ([0], None)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("id\nx\n", ForgetSetError, "expected ids of the training images, such as i0, got x$"),
        ("id\na\nb\nc\nd\ne\nf\ng\n", ForgetSetError, "got a, b, c, d, e and 2 more"),
        ("id\ni1\ni1\n", DataError, "line 3`: expected each id once, got i1 again"),
        ("name\ni1\n", DataError, "expected a column id or path, got name"),
        (
            "id,new_label\ni1,0\ni2,\n",
            DataError,
            "line 3`: expected a value for new_label, got nothing; .* or for none",
        ),
        ("id,new_label\ni1,cow\n", DataError, "line 2`: expected a label: a number or a class name, got cow"),
        (
            "id,label\ni1,1\ni2,cat\n",
            DataError,
            r"line 3`: expected the label .* in the data, 2 \(dog\), got cat; .* new_",
        ),
        ("id,label,new_label\ni1,0,2\n", DataError, r"line 2`: expected .* in the data, 1 \(cat\), got 0$"),
        ("id,new_label\ni1,5\n", DataError, r"line 2`: expected a label in 0..2, got 5"),
    ],
)
def test_wrong_tables_are_refused(ten_images, write_table, text, error, words):
    with pytest.raises(error, match=words):
        rows_from_table(write_table(text), ten_images, class_names=("ant", "cat", "dog"))


def test_forget_set_holds_the_rows_in_order(ten_images):
    forget = forget_set(ten_images, [5, 2], new_labels=[0, 1])
    assert forget.ids == ("i5", "i2")
    assert forget.y.tolist() == [5, 2]
    assert forget.y_new.tolist() == [0, 1]
    assert torch.equal(forget.x, ten_images.load([5, 2]))
    assert forget_set(ten_images, [4]).y_new is None


@pytest.mark.parametrize(
    ("rows", "new_labels", "words"),
    [
        ([], None, "`indices`: expected at least one image"),
        ([10], None, r"`indices`: expected numbers in 0..9, got 10"),
        ([-1], None, r"`indices`: expected numbers in 0..9, got -1"),
        ([1, 1], None, "`indices`: expected each number once, got 1"),
        ([1, 2], [3], "`new_labels`: expected 2 labels, one an image, got 1"),
        ([1, 2], [3, 2], "same one for i2"),
    ],
)
def test_impossible_forget_sets_are_refused(ten_images, rows, new_labels, words):
    with pytest.raises(ForgetSetError, match=words):
        forget_set(ten_images, rows, new_labels=new_labels)
