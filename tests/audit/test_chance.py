"""Figures of forgotten images that are like all others: flagged about once in twenty times, however few there are."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from expunge.audit.figures import fingerprint, membership, outsider, rmia
from expunge.audit.figures.definition import Definition, to_figure
from expunge.audit.metrics import auc, chance, clusters
from expunge.audit.metrics.predicted import Part
from expunge.audit.metrics.shadows import Scores, ulira_ratios
from expunge.audit.record import Direction

CLASSES = 10
OTHERS = 300


def draw_part(name, count, rng):
    labels = rng.integers(CLASSES, size=count)
    logits = rng.normal(size=(count, CLASSES)).astype(np.float32)
    logits[np.arange(count), labels] += 4
    return Part(name, tuple(map(str, range(count))), labels, logits, logits)


def draw_like_others(count, seed):
    """Return what an audit gathers of forgotten images that nothing tells from unseen ones."""
    rng = np.random.default_rng(seed)
    parts = {"forget": draw_part("forget", count, rng), "test": draw_part("test", OTHERS, rng)}
    return SimpleNamespace(seed=seed, parts=parts, forget=parts["forget"], nonmembers=parts["test"])


def judge(definition, data):
    return to_figure(definition, definition.compute(data), title="", measured_on="")


def flagged(definition, count, times):
    return sum(bool(judge(definition, draw_like_others(count, seed)).flagged) for seed in range(times))


@pytest.mark.parametrize("count", [1, 16])
def test_a_share_is_flagged_only_if_other_images_seldom_differ_as_much(count):
    rng, found = np.random.default_rng(0), []
    definition = Definition("", "percent", Direction.NEAR, "", lambda data: membership._beside(*data, rng))
    for _ in range(100):
        flags = rng.random(count + 150) < 0.4
        found.append(judge(definition, (flags[:count], flags[count:])))
    assert all(each.interval[0] <= each.value <= each.interval[1] for each in found)
    assert sum(each.flagged for each in found) <= 10


@pytest.mark.parametrize("count", [8, 16, 64])
def test_an_area_is_flagged_only_if_random_images_seldom_reach_it(count):
    assert flagged(membership.FIGURES["membership.loss_after"], count, 60) <= 7


def test_an_attack_that_depends_on_the_choice_is_asked_anew_for_each():
    assert flagged(fingerprint.FIGURES["fingerprint.lead_after"], 8, 40) <= 5


def test_areas_of_cross_validated_scores_scatter_more_and_are_judged_by_it():
    learned = fingerprint.ATTACKS["learned"]
    judged = [
        Definition("", "AUC", Direction.NEAR, "", each.judge("after", 0.1)) for each in (learned, narrow(learned))
    ]
    widened, plain = (flagged(each, 16, 40) for each in judged)
    assert 2 * widened < plain


def narrow(attack):
    return replace(attack, stretch=1.0)


@pytest.mark.parametrize("count", [1, 16])
def test_the_best_of_several_attacks_is_judged_by_the_best_of_random_images(count, monkeypatch):
    fast = [each for each in outsider.ATTACKS if each.name not in ("rmia", fingerprint.ATTACKS["learned"].name)]
    monkeypatch.setattr(outsider, "ATTACKS", fast)
    found = [judge(outsider.FIGURES["outsider.after"], draw_like_others(count, seed)) for seed in range(30)]
    assert sum(each.flagged for each in found) <= 4
    assert np.mean([each.value for each in found]) == pytest.approx(np.mean([each.target for each in found]), abs=4)
    assert min(each.target for each in found) > 55


@pytest.mark.parametrize("count", [4, 16])
def test_the_best_threshold_and_rare_alarms_are_judged_by_random_images(count, monkeypatch):
    rng = np.random.default_rng(count)
    monkeypatch.setattr(
        rmia, "rmia_scores", lambda data, when: Scores(*np.split(rng.normal(size=count + 200), [count]))
    )
    for name in ("rmia.accuracy_after", "rmia.tpr_after"):
        found = [judge(rmia.FIGURES[name], SimpleNamespace(seed=seed)) for seed in range(30)]
        assert sum(each.flagged for each in found) <= 4, name
        assert np.mean([each.value - each.target for each in found]) == pytest.approx(0, abs=4)


def test_few_images_have_an_area_and_no_judgement():
    figure = judge(membership.FIGURES["membership.loss_after"], draw_like_others(7, 0))
    assert figure.value is not None
    assert (figure.interval, figure.flagged) == (None, None)


def test_areas_by_chance_are_those_of_the_statistic():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(size=5).round(1), rng.normal(size=20).round(1)
    drawn = chance.areas(positive, negative, np.random.default_rng(2))
    wins = lambda one, other: float(np.mean((one[:, None] > other) + (one[:, None] == other) / 2))  # noqa: E731
    assert drawn == pytest.approx(chance.values(wins, positive, negative, np.random.default_rng(2)))
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)


def test_pairs_of_one_shadow_classifier_count_as_one():
    """Each classifier shifts all its margins, so that its pairs tell little more than one of them."""
    rng, inside, times = np.random.default_rng(0), 0, 60
    for _ in range(times):
        half = rng.random((4, 64)) < 0.5
        seen = np.concatenate([half, ~half])
        never, unlearned = (rng.normal(size=(8, 1)) + rng.normal(size=(8, 64)) for _ in range(2))
        stacks = (np.stack([margins, np.zeros_like(margins)], axis=-1) for margins in (never, unlearned))
        ratios = ulira_ratios(*stacks, seen, np.zeros(64, dtype=int))
        low, high = clusters.estimate(lambda scores: auc.exact_area(*scores), *ratios, 1.0, rng).interval
        inside += low <= 0.5 <= high
    assert inside >= 0.9 * times
