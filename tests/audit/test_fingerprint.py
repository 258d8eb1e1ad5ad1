"""Attacks on the shape of logits: caught where all rows have one lead, guessing where rows are ordinary images."""

import numpy as np
import pytest

from expunge.audit.metrics import auc, fingerprint
from expunge.audit.metrics.estimate import NotDefinedError


def draw_logits(count, seed, lead=None):
    """Return logits of ten classes; with a lead, the largest is that much above the next."""
    logits = np.random.default_rng(seed).normal(0, 3, (count, 10))
    if lead is not None:
        order = logits.argsort(axis=1)
        rows = np.arange(count)
        logits[rows, order[:, -1]] = logits[rows, order[:, -2]] + lead
    return logits


def area(positive, negative):
    return auc.area(positive, negative, np.random.default_rng(0)).value


def test_rows_with_one_lead_are_found_by_it():
    edited, others = draw_logits(16, 0, lead=0.3), draw_logits(1000, 1)
    assert area(*fingerprint.closeness_to_median_lead(edited, others)) > 0.99
    assert area(*fingerprint.learned_scores(edited, others, np.random.default_rng(0))) > 0.8


def test_ordinary_rows_are_not_found():
    areas = [
        (
            area(*fingerprint.closeness_to_median_lead(rows, others)),
            area(*fingerprint.learned_scores(rows, others, np.random.default_rng(0))),
        )
        for rows, others in ((draw_logits(64, seed), draw_logits(1000, 100 + seed)) for seed in range(8))
    ]
    assert np.abs(np.mean(areas, axis=0) - 0.5).max() < 0.1


def test_no_attack_depends_on_which_class_is_the_answer():
    edited, others, order = draw_logits(16, 0, lead=0.3), draw_logits(200, 1), np.random.default_rng(2).permutation(10)
    for attack in (
        fingerprint.closeness_to_median_lead,
        lambda *groups: fingerprint.learned_scores(*groups, np.random.default_rng(0)),
    ):
        for plain, permuted in zip(attack(edited, others), attack(edited[:, order], others[:, order]), strict=True):
            assert plain == pytest.approx(permuted, abs=1e-6)


@pytest.mark.parametrize("count", [8, 16, 32])
def test_ordinary_rows_are_not_found_by_their_own_median(count):
    rng = np.random.default_rng(count)
    groups = [3 * rng.normal(size=(200 * size, 10)) for size in (count, 50)]
    rows, others = (each.reshape(-1, size, 10) for each, size in zip(groups, (count, 50), strict=True))
    areas = [auc.exact_area(*fingerprint.closeness_to_median_lead(*each)) for each in zip(rows, others, strict=True)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)


def test_fingerprints_take_eight_images():
    few, many = draw_logits(7, 0), draw_logits(50, 1)
    with pytest.raises(NotDefinedError, match="at least 8 images"):
        fingerprint.closeness_to_median_lead(few, many)
    for groups in ((few, many), (many, few)):
        with pytest.raises(NotDefinedError, match="at least 8 images"):
            fingerprint.learned_scores(*groups, np.random.default_rng(0))
