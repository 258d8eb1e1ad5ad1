import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.audit.figures.table import FIGURES
from expunge.audit.record import Direction, Figure
from expunge.report.topics import topic_of
from expunge.report.words import (
    say_figure,
    say_interval,
    say_status,
    say_target,
    say_unit,
    say_value,
    shorten,
    slug,
    visible,
)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0, "percent", "0%"),
        (0.04, "percent", "under 0.1%"),
        (-1.26, "points", "-1.3 points"),
        (0.0, "points", "0 points"),
        (0.4996, "AUC", "0.500"),
        (0.25, "share", "0.250"),
        (0.1234, "nats", "0.123 nats"),
        (59.94, "seconds", "59.9 s"),
        (59.97, "seconds", "1 min 0 s"),
        (61.0, "seconds", "1 min 1 s"),
        (7322.0, "seconds", "2 h 2 min"),
        (999.0, "bytes", "999 bytes"),
        (1_500_000_000.0, "bytes", "1.5 GB"),
        (5e12, "bytes", "5e+03 GB"),
        (1.0, "steps", "1 step"),
        (1234.0, "rows", "1,234 rows"),
        (0.01234, "L2", "0.0123"),
        (123456.0, "", "123,456"),
    ],
)
def test_values_with_units(value, unit, said):
    assert say_value(value, unit) == said


def make(value, target, direction, **more):
    return Figure("churn", value, "percent", direction, target, "test", **more)


def test_figures_in_words():
    figure = make(1.4, 0.0, Direction.LOWER, flagged=False, interval=(0.6, 2.7))
    assert say_figure(figure) == "1.4%"
    assert say_interval(figure) == "95% interval 0.6% to 2.7%"
    assert say_target(figure) == "target 0%, lower is better"
    assert say_status(figure) == "meets its target"
    assert say_status(make(9.0, 0.0, Direction.LOWER, flagged=True)) == "misses its target"


def test_figures_without_value_or_target():
    assert say_figure(make(None, 0.0, Direction.LOWER, reason="one row")) == "not defined"
    assert say_status(make(None, 0.0, Direction.LOWER, reason="one row")) == "not defined"
    assert say_target(make(3.0, None, Direction.NONE)) == "describes only"
    assert say_status(make(3.0, None, Direction.NONE)) == "no target"
    assert say_interval(make(3.0, None, Direction.NONE)) == ""


@given(st.text())
def test_visible_text_holds_no_unseen_character_and_keeps_the_others(text):
    shown = visible(text)
    assert shown.isprintable() or any(char.isspace() or not char.isprintable() for char in text)
    assert not any(ord(char) < 32 or char in "\u200b\u202e\u2066\ufeff" for char in shown)
    if text.isprintable():
        assert shown == text


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"])), st.integers(5, 40))
def test_shortened_text_fits_and_keeps_both_ends(text, longest):
    short = shorten(text, longest)
    assert len(short) <= longest
    assert short == text if len(text) <= longest else (short[0], short[-1]) == (text[0], text[-1])


def test_units_that_need_a_word():
    assert "guess" in say_unit(Figure("loss", 0.4, "AUC", Direction.NEAR, 0.5, "test"))
    assert say_unit(make(3.0, None, Direction.NONE)) == ""


def test_slug():
    assert slug("What changed inside?") == "what-changed-inside"


def test_a_topic_that_nobody_knows_is_named_as_it_is():
    assert topic_of("novelty.score").question == "novelty"
    assert topic_of("goal.exact").question == "Were the images forgotten?"


def test_every_group_of_figures_has_a_question_of_its_own():
    questions = {name: topic_of(name).question for name in FIGURES}
    assert [name for name, question in questions.items() if "?" not in question] == []
