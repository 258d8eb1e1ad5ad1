"""Bad input: a clear error, never a silent number."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge.audit.collect.pools import Member, Pool, Unlearning, predict_retrained, predict_shadows
from expunge.audit.metrics import geometry, membership
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.predicted import Part
from expunge.base.errors import DataError
from expunge.compute.runtime import Runtime
from expunge.data.images import TensorImages
from expunge.task.evaluation import compute_logits

IDS = ("a", "b", "c")
LABELS = np.array([0, 1, 1])
LOGITS = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 0.5]], dtype=np.float32)


def make(**changes):
    return Part(**{"name": "test", "ids": IDS, "labels": LABELS, "before": LOGITS, "after": LOGITS, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ()}, "`test`: expected at least one image, got none"),
        ({"ids": ("a", "b", "a")}, "`ids of test`: expected each once, got a more than once"),
        ({"labels": LABELS[:2]}, "`labels of test`: expected 3, one an id, got 2"),
        ({"before": LOGITS[:2]}, "`before of test`: expected 3, one an id, got 2"),
        ({"after": LOGITS[:1]}, "`after of test`: expected 3, one an id, got 1"),
        ({"after": np.ones((3, 5), dtype=np.float32)}, "the same before and after, got (3, 2) before, (3, 5) after"),
        ({"after": np.where(LOGITS == 2, np.nan, LOGITS)}, "`logits after of test`: expected finite values, got NaN"),
        ({"before": np.where(LOGITS == 0.5, np.inf, LOGITS)}, "infinity in row 2"),
        ({"labels": np.array([0, 1, 2])}, "`labels of test`: expected 0..1, got 0..2"),
        ({"labels": np.array([-1, 1, 1])}, "got -1..1"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(DataError, match=re.escape(words)):
        make(**changes)


def test_features_that_are_not_finite_are_refused():
    broken = np.eye(4)
    broken[0, 1] = np.nan
    for function in (geometry.nearest_rows, geometry.linear_cka):
        with pytest.raises(DataError, match="NaN or infinity in row 0"):
            function(broken, np.eye(4))
    with pytest.raises(DataError, match="`features`"):
        geometry.Probe(broken, np.array([0, 1, 0, 1]))


def test_constant_scores_are_not_defined():
    constant = np.zeros((3, 2), dtype=np.float32)
    scores = membership.negative_entropy(constant, LABELS)
    assert np.isfinite(scores).all()
    with pytest.raises(NotDefinedError, match="the same for all rows"):
        geometry.embed(np.zeros((9, 3), dtype=np.float32), seed=0)


# Pools


@pytest.fixture
def pool(trained, tmp_path):
    """Return a function that makes a pool whose members were trained on these ids."""

    def make(*trained_on):
        folders = [tmp_path / str(number) for number in range(len(trained_on))]
        for folder in folders:
            folder.mkdir()
        members = [Member(trained.copy, frozenset(ids), place) for ids, place in zip(trained_on, folders, strict=True)]
        return Pool(tuple(members), "copied")

    return make


@pytest.fixture
def test_images(other_images):
    x, labels = other_images
    return TensorImages([f"test-{row}" for row in range(len(labels))], labels, x)


def test_a_retrained_classifier_that_saw_a_row_is_refused(pool, rows):
    members = pool(["other"], ["other", "row-3"])
    with pytest.raises(DataError, match="never saw the rows to forget, got one trained on row-3"):
        predict_retrained(members, {}, rows, Runtime())


def test_retrained_logits_are_those_of_the_classifiers(pool, rows, trained, test_images):
    found = predict_retrained(pool(["other"]), {"test": test_images}, rows, Runtime(batch_size=7))
    np.testing.assert_allclose(found.logits[0]["forget"], compute_logits(trained, rows.x).numpy(), rtol=1e-5)
    assert found.logits[0]["test"].shape == (20, 5)


def test_a_row_that_every_shadow_classifier_saw_is_refused(pool, rows, test_images):
    with pytest.raises(DataError, match="each row unseen by one of them, got row-1, seen by all; train more"):
        predict_shadows(pool(["row-0", "row-1"], ["row-1"]), test_images, rows, None, seed=0, runtime=Runtime())


def test_shadow_classifiers_unlearn_their_own_rows_once(pool, rows, test_images):
    asked = []

    def unlearn(classifier, chosen, member):
        asked.append((chosen.ids, member.folder.name))
        edited = classifier.copy()
        with torch.no_grad():
            edited.network[-1].bias += 1
            edited.network[-1].bias[0] += 1
        return edited

    members, how = pool(["row-0", "row-1", "x"], ["row-2"], ["y"]), Unlearning(unlearn, "by hand")
    found = [predict_shadows(members, test_images, rows, how, seed=0, runtime=Runtime()) for _ in range(2)]
    assert asked == [(("row-0", "row-1"), "0"), (("row-2",), "1")]
    assert found[0].seen.tolist() == [
        [True, True, False, False, False, False],
        [False, False, True, False, False, False],
        [False] * 6,
    ]
    np.testing.assert_array_equal(found[0].unlearned_forget, found[1].unlearned_forget)
    change = found[0].unlearned_forget - found[0].forget
    np.testing.assert_allclose(change[0], np.tile([2, 1, 1, 1, 1], (6, 1)), rtol=1e-4)
    assert not change[2].any()
    others = Unlearning(unlearn, "another method")
    predict_shadows(members, test_images, rows, others, seed=0, runtime=Runtime())
    assert len(asked) == 4
    assert {path.suffix for path in Path(members.members[0].folder).iterdir()} == {".npz"}
