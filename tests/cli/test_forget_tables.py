"""What a table of images to forget may say beside their ids, and what is noted of it."""

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("always::expunge.base.errors.ExpungeWarning")


@pytest.fixture
def run(job, expunge):
    """Return a function that runs the small job on a table of images to forget."""

    def call(table, *flags):
        (job.folder / "rows.csv").write_text(table)
        return expunge(*job.flags, "--forget", "rows.csv", "--max-steps", "1", *flags, "--out", "edited")

    return call


@pytest.mark.parametrize("goal", ["misclassify", "relabel"])
def test_a_label_that_contradicts_the_data_is_refused(run, goal):
    done = run("id,label\n4,1\n9,2\n", "--goal", goal)
    assert done.code == 2
    assert "rows.csv, line 3`: expected the label that the image has in the data, 0, got 2" in done.err
    assert done.err.rstrip().endswith("for the label that it is to get, name the column new_label")


def test_labels_that_are_drawn_are_noted(run):
    done = run("id,label\n4,1\n", "--goal", "relabel")
    assert "note: no new labels are given, so they are drawn at random; a column new_label" in done.err


@pytest.mark.parametrize("goal", ["misclassify", "unseen"])
def test_new_labels_without_use_are_noted(run, goal):
    done = run("id,new_label\n4,2\n", "--goal", goal)
    assert f"note: the new labels are not used: the goal is {goal}" in done.err


def test_new_labels_of_mistakes_are_noted(run, job):
    arrays = dict(np.load("images.npz"))
    arrays["y_train"][4] = 0
    np.savez("mistaken.npz", **arrays)
    done = run("id,new_label\n4,2\n", "--goal", "correct", "--data", "npz:mistaken.npz", "--minimum-right", "0")
    assert "note: the new labels are not used: with the goal correct" in done.err


def test_new_labels_with_their_goal_need_no_note(run):
    assert "new labels" not in run("id,new_label\n4,2\n", "--goal", "relabel").err


def test_the_images_of_an_edit_are_named_by_its_own_table(run, job, expunge):
    run("id\n4\n9\n")
    again = expunge(*job.flags, "--forget", "edited/predictions.csv", "--max-steps", "1", "--out", "again")
    assert "saved to again" in again.err + again.out
    first, second = (
        [line.split(",")[:3] for line in (job.folder / name / "predictions.csv").read_text().splitlines()]
        for name in ("edited", "again")
    )
    assert first == second


def test_a_new_label_beyond_the_classes_names_the_line(run):
    done = run("id,new_label\n4,2\n9,3\n")
    assert done.code == 2
    assert "rows.csv, line 3`: expected a label in 0..2, got 3; labels count from 0" in done.err


def test_more_mistakes_than_there_are(job, expunge):
    arrays = dict(np.load("images.npz"))
    arrays["y_train"][[4, 9]] = (arrays["y_train"][[4, 9]] + 1) % 3
    np.savez("mistaken.npz", **arrays)
    done = expunge(
        *job.flags, "--data", "npz:mistaken.npz", "--goal", "correct", "--forget-random", 3, "--out", "edited"
    )
    assert done.code == 2
    words = "`--forget-random`: expected 1..2, the number of images that the classifier answers wrongly, got 3"
    assert words in done.err
