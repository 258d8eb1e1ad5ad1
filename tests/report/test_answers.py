import re
from dataclasses import replace

import pytest
from sample_audit import OUTCOMES, figure, write_sample_audit

from expunge.audit.audit_json import read_audit
from expunge.audit.record import Direction
from expunge.report import write_report
from expunge.report.answers import Mark, first_screen, say_date
from expunge.report.telling import WORDS
from expunge.task.outcome import Outcome

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
        ("outsider.after", 90.0, "percent", "outsider", Mark.PARTLY),
    ],
)
def test_one_bad_figure_colours_its_answer_and_the_whole(screen, name, value, unit, question, mark):
    target = {"goal.robust": 100.0, "churn.test": 0.0, "accuracy.test_after": None}.get(name, 50.0)
    found = screen(changed={name: figure(name, value, unit, Direction.NEAR, target)})
    assert answer_to(found, question).mark is mark
    assert found.mark is mark
    assert found.state != "Done"


@pytest.mark.parametrize(
    ("share", "said", "told", "title"),
    [
        (25.0, "For 9 of 12 pictures", "Only in part: of 9 of 12 pictures", "9 of 12 pictures are forgotten"),
        (100.0, "There was nothing to do", "No: nothing was changed.", "The pictures have the answers that they had"),
    ],
)
def test_pictures_that_were_answered_otherwise_before_are_not_called_forgotten(screen, share, said, told, title):
    found = screen(changed={"goal.unchanged": figure("", share, "percent")})
    answer = answer_to(found, "Was it done?")
    assert (answer.said, answer.mark) == (said, Mark.PARTLY)
    assert f"The answer to {round(12 * share / 100)} of 12 pictures is what it was before" in answer.more
    assert found.told[0].startswith(told)
    assert found.told_mark is found.mark is Mark.PARTLY
    assert found.title.startswith(title)


SAME = "the classifier gives every image the same answer"


UNTRIED = {"outsider.after": figure("", None, "percent", reason=SAME)}


def test_why_an_outsider_was_not_tried_is_what_the_audit_says(screen):
    answer = answer_to(screen(changed=UNTRIED), "outsider")
    assert (answer.said, answer.more, answer.mark) == ("Not measured", f"T{SAME[1:]}.", Mark.OPEN)


def test_of_so_few_pictures_that_luck_finds_them_nothing_is_said_to_be_hidden(screen):
    few = {"outsider.after": figure("", 68.0, "percent", Direction.LOWER, 66.0)}
    found = screen(changed=few, sizes={"forget": 4, "test": 100})
    answer = answer_to(found, "outsider")
    assert answer.said == "In 68.0 of 100 tries; by chance it would be 66.0"
    assert answer.more.endswith("Among fewer than 5 pictures luck may do so well that this can't be told.")
    assert answer.mark is Mark.OPEN
    assert found.mark is found.told_mark is Mark.PARTLY


def test_without_unseen_pictures_an_outsider_was_not_tried(screen):
    none = {f"accuracy.test_{when}": figure("", None, "percent", reason="no images") for when in ("before", "after")}
    answer = answer_to(screen(changed=UNTRIED | none, sizes={"forget": 12, "retain": 100}), "outsider")
    assert answer.more == "There were no unseen pictures to compare with."


@pytest.mark.parametrize(
    ("more", "said", "mark"),
    [
        ({}, "In 53.0 of 100 tries; by chance it would be 50.0", Mark.GOOD),
        (UNTRIED, "Not measured for one who has only the new version", Mark.PARTLY),
    ],
)
def test_who_has_both_versions_is_an_outsider_too(screen, more, said, mark):
    named = {"patch.named": figure("", 66.7, "percent", target=1.9)}
    answer = answer_to(screen(changed=named | more), "outsider")
    assert (answer.said, answer.mark) == (said, mark)
    assert answer.more.endswith(" Somebody who has the old version, too, can name 8 of the 12.")


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


def test_a_forgotten_class_has_its_name_and_its_unseen_pictures(screen):
    unseen = {"accuracy.class_after": figure("", 30.0, "percent", Direction.LOWER, 0.0)}
    found = screen("good", unseen, forgotten_class="{cat}")
    assert "never answer “{cat}” again" in dict(found.facts)["What was asked?"]
    assert (
        "Of 100 pictures of the class that it had never seen, 30.0 still get its name." in answer_to(found, "done").more
    )
    assert found.mark is Mark.PARTLY
    assert found.title == "The 12 pictures are forgotten, but the class is still named"
    assert found.told_mark is Mark.PARTLY
    assert "other pictures of the class are still answered with it" in found.told[1]


@pytest.mark.parametrize(
    ("name", "title", "meaning"),
    [
        (
            "outsider.after",
            "The 12 pictures are forgotten",
            "whether an outsider can find out that they were used is not",
        ),
        (
            "goal.robust",
            "The 12 pictures are forgotten; changed copies were not measured",
            "the very pictures get other answers now; whether slightly changed copies do was not measured",
        ),
    ],
)
def test_measuring_less_makes_nothing_greener(screen, name, title, meaning):
    found = screen(changed={name: figure("", None, "percent", reason="not asked for")})
    assert (found.title, found.mark, found.told_mark) == (title, Mark.PARTLY, Mark.PARTLY)
    assert found.told[0].startswith("Only in part")
    assert meaning in found.told[1]


def test_who_has_both_versions_is_told_of(screen):
    found = screen(changed={"patch.named": figure("", 66.7, "percent", target=1.9)})
    assert found.told_mark is Mark.PARTLY
    assert "somebody who has the old version, too, can tell which they are" in found.told[1]


@pytest.mark.parametrize(
    ("share", "but"),
    [(0.0, "but no changed copy is"), (17.5, "but most changed copies are not"), (60.0, "but not every changed copy")],
)
def test_the_title_says_how_many_copies_come_back(screen, share, but):
    found = screen(changed={"goal.robust": figure("", share, "percent", Direction.HIGHER, 100.0)})
    assert found.title == f"The 12 pictures are forgotten, {but}"


def test_copies_of_few_kinds_are_called_so(tmp_path):
    folder = write_sample_audit(tmp_path / "audit")
    (folder / "copies.csv").write_text("kind,held\nnoised,1.0\nnoised+my.module:tilted,1.0\n")
    answer = answer_to(first_screen(read_audit(folder)), "changed copies")
    assert answer.more.startswith("Copies were only made a little noisy and changed by my.module:tilted.")
    assert answer.mark is Mark.PARTLY


@pytest.mark.parametrize(("before", "said"), [(3.75, "it was so for 3.8 of 100."), (None, "Some may have had another")])
def test_it_is_said_of_how_many_copies_it_was_so_before(screen, before, said):
    changed = {"goal.robust_before": figure("", before, "percent", target=None, reason="" if before else "none")}
    assert said in answer_to(screen(changed=changed), "changed copies").more


def test_as_uncertain_as_unseen_is_not_called_another_answer(screen):
    told = screen(goal="unseen").told
    assert "no more certain of the pictures than it is estimated to be of ones that it never saw" in told[0]
    assert "no longer answers" not in " ".join(told)


def test_where_nothing_was_changed_nothing_is_to_be_put_in_place(screen):
    found = screen(changed={"goal.unchanged": figure("", 100.0, "percent")}, sizes={"forget": 1, "test": 100})
    assert found.title == "The picture has the answer that it had before"
    assert found.told[1] == "So nothing is different for the pictures."
    assert found.remains.startswith("Nothing was changed.")


def test_the_title_says_it_where_copies_come_back(screen):
    found = screen(changed={"goal.robust": figure("", 60.0, "percent", Direction.HIGHER, 100.0)})
    assert found.title == "The 12 pictures are forgotten, but not every changed copy"
    assert "hidden rather than forgotten" in found.told[1]


def test_a_robust_edit_whose_copies_come_back_is_not_done(tmp_path):
    audit = read_audit(write_sample_audit(tmp_path / "audit", outcome="good"))
    found = first_screen(replace(audit, outcome=Outcome.MISSED))
    assert found.state == "Not done"
    assert answer_to(found, "done").said.startswith("Not as asked: all 12 pictures have another answer")
    assert found.told[0] == "No: changed copies of the pictures still get the answer that was to be forgotten."


@pytest.mark.parametrize(("outcome", "said"), [("good", "Not measured"), ("ruined", "Nearly everything")])
def test_the_cost_on_made_up_pictures_where_there_are_no_others(screen, outcome, said):
    changed = {"accuracy.test_before": figure("", None, "percent", reason="none")}
    changed["churn.expected"] = figure("", 81.25, "percent", target=None)
    cost = answer_to(screen(outcome, changed), "cost")
    assert cost.said == said
    assert "Of 100 answers to made-up pictures, 81.2 changed." in cost.more


def test_times():
    assert say_date("2026-12-31T23:30:00-02:00") == "1 January 2027, 01:30 UTC"
    assert say_date("soon") == "soon"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_page_of_corrected_mistakes_speaks_of_no_forgetting(tmp_path, outcome):
    folder = write_sample_audit(tmp_path / "audit", outcome=outcome, goal="correct", settings={})
    page = write_report(folder).read_text("utf-8").partition("<body>")[2].partition('id="limits"')[0]
    own = {figure.title for figure in read_audit(folder).figures.values()}
    for title in own:
        page = page.replace(title, "")
    text = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert re.findall(r".{30}forgott?e?n?.{20}", text) == []
    assert "corrected images" in text
