import re

import pytest
from sample_audit import OUTCOMES, figure, write_sample_audit

from expunge.audit.record import Direction, read_audit
from expunge.report.answers import Mark, first_screen, is_ruined, say_time, strongest_attack
from expunge.report.telling import WORDS

GOALS = {
    "misclassify": ("are forgotten", "give each another answer than the one it had learned"),
    "relabel": ("are relabelled", "give each the new answer that was asked for"),
    "correct": ("are put right", "give each its right answer"),
}


@pytest.fixture
def screen(tmp_path):
    """Return a function from outcome, changed figures and subject to the first screen."""

    def make(outcome="good", changed=(), **subject):
        audit = read_audit(write_sample_audit(tmp_path / "audit", outcome=outcome, **subject))
        audit.figures.update(changed)
        return first_screen(audit)

    return make


def answer_to(screen, words):
    (answer,) = [answer for answer in screen.answers if words in answer.question]
    return answer


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_answer_is_greener_than_its_figures(screen, outcome):
    found = screen(outcome)
    assert found.mark is (Mark.GOOD if outcome == "good" else Mark.BAD)
    assert (found.mark is Mark.GOOD) == all(answer.mark is Mark.GOOD for answer in found.answers)
    assert found.told_mark is found.mark


@pytest.mark.parametrize(
    ("name", "value", "unit", "question", "mark"),
    [
        ("goal.robust", 60.0, "percent", "changed copies", Mark.PARTLY),
        ("churn.test", 6.0, "percent", "cost", Mark.PARTLY),
        ("accuracy.test_after", 89.0, "percent", "cost", Mark.PARTLY),
        ("accuracy.test_after", 80.0, "percent", "cost", Mark.BAD),
        ("membership.loss_after", 0.1, "AUC", "outsider", Mark.PARTLY),
        ("rmia.auc_after", 0.9, "AUC", "outsider", Mark.PARTLY),
    ],
)
def test_one_bad_figure_colours_its_answer_and_the_whole(screen, name, value, unit, question, mark):
    target = {"goal.robust": 100.0, "churn.test": 0.0, "accuracy.test_after": None}.get(name, 0.5)
    found = screen(changed={name: figure(name, value, unit, Direction.NEAR, target)})
    assert answer_to(found, question).mark is mark
    assert found.mark is mark
    assert found.state != "Done"


def test_what_was_not_measured_is_no_success(screen):
    none = {
        f"accuracy.{part}_{when}": figure("", None, "percent", reason="no images")
        for part in ("test", "retain")
        for when in ("before", "after")
    }
    found = screen(changed=none)
    assert answer_to(found, "cost").said == "Not measured"
    assert answer_to(found, "cost").mark is Mark.OPEN
    assert found.state == "Done, with reservations"
    assert found.mark is Mark.PARTLY


def test_the_cost_on_other_training_images_where_there_are_no_test_images(screen):
    changed = {name: figure("", None, "percent", reason="no images") for name in ("accuracy.test_before", "churn.test")}
    changed |= {f"accuracy.retain_{when}": figure("", 99.0, "percent", target=None) for when in ("before", "after")}
    cost = answer_to(screen(changed=changed), "cost")
    assert cost.said == "From 99.0 to 99.0 of 100 pictures right"
    assert "Measured on 100 other pictures that it was trained on" in cost.more


@pytest.mark.parametrize("goal", GOALS)
def test_each_goal_has_its_words(screen, goal):
    found = screen(goal=goal)
    title, asked = GOALS[goal]
    assert found.title.endswith(title)
    assert asked in dict(found.facts)["What was asked?"]
    assert WORDS[goal].state in answer_to(found, "done").said
    if goal == "correct":
        assert "forg" not in " ".join([found.title, found.remains, *found.told, *map(str, found.facts)])
        assert found.told[0].startswith("No, since nothing was to be deleted")


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("robust", [10.0, 100.0])
def test_four_sentences_whatever_happened(screen, goal, outcome, robust):
    copies = {"goal.robust": figure("", robust, "percent", Direction.HIGHER, 100.0)}
    told = screen(outcome, copies, goal=goal).told
    assert len(told) == 4
    assert all(re.fullmatch(r"[A-Z][^.]*\.", sentence) for sentence in told)


@pytest.mark.parametrize(("count", "title"), [(1, "The picture is forgotten"), (12, "The 12 pictures are forgotten")])
def test_one_picture_is_no_plural(screen, count, title):
    assert screen(count=count).title == title


def test_an_attack_that_is_always_wrong_tells_all():
    figures = {
        "membership.loss_before": figure("", 1.0, "AUC"),
        "membership.loss_after": figure("", 0.001, "AUC"),
        "rmia.auc_after": figure("", 0.8, "AUC"),
        "ulira.auc": figure("", None, "AUC", reason="none"),
    }
    found, share = strongest_attack(figures)
    assert found.value == 0.001
    assert share == pytest.approx(99.9)
    assert strongest_attack({}) is None


@pytest.mark.parametrize(
    ("after", "largest", "ruined"), [(50.0, 27.0, False), (44.0, 27.0, True), (60.0, 99.0, True), (60.0, 45.0, False)]
)
def test_a_ruined_classifier(after, largest, ruined):
    figures = {
        "accuracy.test_before": figure("", 90.0, "percent", target=None),
        "accuracy.test_after": figure("", after, "percent", target=None),
        "answers.largest_share": figure("", largest, "percent", target=27.0),
    }
    assert is_ruined(figures) is ruined


def test_times():
    assert say_time("2026-12-31T23:30:00-02:00") == "1 January 2027, 01:30 UTC"
    assert say_time("soon") == "soon"
