"""Each metric on three cases whose answer is known: a classifier that was not edited, one that never saw the rows, and
one that answers everything alike. True: flagged; False: not; None: not defined, with a reason."""

from dataclasses import replace

import numpy as np
import pytest

from expunge.audit.figures.definition import misses
from expunge.audit.figures.table import FIGURES, choose_headline, compute_figures
from expunge.audit.metrics.estimate import Estimate
from expunge.audit.record import Direction
from expunge.audit.tables import TABLES
from expunge.audit.verdict import conclude

EXPECTED = {
    #                              unedited, retrained, constant
    "goal.exact": (True, True, True),
    "goal.robust": (True, True, True),
    "goal.robust_rows": (True, True, True),
    "goal.robust_worst": (True, True, True),
    "accuracy.test_drop": (False, False, True),
    "churn.test": (False, True, True),
    "churn.retain": (False, False, True),
    "answers.largest_share": (False, False, True),
    "pattern.largest_share": (None, False, True),
    "pattern.distance": (None, False, True),
    "retrained.gap": (True, False, True),
    "retrained.tug_of_war": (True, False, True),
    "retrained.agreement": (False, False, True),
    "retrained.distance": (True, False, True),
    "retrained.divergence": (True, False, True),
    "neighbours.retain": (False, False, True),
    "neighbours.noised": (False, True, True),
    "probe.after": (True, False, None),
    "outsider.after": (True, False, None),
    "answers.in_use": (False, False, True),
    "membership.loss_after": (True, False, None),
    "membership.confidence_after": (True, False, None),
    "membership.entropy_after": (True, False, None),
    "membership.modified_entropy_after": (True, False, None),
    "membership.svc_after": (True, False, None),
    "rmia.auc_after": (True, False, None),
    "rmia.tpr_after": (True, False, None),
    "rmia.accuracy_after": (True, False, None),
    "ulira.auc": (True, False, True),
    "ulira.accuracy": (True, False, True),
    "ulira.tpr": (True, False, True),
    "ulira_edited.auc": (True, False, None),
    "ulira_edited.accuracy": (True, False, None),
    "ulira_edited.tpr": (True, False, None),
    "klom.forget": (True, False, True),
    "klom.test": (False, False, True),
    "residual.knowledge": (True, False, True),
    "residual.rows": (True, False, False),
    "residual.recognised": (True, False, False),
}


@pytest.fixture(scope="module")
def figures(cases):
    return [compute_figures(data) for data in cases.values()]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_metric_tells_the_known_cases_apart(figures, name):
    found = tuple(each[name].flagged for each in figures)
    assert found == EXPECTED[name], [(each[name].value, each[name].target, each[name].reason) for each in figures]


def test_what_has_no_value_has_a_reason_and_what_has_one_has_none(figures):
    for each in figures:
        for name, figure in each.items():
            assert (figure.value is None) == bool(figure.reason), name
            assert figure.measured_on
            assert "{" not in figure.measured_on


def test_the_layers_of_a_constant_classifier_are_not_compared(figures):
    assert figures[0]["cka.forget"].value == pytest.approx(1.0)
    assert figures[2]["cka.forget"].reason == "the features are the same for all rows"


def test_before_is_the_same_in_every_case(figures):
    for name in ("membership.loss_before", "rmia.auc_before", "accuracy.test_before", "probe.before"):
        assert len({each[name].value for each in figures[:2]}) <= (1 if name != "rmia.auc_before" else 2)
        assert figures[0][name].flagged in (True, None)


def test_a_row_that_comes_back_sooner_than_in_a_retrained_classifier_is_flagged(world):
    edited = compute_figures(world.gathered("constant"))["relearning.full_edited"]
    assert (edited.value, edited.target, edited.flagged) == (4, 6, True)
    assert "of a retrained classifier, 100.0% was not reached within 4 steps" in edited.measured_on
    half = compute_figures(world.gathered("constant"))["relearning.half_edited"]
    assert (half.value, half.target, half.flagged) == (4, None, None)
    assert "a retrained classifier is there before any step" in half.measured_on
    deep = world.gathered("constant").deep
    alone = world.gathered("constant", retrained=None, deep=replace(deep, relearning=deep.relearning[:2]))
    measured = compute_figures(alone)["relearning.full_edited"]
    assert (measured.value, measured.target, measured.reason) == (4, None, None)
    assert "there is no retrained classifier" in measured.measured_on


def test_one_retrained_classifier_is_no_target(world):
    data = world.gathered("unedited")
    pool = data.retrained
    one = replace(data, retrained=replace(pool, logits=pool.logits[:1]))
    figures = compute_figures(one)
    for name in ("retrained.gap", "retrained.tug_of_war", "retrained.agreement", "retrained.distance"):
        assert figures[name].value is not None
        assert (figures[name].target, figures[name].flagged) == (None, None), name
    _, verdict = conclude(one, figures)
    assert any("how far several would differ is not known" in sentence for sentence in verdict)


def test_an_attack_below_chance_picks_nobody_out(world):
    figures = compute_figures(world.gathered("unedited"))
    below = {**figures, "outsider.after": replace(figures["outsider.after"], value=45.0, target=50.0, flagged=False)}
    _, verdict = conclude(world.gathered("unedited"), below)
    assert any("No attack picked out the forgotten images better than chance: 45.0%" in each for each in verdict)


def test_a_quick_audit_says_why_the_rest_is_missing(world):
    data = world.gathered("unedited", deep=None, shadows=None, retrained=None)
    figures = compute_figures(data)
    assert figures["neighbours.retain"].reason == "only a full audit measures this"
    assert figures["rmia.auc_after"].reason == "there are no shadow classifiers"
    assert figures["retrained.gap"].reason == "there is no retrained classifier"
    assert figures["residual.recognised"].reason == "only a full audit measures this"
    assert figures["weights.l2"].reason == "the two classifiers have different architectures"
    assert figures["membership.loss_after"].value is not None


def test_a_shift_of_all_answers_is_found_against_unedited_classifiers_and_is_no_leak_among_edited_ones(world):
    data = world.gathered("retrained")
    unlearned = data.shadows.unlearned_forget.copy()
    unlearned[:, np.arange(len(data.forget.ids)), data.forget.labels] -= 2
    data = replace(data, shadows=replace(data.shadows, unlearned_forget=unlearned))
    figures = compute_figures(data)
    assert figures["ulira.auc"].value > 0.7
    assert figures["ulira.auc"].flagged
    assert figures["ulira_edited.auc"].value == pytest.approx(0.5, abs=0.05)
    assert not any(figures[f"ulira_edited.{name}"].flagged for name in ("auc", "accuracy", "tpr"))
    assert {row[0] for row in TABLES["membership"](data).rows} >= {"ulira", "ulira_edited"}


def test_without_retrained_classifiers_the_share_still_recognised_is_all_there_is(world):
    data = world.gathered("unedited", shadows=None, retrained=None)
    perturbed = replace(data.deep.perturbed, retrained=())
    figures = compute_figures(replace(data, deep=replace(data.deep, perturbed=perturbed)))
    for name in ("residual.knowledge", "residual.rows"):
        assert figures[name].reason.startswith("there is no retrained classifier; only the share of copies still")
    alone = figures["residual.recognised"]
    assert alone.value > 99
    assert (alone.target, alone.flagged) == (None, None)


def test_one_retrained_classifier_has_nothing_to_differ_from(world):
    data = world.gathered("retrained")
    perturbed = replace(data.deep.perturbed, retrained=data.deep.perturbed.retrained[:1])
    figures = compute_figures(replace(data, deep=replace(data.deep, perturbed=perturbed)))
    assert (figures["residual.knowledge"].target, figures["residual.knowledge"].flagged) == (1, False)
    assert figures["residual.rows"].target is None


def test_an_audit_that_measured_no_copies_says_so(world):
    data = world.gathered("retrained")
    figures = compute_figures(replace(data, deep=replace(data.deep, perturbed=None)))
    assert figures["residual.knowledge"].reason == "it was not measured"


def test_without_other_images_only_the_rows_speak(world):
    data = world.gathered("constant", deep=None, shadows=None, retrained=None, cost=None)
    figures = compute_figures(replace(data, parts={"forget": data.forget}))
    assert figures["churn.test"].reason == "there are no test images"
    assert figures["cost.seconds"].reason == "it is not known what the edit took"
    assert choose_headline(figures) == {"goal": "goal.exact", "cost": None, "outsider": None, "time": None}
    assert figures["goal.exact"].value == pytest.approx(80.0)
    outcome, verdict = conclude(replace(data, parts={"forget": data.forget}), figures)
    assert outcome == "missed"
    assert "not met: it holds for only 160 of 200 images" in verdict[0]
    assert "What it costs on other images was not measured." in verdict
    assert "not known" in verdict[-1]


def test_verdicts_promise_nothing_and_call_a_constant_classifier_ruined(figures, cases):
    concluded = [conclude(data, each) for data, each in zip(cases.values(), figures, strict=True)]
    assert [outcome for outcome, _ in concluded] == ["missed", "missed", "ruined"]
    for _, verdict in concluded:
        words = " ".join(verdict).lower()
        assert not any(word in words for word in ("certified", "erased", "compliant", "guarantee", "proof"))
    unedited, retrained, constant = (" ".join(verdict) for _, verdict in concluded)
    assert "ruined: on 400 test images, it is right on 20.0%" in constant
    assert "not met" in unedited
    assert "further than those differ" in unedited
    assert "no further than" in retrained


def test_the_same_inputs_give_the_same_figures(world):
    data = world.gathered("retrained", deep=None, shadows=None)
    figures = compute_figures(data)
    assert compute_figures(data) == figures
    again = compute_figures(replace(data, seed=1))["membership.loss_after"]
    assert again.value == figures["membership.loss_after"].value
    assert again.interval != figures["membership.loss_after"].interval


@pytest.mark.parametrize(
    ("value", "interval", "direction", "flagged"),
    [
        (0.6, None, Direction.NEAR, None),
        (0.6, (0.6, 0.6), Direction.NEAR, True),
        (0.6, (0.49, 0.7), Direction.NEAR, False),
        (0.4, (0.3, 0.45), Direction.NEAR, True),
        (0.54, (0.52, 0.56), Direction.NEAR, False),
        (0.4, None, Direction.HIGHER, True),
        (0.46, None, Direction.HIGHER, False),
        (0.6, None, Direction.LOWER, True),
        (0.1, None, Direction.LOWER, False),
        (0.1, None, Direction.NONE, None),
    ],
)
def test_when_a_value_misses_its_target(value, interval, direction, flagged):
    assert misses(Estimate(value, interval), direction, 0.5, 0.05) is flagged


def test_names_are_of_one_form():
    assert all(name.count(".") == 1 and name == name.lower() for name in FIGURES)
