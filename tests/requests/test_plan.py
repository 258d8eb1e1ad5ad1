"""What retraining would need: every image of a request that stands, found in the training data by its pixels."""

import csv
import io

import pytest
import torch

from expunge.base.errors import DataError
from expunge.compute.runtime import Runtime
from expunge.data import rows_from_table
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.requests.images import find_places
from expunge.requests.plan import describe, plan_retraining, standing, to_csv, to_relabel_csv
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import withdraw


@pytest.fixture
def rows(rows_of):
    return rows_of(12, seed=0)


@pytest.fixture
def training(rows):
    """Return training images whose ids are no numbers of images in a request; the last is the first once more."""
    labels = torch.cat([rows.y, rows.y[:1]])
    return TensorImages(
        [f"image-{number}" for number in range(13)], labels, torch.cat([rows.x[:11], rows.x[:1], rows.x[:1] / 2])
    )


def numbered(rows, numbers, shift=0):
    """Return some rows as a request names them: 1, 2, ...; with labels that are so much higher, if any."""
    part = rows.rows(numbers)
    ids = tuple(str(number) for number in range(1, len(numbers) + 1))
    return ForgetSet(ids, part.x, part.y, (part.y + shift) % 3 if shift else None)


def look(ledger, training):
    wanted = {content for request in standing(ledger.state) for content in request.each_content()}
    return find_places(ledger, training, wanted)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_images_of_requests_that_stand_are_found_by_their_pixels(project, rows, training, options, tmp_path):
    with writing(project) as ledger:
        receive(ledger, numbered(rows, [0, 1]), options.keeping)
        receive(ledger, numbered(rows, [4, 5], shift=1), options.keeping)
        receive(ledger, numbered(rows, [8]), options.keeping)
        withdraw(ledger, "R0003", "", Runtime())
        places = look(ledger, training)
        planned = plan_retraining(ledger, places)
        told = describe(ledger.state, places)

    assert told[0].startswith("4 images of 2 requests: train ledger_networks:build with 3 classes")
    assert told[0].endswith("without 2 of them, and 2 with their new labels")
    assert told[1] == "found in the training data: 4 of 4, as 5 images"
    assert read(to_csv(planned)) == [
        {"request": "R0001", "instance": "1", "given_label": "0", "row": "0", "id": "image-0"},
        {"request": "R0001", "instance": "1", "given_label": "0", "row": "11", "id": "image-11"},
        {"request": "R0001", "instance": "2", "given_label": "1", "row": "1", "id": "image-1"},
    ]
    assert [(one["id"], one["new_label"]) for one in read(to_relabel_csv(planned))] == [
        ("image-4", "2"),
        ("image-5", "0"),
    ]
    (tmp_path / "retrain.csv").write_text(to_csv(planned))
    assert rows_from_table(tmp_path / "retrain.csv", training) == ([0, 11, 1], None)
    (tmp_path / "relabel.csv").write_text(to_relabel_csv(planned))
    assert rows_from_table(tmp_path / "relabel.csv", training, num_classes=3) == ([4, 5], [2, 0])


def test_without_a_request_there_is_nothing_to_train_without(project, rows, options):
    with writing(project) as ledger:
        nothing = describe(ledger.state)
        receive(ledger, numbered(rows, [0]), options.keeping)
        assert describe(ledger.state)[0].startswith("1 image of 1 request: train")
    assert nothing == ["no request stands: there is nothing to train without"]


def test_a_picture_of_several_requests_counts_once_and_wishes_that_contradict_are_said(
    project, rows, training, options
):
    with writing(project) as ledger:
        receive(ledger, numbered(rows, [0, 1, 2]), options.keeping)
        receive(ledger, numbered(rows, [1, 3]), options.keeping)
        receive(ledger, numbered(rows, [2, 4], shift=1), options.keeping)
        places = look(ledger, training)
        planned = plan_retraining(ledger, places)
        told = describe(ledger.state, places)
    assert told[0].startswith("5 images of 3 requests")
    assert told[0].endswith("without 4 of them, and 1 with their new labels")
    assert told[1:3] == [
        "1 of them are left out, though a request gives them a new label: withdraw one of R0001, R0003",
        "found in the training data: 5 of 5, as 6 images",
    ]
    left_out = {one["row"]: one["request"] for one in read(to_csv(planned))}
    assert left_out == {"0": "R0001", "11": "R0001", "1": "R0001 R0002", "2": "R0001 R0003", "3": "R0002"}
    assert [one["row"] for one in read(to_relabel_csv(planned))] == ["4"]


def test_what_is_not_in_the_training_data_and_what_nobody_looked_for_is_said(project, rows, training, options):
    with writing(project) as ledger:
        receive(ledger, numbered(rows, [0, 11]), options.keeping)
        places = look(ledger, training)
        receive(ledger, numbered(rows, [1]), options.keeping)
        told, planned = describe(ledger.state, places), plan_retraining(ledger, places)
    assert told[1:4] == [
        "found in the training data: 1 of 3, as 2 images",
        "not found there, so not in the table: 1, of R0001",
        "not looked for yet, so not in the table: 1, of R0002",
    ]
    assert [one.row for one in planned] == [0, 11]


def test_without_training_data_the_plan_names_the_images_as_the_requests_do(project, rows, training, options, tmp_path):
    with writing(project) as ledger:
        receive(ledger, rows.rows([0, 1]), options.keeping)
        planned = plan_retraining(ledger)
    (tmp_path / "retrain.csv").write_text(to_csv(planned))
    assert [(one["request"], one["instance"]) for one in read(to_csv(planned))] == [
        ("R0001", "row-0"),
        ("R0001", "row-1"),
    ]
    with pytest.raises(DataError, match="expected a column id or path, got request, instance, given_label"):
        rows_from_table(tmp_path / "retrain.csv", training)
