"""Each metric against an independent computation: another library, or a plain loop."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import spatial, stats
from scipy.spatial.distance import cdist
from sklearn.metrics import confusion_matrix, roc_auc_score

from expunge.audit.collect import relearning
from expunge.audit.metrics import (
    answers,
    auc,
    geometry,
    klom,
    membership,
    pattern,
    residual,
    retrained,
    shadows,
    weights,
)
from expunge.audit.metrics.estimate import NotDefinedError

CLASSES = 4
SCORES = arrays(np.float64, st.integers(2, 12), elements=st.integers(-3, 3).map(float))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def logits(rng):
    return rng.normal(scale=3, size=(30, CLASSES)).astype(np.float32)


@pytest.fixture
def labels(rng):
    return rng.integers(CLASSES, size=30)


def draw_stack(rng, count, labels):
    return rng.normal(scale=2, size=(count, len(labels), CLASSES)).astype(np.float32)


# Answers


def test_share_is_a_mean_with_wilsons_interval():
    flags, z = np.array([True] * 7 + [False] * 3), stats.norm.ppf(0.975)
    found = answers.share(flags)
    middle = (0.7 + z**2 / 20) / (1 + z**2 / 10)
    half = z / (1 + z**2 / 10) * math.sqrt(0.7 * 0.3 / 10 + z**2 / 400)
    assert found.value == pytest.approx(70)
    assert found.interval == pytest.approx((100 * (middle - half), 100 * (middle + half)))


def test_accuracy_churn_and_largest_share_by_counting(logits, labels):
    predicted = [int(max(range(CLASSES), key=row.__getitem__)) for row in logits.tolist()]
    right = sum(one == other for one, other in zip(predicted, labels.tolist(), strict=True))
    assert answers.accuracy(logits, labels).value == pytest.approx(100 * right / 30)
    assert answers.churn(np.array(predicted), labels).value == pytest.approx(100 - 100 * right / 30)
    most = max(predicted.count(label) for label in range(CLASSES))
    assert answers.largest_share(np.array(predicted)).value == pytest.approx(100 * most / 30)


def test_margins_are_the_distance_that_the_goal_is_held_by(logits, labels):
    for row, (values, label) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        rivals = max(value for number, value in enumerate(values) if number != label)
        assert answers.margins(logits, labels, "misclassify")[row] == pytest.approx(rivals - values[label], abs=1e-5)
        assert answers.margins(logits, labels, "relabel")[row] == pytest.approx(values[label] - rivals, abs=1e-5)
    assert np.array_equal(answers.goal_met(logits, labels, "relabel"), logits.argmax(axis=1) == labels)


def test_confidence_is_torchs_softmax_even_of_large_logits(logits):
    huge = 100 * logits
    wanted = torch.from_numpy(huge).double().softmax(dim=1).amax(dim=1).numpy()
    np.testing.assert_allclose(answers.confidence(huge), wanted, rtol=1e-6)


# Areas under curves


@given(SCORES, SCORES)
def test_area_is_scikit_learns(positive, negative):
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    wanted = roc_auc_score(truth, np.concatenate([positive, negative]))
    assert auc.exact_area(positive, negative) == pytest.approx(wanted)
    wins = np.mean([[float(one > other) + (one == other) / 2 for other in negative] for one in positive])
    assert wanted == pytest.approx(wins)


def test_bootstrap_is_the_plain_one():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.5, size=9).round(1), rng.normal(size=14).round(1)
    found = auc.area(positive, negative, np.random.default_rng(7), draws=4000)
    plain = [auc.exact_area(rng.choice(positive, 9), rng.choice(negative, 14)) for _ in range(4000)]
    assert found.interval == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.015)
    assert found.interval[0] < found.value < found.interval[1]


@given(SCORES, SCORES)
def test_every_resample_has_the_area_of_its_rows(positive, negative):
    class Draws:  # deals out every row once: the area must be that of the rows themselves
        def multinomial(self, count, shares, size):
            return np.tile(np.rint(count * np.asarray(shares)).astype(int), (size, 1))

    areas = auc._resample(positive, negative, Draws(), 2)
    assert areas == pytest.approx([auc.exact_area(positive, negative)] * 2)


@given(SCORES, SCORES)
def test_best_threshold_by_trying_all(positive, negative):
    scores = np.concatenate([positive, negative])
    if len(set(scores)) < 2:
        with pytest.raises(NotDefinedError, match="every score is the same"):
            auc.best_accuracy(positive, negative)
        return
    tried = [50 * ((positive >= t).mean() + (negative < t).mean()) for t in [*scores, np.inf]]
    assert auc.best_accuracy(positive, negative) == pytest.approx(max(*tried, 100 - min(tried)))


def test_found_at_few_false_alarms_by_trying_all(rng):
    positive, negative = rng.normal(2, size=50), rng.normal(size=150)
    shares = [(positive >= t).mean() for t in [*positive, *negative] if (negative >= t).mean() <= 0.01]
    assert auc.tpr_at(positive, negative) == pytest.approx(100 * max(shares))


def test_found_at_few_false_alarms_where_scores_tie():
    scores = np.arange(200.0)
    assert auc.tpr_at(scores, scores) == 1
    assert auc.tpr_at(scores, np.roll(scores, 7)) == 1


def test_images_with_too_low_scores_are_found_as_well():
    rng = np.random.default_rng(0)
    low, others = rng.normal(-4, size=64), rng.normal(size=400)
    assert auc.tpr_at(low, others) == 0
    assert auc.tpr_either_way(low, others) == auc.tpr_at(-low, -others) > 90
    assert auc.best_accuracy(low, others) == auc.best_accuracy(-low, -others) > 90


def test_one_percent_of_too_few_rows_is_not_defined(rng):
    with pytest.raises(NotDefinedError, match="at least 100 unseen rows, not 99"):
        auc.tpr_at(rng.normal(size=5), rng.normal(size=99))


# Simple membership


def test_scores_of_membership_by_hand(logits, labels):
    tensor, target = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    p = tensor.softmax(dim=1)
    loss = F.cross_entropy(tensor, target, reduction="none").numpy()
    np.testing.assert_allclose(membership.negative_loss(logits, labels), -loss, rtol=1e-9)
    np.testing.assert_allclose(membership.answer_confidence(logits, labels), p.amax(dim=1).numpy(), rtol=1e-9)
    entropies = [-stats.entropy(row) for row in p.numpy()]
    np.testing.assert_allclose(membership.negative_entropy(logits, labels), entropies, rtol=1e-6)
    for row, label in enumerate(labels.tolist()):
        terms = [p[row, c].item() * math.log(1 - p[row, c].item()) for c in range(CLASSES) if c != label]
        own = p[row, label].item()
        wanted = (1 - own) * math.log(own) + sum(terms)
        assert membership.negative_modified_entropy(logits, labels)[row] == pytest.approx(wanted)


def test_scores_stay_finite_for_answers_that_are_certain():
    logits, labels = np.array([[1e4, 0.0], [0.0, 1e4]], dtype=np.float32), np.array([0, 0])
    for score in membership.SCORES.values():
        assert np.isfinite(score(logits, labels)).all()


def test_answers_that_are_all_but_certain_keep_their_order(rng):
    logits = rng.normal(size=(3000, CLASSES)).astype(np.float32)
    labels = np.arange(3000) % CLASSES
    logits[np.arange(3000), labels] += rng.uniform(10, 70, size=3000).astype(np.float32)
    for score in ("loss", "entropy", "modified_entropy"):
        assert len(set(membership.SCORES[score](logits, labels).tolist())) == 3000, score
    found = membership.negative_modified_entropy(logits, labels)
    for row in range(0, 3000, 100):
        assert found[row] == pytest.approx(-float(modified_entropy_in_full(logits[row], labels[row])), rel=1e-9)


def modified_entropy_in_full(logits, label):
    with localcontext(prec=100):
        powers = [Decimal(float(value)).exp() for value in logits]
        p = [power / sum(powers) for power in powers]
        others = (p[c] * (1 - p[c]).ln() for c in range(CLASSES) if c != label)
        return -(1 - p[label]) * p[label].ln() - sum(others)


def test_svc_separates_what_a_threshold_separates(rng):
    members, others = rng.uniform(0.8, 1, 200), rng.uniform(0, 0.4, 300)
    found = membership.svc_unseen(members, others, np.array([0.95, 0.1, 0.9, 0.3]), rng)
    assert found.tolist() == [False, True, False, True]


def test_svc_of_one_row_or_of_equal_rows_is_not_defined(rng):
    with pytest.raises(NotDefinedError, match="at least two"):
        membership.svc_unseen(np.array([0.5]), np.array([0.1, 0.2]), np.array([0.3]), rng)
    with pytest.raises(NotDefinedError, match="every probability of the label is the same"):
        membership.svc_unseen(np.full(5, 0.5), np.full(5, 0.5), np.array([0.5]), rng)


# Strong membership


def test_log_odds_of_probabilities(logits, labels):
    p = torch.from_numpy(logits).double().softmax(dim=1).numpy()[np.arange(30), labels]
    np.testing.assert_allclose(answers.log_odds(logits, labels), np.log(p / (1 - p)), rtol=1e-9)


def test_rmia_by_loops(rng, labels):
    asked, stack = draw_stack(rng, 1, labels)[0], draw_stack(rng, 4, labels)
    unseen = rng.random((4, 30)) < 0.6
    unseen[0] = True
    z_labels = rng.integers(CLASSES, size=11)
    z_asked, z_stack = draw_stack(rng, 1, z_labels)[0], draw_stack(rng, 4, z_labels)
    rows = shadows.Answered(asked, labels, stack, unseen)
    population = shadows.Answered(z_asked, z_labels, z_stack, np.ones((4, 11), dtype=bool))
    found = shadows.rmia_scores(rows, rows.images(np.arange(0, 30, 2)), population)

    def ratio(logits, stack, unseen, row, label):
        chance = lambda values: math.exp(values[label]) / sum(math.exp(value) for value in values)  # noqa: E731
        outside = [chance(one[row].astype(float)) for one, out in zip(stack, unseen[:, row], strict=True) if out]
        usual = ((1 + 0.33) * sum(outside) / len(outside) + 1 - 0.33) / 2
        return chance(logits[row].astype(float)) / usual

    every = np.ones((4, 11), dtype=bool)
    zs = [ratio(z_asked, z_stack, every, row, label) for row, label in enumerate(z_labels)]
    wanted = [
        np.mean([ratio(asked, stack, unseen, row, label) / z > 1 for z in zs]) for row, label in enumerate(labels)
    ]
    np.testing.assert_allclose(found.positive, wanted)
    np.testing.assert_allclose(found.negative, wanted[::2])


def test_rows_that_were_never_seen_score_as_other_images_that_were_never_seen():
    """Compared with all four shadow classifiers instead of two, the others would score higher.

    The classifier is surer than shadow classifiers are, which had half of its images.
    """
    rng, count = np.random.default_rng(0), 6000
    seen = np.array([rng.permutation([True, True, False, False]) for _ in range(count)]).T

    def answered(unseen):
        stack = np.zeros((5, count, 2))
        stack[:, :, 0] = rng.normal(7, 4, size=count) + rng.normal(0, 2, size=(5, count))
        stack[4, :, 0] += 1.5
        return shadows.Answered(stack[4], np.zeros(count, dtype=int), stack[:4], unseen)

    rows = answered(~seen)
    alike = [shadows.unseen_as_rows(seen, count, rng) for _ in range(2)]
    area = auc.exact_area(*shadows.rmia_scores(rows, answered(alike[0]), answered(alike[1])))
    assert {tuple(column) for column in alike[0].T} == {tuple(column) for column in ~seen.T}
    assert area == pytest.approx(0.5, abs=0.015)
    every = np.ones_like(seen)
    assert auc.exact_area(*shadows.rmia_scores(rows, answered(every), answered(every))) < 0.475


def test_rmia_needs_a_classifier_that_never_saw_the_row(rng, labels):
    stack, unseen = draw_stack(rng, 3, labels), np.ones((3, 30), dtype=bool)
    unseen[:, 5] = False
    with pytest.raises(NotDefinedError, match="every shadow classifier"):
        shadows.likelihood_ratio(shadows.Answered(stack[0], labels, stack, unseen))


@pytest.mark.parametrize("count", [6, 2 * shadows.ENOUGH])
def test_ulira_by_loops(rng, labels, count):
    never, unlearned = draw_stack(rng, count, labels), draw_stack(rng, count, labels)
    half = count // 2
    seen = np.array([rng.permutation([True] * half + [False] * half) for _ in labels]).T
    found = shadows.ulira_scores(never, unlearned, seen, labels)
    inside, outside = answers.log_odds(unlearned, labels), answers.log_odds(never, labels)

    def spread(values, chosen):
        squares = [((values[chosen[:, row], row] - values[chosen[:, row], row].mean()) ** 2).sum() for row in range(30)]
        return math.sqrt(sum(squares) / ((half - 1) * 30))

    shared = spread(inside, seen), spread(outside, ~seen)

    def density(value, values, number):
        own = math.sqrt(sum((each - np.mean(values)) ** 2 for each in values) / len(values))
        return stats.norm.logpdf(value, np.median(values), own if half >= 16 else shared[number])

    positive, negative = [], []
    for one in range(count):
        for row in range(30):
            ins, outs = np.flatnonzero(seen[:, row]), np.flatnonzero(~seen[:, row])
            place = list(ins if seen[one, row] else outs).index(one)
            ins, outs = np.delete(ins, place), np.delete(outs, place)
            value = inside[one, row] if seen[one, row] else outside[one, row]
            ratio = density(value, inside[ins, row], 0) - density(value, outside[outs, row], 1)
            (positive if seen[one, row] else negative).append(ratio)
    np.testing.assert_allclose(np.sort(found.positive), np.sort(positive))
    np.testing.assert_allclose(np.sort(found.negative), np.sort(negative))
    right = (np.mean(np.array(positive) > 0) + np.mean(np.array(negative) < 0)) / 2
    assert shadows.balanced_accuracy(found) == pytest.approx(100 * right)


@pytest.mark.parametrize("count", [4, 8, 2 * shadows.ENOUGH])
def test_ulira_finds_nothing_in_a_shift_of_all_answers_if_both_sides_were_edited(count):
    rng, labels = np.random.default_rng(5), np.arange(300) % CLASSES
    halves = rng.random((count // 2, 300)) < 0.5
    seen = np.stack([halves, ~halves], axis=1).reshape(count, 300)
    trained = draw_stack(rng, count, labels)
    edited = trained.copy()
    edited[:, np.arange(300), labels] -= 6  # no row of them was ever seen: all that the edit did is the shift
    both = shadows.ulira_scores(edited, edited, seen, labels)
    assert auc.exact_area(both.positive, both.negative) == pytest.approx(0.5, abs=0.04)
    one = shadows.ulira_scores(trained, edited, seen, labels)
    assert auc.exact_area(one.positive, one.negative) > 0.8
    edited[:, np.arange(300), labels] += np.where(seen, 6, 0)
    left = shadows.ulira_scores(edited, edited, seen, labels)
    assert auc.exact_area(left.positive, left.negative) > 0.8


def test_ulira_of_pools_that_are_no_pairs(rng, labels):
    stack = draw_stack(rng, 7, labels)
    seen = rng.random((7, 30)) < 0.5
    found = shadows.ulira_scores(stack, stack, seen, labels)
    usable = (seen.sum(axis=0) >= 2) & ((~seen).sum(axis=0) >= 2)
    assert 0 < usable.sum() < 30
    assert np.isfinite(found.positive).all()
    assert np.isfinite(found.negative).all()
    assert (len(found.positive), len(found.negative)) == (seen[:, usable].sum(), (~seen[:, usable]).sum())


def test_ulira_floors_the_spread_of_few_classifiers(labels):
    same = np.zeros((4, 30, CLASSES), dtype=np.float32)
    seen = np.array([[True], [True], [False], [False]]).repeat(30, axis=1)
    found = shadows.ulira_scores(same, same, seen, labels)
    assert np.isfinite(found.positive).all()
    assert found.positive.max() == found.negative.min() == 0
    assert shadows.balanced_accuracy(found) == 50


def test_ulira_of_one_classifier_on_a_side_is_not_defined(rng, labels):
    stack = draw_stack(rng, 3, labels)
    seen = np.array([[True], [False], [False]]).repeat(30, axis=1)
    with pytest.raises(NotDefinedError, match="at least two"):
        shadows.ulira_scores(stack, stack, seen, labels)


def test_klom_is_the_entropy_of_histograms(rng):
    edited, never = rng.normal(1, size=(7, 20)), rng.normal(size=(5, 20))
    edited[0, :4] = np.nan
    edited[1, 5], never[:2, 5] = 130, -250
    found = klom.klom(edited, never, np.random.default_rng(0))
    by_row = []
    for row in range(20):
        sides = [np.clip(side[~np.isnan(side[:, row]), row], -100, 100) for side in (edited, never)]
        low, high = min(map(min, sides)), max(map(max, sides))
        p, q = (np.histogram(side[side < high], bins=20, range=(low, high))[0] for side in sides)
        by_row.append(stats.entropy(p / p.sum(), np.maximum(q / q.sum(), np.where(p > 0, 1e-5, 0))))
    assert found.estimate.value == pytest.approx(np.mean(by_row))
    assert found.estimate.interval[0] < found.estimate.value < found.estimate.interval[1]


def test_klom_of_a_side_that_has_the_largest_margin_only(rng):
    edited, never = np.full((4, 3), 7.0), rng.normal(size=(4, 3))
    assert klom.klom(edited, never, rng).estimate.value == pytest.approx(math.log(1e5), rel=1e-3)


def test_klom_by_chance_is_what_equal_classifiers_get():
    rng = np.random.default_rng(3)
    values = [klom.klom(*rng.normal(size=(2, 5, 40)), rng) for _ in range(20)]
    inside = [each.estimate.value < each.chance_high for each in values]
    assert sum(inside) >= 16
    assert np.mean([each.estimate.value - each.chance for each in values]) == pytest.approx(0, abs=0.15)
    far = klom.klom(rng.normal(5, size=(5, 40)), rng.normal(size=(5, 40)), rng)
    assert far.estimate.value > far.chance_high


def test_klom_of_equal_margins_or_of_few_classifiers_is_not_defined(rng):
    with pytest.raises(NotDefinedError, match="every classifier has the same margins"):
        klom.klom(np.ones((4, 5)), np.ones((4, 5)), rng)
    with pytest.raises(NotDefinedError, match="at least 4 edited and 4 never-seen classifiers a row, so 8 shadow"):
        klom.klom(rng.normal(9, size=(3, 5)), rng.normal(size=(4, 5)), rng)


# Retrained classifiers


def test_gap_and_tug_of_war_by_hand():
    edited = {"forget": 10.0, "test": 90.0}
    others = [{"forget": 80.0, "test": 91.0}, {"forget": 84.0, "test": 88.0}]
    gaps, products = [(70 + 1) / 2, (74 + 2) / 2], [0.3 * 0.99, 0.26 * 0.98]
    found = retrained.gap(edited, others)
    assert found.value == pytest.approx(np.mean(gaps))
    low, high = stats.t.interval(0.95, 1, np.mean(gaps), stats.sem(gaps))
    assert found.interval == pytest.approx((low, high))
    assert 0 < low < high < 100
    assert retrained.tug_of_war(edited, others).value == pytest.approx(np.mean(products))
    assert retrained.gap(edited, [edited]).value == 0
    assert retrained.tug_of_war(edited, [edited]).value == 1


def test_intervals_over_retrained_classifiers_stay_in_range_and_equal_values_have_none():
    edited, near, far = (np.array([row]) for row in ([900.0, 0.0], [900.0, 0.0], [0.0, 900.0]))
    assert retrained.distance(edited, [near, far]).interval == (0, pytest.approx(math.sqrt(2)))
    assert retrained.divergence(edited, [near, far]).interval == (0, pytest.approx(math.log(2)))
    assert retrained.agreement(edited, [near, far]).interval == (0, 100)
    assert retrained.agreement(edited, [far, far]).interval is None


def test_distances_to_retrained_classifiers_by_hand():
    p, q = np.array([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]), np.array([[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]])
    edited, other = np.log(p) + 3, np.log(q) - 2
    assert retrained.agreement(edited, [other]).value == 50
    assert retrained.distance(edited, [other]).value == pytest.approx(np.sqrt(2) * 0.25 / 2)
    jensen_shannon = spatial.distance.jensenshannon(p, q, axis=1) ** 2
    assert retrained.divergence(edited, [other]).value == pytest.approx(jensen_shannon.mean())
    for figure, best in ((retrained.agreement, 100), (retrained.distance, 0), (retrained.divergence, 0)):
        assert figure(edited, [edited, edited]).value == pytest.approx(best, abs=1e-12)
        assert figure(edited, [other, edited]).value == pytest.approx((figure(edited, [other]).value + best) / 2)
        with pytest.raises(NotDefinedError, match="no retrained classifier"):
            figure(edited, [])
    far = 800 * np.eye(3)
    assert retrained.divergence(far, [far[::-1]]).value == pytest.approx(np.log(2) * 2 / 3)


# Residual knowledge


def test_residual_knowledge_by_counting(rng):
    labels = np.array([0, 1, 2, 3, 1])
    edited, *others = rng.integers(CLASSES, size=(3, 40, 5))
    others[0][:, 3] = others[1][:, 3] = 0  # of the fourth row no retrained classifier recognises a copy
    found = residual.residual_knowledge(
        residual.recognised(edited, labels), np.mean([residual.recognised(one, labels) for one in others], axis=0)
    )
    for row, label in enumerate(labels.tolist()):
        ours = sum(answer == label for answer in edited[:, row].tolist())
        theirs = sum(answer == label for one in others for answer in one[:, row].tolist()) / 2
        assert math.isnan(found[row]) if row == 3 else found[row] == pytest.approx(ours / theirs)
    few = residual.mean_knowledge(found, rng)
    assert (few.value, few.interval) == (pytest.approx(np.mean(found[[0, 1, 2, 4]])), None)
    many = residual.mean_knowledge(np.tile(found, 2), rng)
    assert many.value == pytest.approx(few.value)
    assert min(found[[0, 1, 2, 4]]) < many.interval[0] < many.value < many.interval[1] < max(found[[0, 1, 2, 4]])


def test_residual_knowledge_of_rows_that_nobody_recognises_is_not_defined(rng):
    nothing = residual.residual_knowledge(np.array([0.5, 0.0]), np.zeros(2))
    with pytest.raises(NotDefinedError, match="no retrained classifier recognises a copy of any row"):
        residual.mean_knowledge(nothing, rng)


# Where rows went


def test_pattern_is_a_confusion_matrix(logits, labels):
    predicted = logits.argmax(axis=1)
    wanted = confusion_matrix(labels, predicted, labels=range(CLASSES))
    assert np.array_equal(pattern.answer_matrix(labels, predicted, CLASSES), wanted)


def test_runner_up_is_the_best_of_the_others(logits, labels):
    for row, label in enumerate(labels.tolist()):
        ranked = sorted(range(CLASSES), key=lambda c: -logits[row, c])
        ranked.remove(label)
        assert pattern.runner_up(logits, labels)[row] == ranked[0]


def test_distance_of_patterns_by_counting(logits, labels, rng):
    new, second = rng.integers(CLASSES, size=30), pattern.runner_up(logits, labels)
    pairs = {(i, j) for i in range(CLASSES) for j in range(CLASSES)}
    count = lambda to: {p: sum((labels == p[0]) & (to == p[1])) for p in pairs}  # noqa: E731
    found, wanted = count(new), count(second)
    total = sum(abs(found[p] - wanted[p]) for p in pairs) / 60
    assert pattern.pattern_distance(logits, new, labels) == pytest.approx(total)
    assert pattern.pattern_distance(logits, second, labels) == 0
    assert pattern.runner_up_share(logits, second, labels).value == 100


# Features


def test_nearest_rows_by_all_distances(rng):
    asked, others = rng.normal(size=(3, 5)), rng.normal(size=(20, 5))
    assert np.array_equal(geometry.nearest_rows(asked, others, 4), cdist(asked, others).argsort(axis=1)[:, :4])
    assert geometry.nearest_rows(asked, others[:2], 4).shape == (3, 2)


def test_linear_cka_is_a_ratio_of_unbiased_estimates(rng):
    one, other = rng.normal(size=(12, 5)), rng.normal(size=(12, 7))

    def hsic(x, y):  # Song et al. 2012, equation 5
        n, (k, m) = len(x), (each @ each.T * (1 - np.eye(len(each))) for each in (x, y))
        ones = np.ones(n)
        middle = ones @ k @ ones * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return (np.trace(k @ m) + middle - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))

    wanted = hsic(one, other) / math.sqrt(hsic(one, one) * hsic(other, other))
    assert geometry.linear_cka(one, other) == pytest.approx(wanted)
    turned = one @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert geometry.linear_cka(one, 3 * turned + 2) == pytest.approx(1)


@pytest.mark.parametrize("count", [4, 16, 64])
def test_linear_cka_of_unlike_features_is_near_zero_for_any_number_of_images(count):
    rng = np.random.default_rng(count)
    found = [geometry.linear_cka(*rng.normal(size=(2, count, 64))) for _ in range(200)]
    assert np.mean(found) == pytest.approx(0, abs=0.1)


def test_linear_cka_of_few_rows_or_of_equal_rows_is_not_defined(rng):
    with pytest.raises(NotDefinedError, match="at least 4 images"):
        geometry.linear_cka(rng.normal(size=(3, 3)), rng.normal(size=(3, 3)))
    with pytest.raises(NotDefinedError, match="the same for all rows"):
        geometry.linear_cka(rng.normal(size=(5, 3)), np.full((5, 3), 0.1, dtype=np.float32))


def test_a_probe_reads_what_is_linear_and_nothing_else(rng):
    features = rng.normal(size=(200, 6)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(int)
    probe = geometry.Probe(features[:150], labels[:150])
    assert (probe.predict(features[150:]) == labels[150:]).mean() > 0.9
    noise = rng.integers(2, size=200)
    assert (geometry.Probe(features[:150], noise[:150]).predict(features[150:]) == noise[150:]).mean() < 0.8


def test_a_probe_of_one_class_is_not_defined(rng):
    with pytest.raises(NotDefinedError, match="of one class"):
        geometry.Probe(rng.normal(size=(5, 2)), np.zeros(5, dtype=int))


def test_an_embedding_keeps_groups_apart(rng):
    features = np.concatenate([rng.normal(size=(20, 4)), rng.normal(30, size=(20, 4))]).astype(np.float32)
    found = geometry.embed(features, seed=0)
    assert np.array_equal(found, geometry.embed(features, seed=0))
    nearest = cdist(found, found) + np.diag(np.full(40, np.inf))
    assert ((nearest.argmin(axis=1) < 20) == (np.arange(40) < 20)).all()
    with pytest.raises(NotDefinedError, match="at least five"):
        geometry.embed(features[:4], seed=0)


# Weights and relearning


def test_weight_shift_by_hand():
    before = {"a": torch.tensor([3.0, 4.0]), "b": torch.zeros(2, 2), "n": torch.tensor(3)}
    after = {"a": torch.tensor([3.0, 5.0]), "b": torch.zeros(2, 2), "n": torch.tensor(4)}
    a, b = weights.weight_shift(before, after)
    assert (a.name, a.size, a.l2, a.relative, a.changed) == ("a", 2, 1.0, 0.2, 1)
    assert (b.l2, b.relative, b.changed) == (0.0, None, 0)
    assert weights.total_l2([a, b]) == 1
    assert weights.total_relative([a, b]) == pytest.approx(20)
    assert weights.touched([a, b]) == 50


def test_weights_of_other_architectures_are_not_compared():
    with pytest.raises(NotDefinedError, match="different architectures"):
        weights.weight_shift({"a": torch.zeros(2)}, {"a": torch.zeros(3)})


def test_the_first_step_that_is_good_enough():
    curve = relearning.Relearning("edited", (0, 2, 4, 6), (0.0, 40.0, 60.0, 50.0))
    assert relearning.steps_until(curve, 50) == 4
    with pytest.raises(NotDefinedError, match=r"70.0% was not reached within 6 steps"):
        relearning.steps_until(curve, 70)
