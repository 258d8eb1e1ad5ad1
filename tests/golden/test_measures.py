"""Measures against numbers that the code of their authors gave for the same small arrays."""

import numpy as np
import pytest
from golden_measures import (
    confident_logits,
    draw_labels,
    klom_margins,
    rmia_logits,
    shadow_logits,
    svc_probabilities,
)
from golden_net import read_golden

from expunge.audit.metrics import klom, membership, shadows

CLOSE = 1e-7


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_klom(rng):
    edited, retrained = klom_margins()
    wanted = read_golden("klom")["by_row"]
    for row in range(4):
        found = klom.klom(edited[:, [row]], retrained[:, [row]], rng)
        assert found.estimate.value == pytest.approx(wanted[row], rel=CLOSE), row
    together = klom.klom(edited, retrained, rng)
    assert together.estimate.value == pytest.approx(np.mean(wanted), rel=CLOSE)


def test_entropy_and_modified_entropy_of_answers_that_are_all_but_certain():
    logits, labels = confident_logits()
    golden = read_golden("modified_entropy")
    np.testing.assert_allclose(-membership.negative_entropy(logits, labels), golden["entropy"], rtol=CLOSE)
    found = -membership.negative_modified_entropy(logits, labels)
    np.testing.assert_allclose(found, golden["modified_entropy"], rtol=CLOSE)


@pytest.mark.parametrize("never", ["unedited", "edited"])
def test_ulira(never):
    trained, unlearned, seen, labels = shadow_logits()
    wanted = np.array(read_golden("ulira")[never]).reshape(seen.shape)
    found = shadows.ulira_scores({"unedited": trained, "edited": unlearned}[never], unlearned, seen, labels)
    np.testing.assert_allclose(found.positive, wanted[seen], rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(found.negative, wanted[~seen], rtol=CLOSE, atol=CLOSE)


def test_rmia():
    """The authors' code takes the larger half of the shadow classifiers for the population; ours does, if told so."""
    rows, others, seen = rmia_logits()
    golden = read_golden("rmia")
    assert golden["offline_a"] == shadows.OFFLINE_A
    labels = draw_labels(20)
    chances = np.stack([membership.label_probability(one, labels) for one in others[2:]])
    larger = chances.argsort(axis=0).argsort(axis=0) >= 4
    population = shadows.Answered(others[0], labels, others[2:], larger)
    forgotten = shadows.Answered(rows[0], draw_labels(12), rows[2:], ~seen[2:])
    found = shadows.rmia_scores(forgotten, population, population)
    np.testing.assert_allclose(found.positive, golden["scores"], rtol=CLOSE)


def test_support_vector_classifier(rng):
    golden = read_golden("svc")
    found = membership.svc_unseen(*svc_probabilities(), rng)
    assert found.tolist() == [bool(flag) for flag in golden["unseen"]]
    assert found.mean() == pytest.approx(golden["unseen_share"])
