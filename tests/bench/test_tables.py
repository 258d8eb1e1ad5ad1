import csv
import io
from dataclasses import replace

import pytest

from expunge.bench.best import find_best, say_rule
from expunge.bench.plots import choose_style, find_curves, make_plots
from expunge.bench.records import MeanOverSets, Record
from expunge.bench.tables import escape_latex, summarise, to_csv, to_latex, to_markdown


def record(label="a", count=16, seed=0, classifier="", **figures):
    shown = {"goal, %": 100.0, "robust, %": 50.0, "test": 90.0, "test churn, %": 1.0, "seconds": 2.0, **figures}
    result = {"inputs": {"forget_sha256": "f"}, "before": {"test": {"accuracy": 91.7}}, "after": {}}
    return Record((classifier, "", count, 1), label, seed, shown, "goal_reached", result)


def test_the_interval_is_that_of_students_t():
    estimate = MeanOverSets.of([1.0, 2.0, 4.0])
    assert estimate.mean == pytest.approx(7 / 3)
    assert estimate.half == pytest.approx(4.302653 * 1.527525 / 3**0.5, rel=1e-5)
    assert str(estimate) == "2.33 ± 3.79"


def test_two_forget_sets_have_no_interval_but_their_values():
    estimate = MeanOverSets.of([50.0, 100.0])
    assert (str(estimate), estimate.half) == ("75.00 (50.00 to 100.00)", None)
    assert str(MeanOverSets.of([75.0, 75.0])) == "75.00"
    assert str(MeanOverSets.of([0.0, 0.0, 100.0])) == "33.33 (0.00 to 100.00)", "± 143.42 is more than there can be"
    assert str(MeanOverSets.of([1000.0, 1000.0, 2000.0])) == "1,333 ± 1,434"
    rows = [record(seed=seed, test=50.0 + 50.0 * seed) for seed in range(2)]
    assert r"$75.00\ (50.00\ \mathrm{to}\ 100.00)$" in to_latex(summarise(rows), caption="")


def test_one_forget_set_has_no_interval():
    assert str(MeanOverSets.of([12345.6])) == "12,346"


EFFECT = (0.0, 3.0, -2.0, 1.0, -1.0, 2.0)
"""What each forget set adds to every method's figure."""
NOISE = (0.05, -0.05, 0.04, -0.04, 0.02, -0.02)


def rows_of(sets=5, **tests):
    """Return records of methods by name: each figure for `test` is a mean and a factor of the noise of each set."""
    return {
        label: [record(label, seed=seed, test=mean + EFFECT[seed] + noise * NOISE[seed]) for seed in range(sets)]
        for label, (mean, noise) in tests.items()
    }


def test_the_best_are_those_that_a_paired_test_does_not_tell_from_the_best_mean():
    rows = rows_of(a=(90, 0), near=(89.99, 1), worse=(89.5, 1), far=(80, 0))
    assert find_best("test", rows) == {"a", "near"}
    assert find_best("goal, %", rows) == set()
    assert find_best("test", rows_of(a=(90, 0), b=(89.99, 1))) == set(), "nothing is told apart"
    costs = {label: [record(label, seed=seed, seconds=2.0 + (label == "b")) for seed in range(5)] for label in "ab"}
    assert find_best("seconds", costs) == {"a"}


def test_a_wide_spread_of_its_own_makes_no_method_one_of_the_best():
    rows = rows_of(a=(90, 0), wild=(85, 300), far=(80, 0))
    assert find_best("test", rows) == {"a"}


def test_nothing_is_bold_with_fewer_than_five_common_sets():
    assert find_best("test", rows_of(sets=4, a=(90, 0), far=(80, 0))) == set()
    few = rows_of(a=(90, 0), far=(80, 0)) | {"once": [record("once", test=99.0)]}
    assert find_best("test", few) == {"a"}
    shifted = rows_of(a=(90, 0), far=(80, 0))
    shifted["far"] = [replace(each, seed=each.seed + 3) for each in shifted["far"]]
    assert find_best("test", shifted) == set()


def test_who_missed_the_goal_or_lacks_the_figure_does_not_compete():
    rows = rows_of(a=(80, 0), b=(70, 0), lazy=(91, 0), lacking=(91, 0))
    rows["lazy"] = [replace(each, figures={**each.figures, "goal, %": 99.0}) for each in rows["lazy"]]
    rows["lacking"] = [replace(each, figures={**each.figures, "test": float("nan")}) for each in rows["lacking"]]
    assert find_best("test", rows) == {"a"}


def test_a_page_says_what_bold_is_or_why_nothing_is():
    rows = [each for chosen in rows_of(a=(90, 0), far=(80, 0)).values() for each in chosen]
    said = say_rule(rows, any_bold=True, competitors="")
    assert "paired t test over the forget sets of both" in said
    assert "only methods with 5 forget sets or more compete" in said
    assert "takes two methods with 5 forget sets" in say_rule(rows[:-1], any_bold=False, competitors="")
    assert "no method is told from another" in say_rule(rows, any_bold=False, competitors="")
    assert r"\par Nothing is bold\%" in to_latex(summarise(rows), caption="c", note="Nothing is bold%")


def test_tables_show_only_the_keys_that_differ():
    rows = [record(label, seed=seed, test=90 - 5 * (label == "b") + seed) for label in "ab" for seed in range(5)]
    table = summarise(rows)
    assert table.key_names == ("k", "method")
    lines = to_markdown(table)
    assert lines[0].startswith("| k | method | forget sets | goal, % |")
    assert "**92.00 ± 1.96**" in lines[2]
    assert "| 16 | b | 5 |" in lines[3]
    both = summarise([record(classifier="one"), record(classifier="two")])
    assert both.key_names == ("classifier", "k", "method")


def test_latex_is_escaped_and_balanced():
    text = to_latex(summarise([record("50% & more_")]), caption="a_b")
    assert r"50\% \& more\_" in text
    assert r"\caption{a\_b}" in text
    assert text.count("{") == text.count("}")
    assert escape_latex("k_1 #") == r"k\_1 \#"
    widths = {line.count("&") for line in text.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 2  # an escaped ampersand in the row, none in the head


def test_csv_has_every_record_with_its_seed():
    lines = list(csv.DictReader(io.StringIO(to_csv([record(seed=4, test=91.23456), record("b", count=64)]))))
    assert [(line["method"], line["k"], line["seed"], line["test"]) for line in lines] == [
        ("a", "16", "4", "91.2346"),
        ("b", "64", "0", "90.0"),
    ]


def test_curves_run_along_k_and_plots_repeat_byte_by_byte():
    rows = [record(label, count, seed) for label in "ab" for count in (64, 16) for seed in (0, 1)]
    curves = find_curves(rows, along=2)
    assert [(curve.label, curve.positions) for curve in curves] == [("a", (16, 64)), ("b", (16, 64))]
    assert curves[0].estimates("test")[0].n == 2
    plots = make_plots(rows, "title")
    assert set(plots) == {"trade-off", "accuracy"}
    assert plots == make_plots(rows, "title")
    assert set(make_plots(rows[:2], "title")) == {"trade-off"}


def test_what_some_forget_sets_lack_is_left_out_of_the_mean_and_said():
    whole, partial, none = (
        (record("a", seed=seed, test=90.0 + seed, **{"test churn, %": 1.0}) for seed in range(3)),
        [
            record("b", seed=0, test=80.0),
            record("b", seed=1, test=float("nan")),
            record("b", seed=2, test=82.0),
        ],
        [record("c", seed=seed, test=float("nan")) for seed in range(3)],
    )
    rows = [*whole, *partial, *none]
    lines = to_markdown(summarise(rows))
    assert "| 81.00 (80.00 to 82.00) (of 2) |" in lines[3]
    assert "| - |" in lines[4]
    assert r"(\mathrm{of}\ 2)" in to_latex(summarise(rows), caption="")
    assert [line["test"] for line in csv.DictReader(io.StringIO(to_csv(partial)))] == ["80.0", "", "82.0"]
    assert make_plots(rows, "title") == {}


def test_no_two_of_many_methods_look_the_same_and_all_are_named():
    rows = [record(f"method {number}", count) for number in range(20) for count in (16, 64)]
    looks = {
        tuple(choose_style(curve)[name] for name in ("color", "marker", "fillstyle"))
        for curve in find_curves(rows, along=2)
    }
    assert len(looks) == 20
    for plot in make_plots(rows, "title").values():
        assert all(f"<!-- method {number} -->" in plot for number in range(20))
