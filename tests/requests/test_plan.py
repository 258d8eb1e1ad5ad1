"""What retraining would need: every image of a request that stands, found in the training data by its pixels."""

import csv
import io

import torch

from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import TensorImages
from expunge.requests.images import find_places
from expunge.requests.plan import describe, plan_retraining, standing, to_csv
from expunge.requests.receive import receive
from expunge.requests.recovery import writing
from expunge.requests.rewind import withdraw


def test_images_of_requests_that_stand_are_found_by_their_pixels(project, rows_of, options):
    rows = rows_of(12, seed=0)
    ids = [f"image-{number}" for number in range(13)]
    training = TensorImages(ids, torch.zeros(13, dtype=torch.int64), torch.cat([rows.x, rows.x[:1]]))
    relabelled = ForgetSet(("a", "b"), rows.x[4:6], rows.y[4:6], (rows.y[4:6] + 1) % 3)
    with writing(project) as ledger:
        receive(ledger, ForgetSet(("one", "two"), rows.x[:2], rows.y[:2]), options.keeping)
        receive(ledger, relabelled, options.keeping)
        receive(ledger, rows.rows([8]), options.keeping)
        withdraw(ledger, "R0003", "", Runtime())
        wanted = {content for request in standing(ledger.state) for content in request.each_content()}
        places = find_places(ledger, training, wanted)
        planned = plan_retraining(ledger, places)
        told = describe(ledger.state, places)

    assert [(one.request, one.id, one.row) for one in planned] == [
        ("R0001", "one", 0),
        ("R0001", "one", 12),
        ("R0001", "two", 1),
        ("R0002", "a", 4),
        ("R0002", "b", 5),
    ]
    assert told[0].startswith("4 images of 2 requests: train ledger_networks:build with 3 classes")
    assert told[0].endswith("without 2 of them, and 2 with their new labels")
    assert told[1] == "found in the training data: 4 of 4"
    assert [one.new_label for one in planned] == [None, None, None, *relabelled.y_new.tolist()]
    assert list(csv.DictReader(io.StringIO(to_csv(planned))))[1]["training_id"] == "image-12"


def test_without_training_data_the_plan_names_the_images_as_the_requests_do(project, rows_of, options):
    with writing(project) as ledger:
        receive(ledger, rows_of(3, seed=0), options.keeping)
        assert [(one.id, one.row) for one in plan_retraining(ledger)] == [
            ("row-0", None),
            ("row-1", None),
            ("row-2", None),
        ]
