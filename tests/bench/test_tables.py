import csv
import io

import pytest

from expunge.bench.plots import choose_style, find_curves, make_plots
from expunge.bench.records import MeanOverSets, Record
from expunge.bench.tables import escape_latex, find_best, summarise, to_csv, to_latex, to_markdown


def record(label="a", count=16, seed=0, classifier="", **figures):
    shown = {"goal, %": 100.0, "robust, %": 50.0, "test": 90.0, "test churn, %": 1.0, "seconds": 2.0, **figures}
    result = {"inputs": {"forget_sha256": "f"}, "before": {"test": {"accuracy": 91.7}}, "after": {}}
    return Record((classifier, "", count, 1), label, seed, shown, "goal_reached", result)


def test_the_interval_is_that_of_students_t():
    estimate = MeanOverSets.of([1.0, 2.0, 4.0])
    assert estimate.mean == pytest.approx(7 / 3)
    assert estimate.half == pytest.approx(4.302653 * 1.527525 / 3**0.5, rel=1e-5)
    assert str(estimate) == "2.33 ± 3.79"


def test_one_forget_set_has_no_interval():
    assert str(MeanOverSets.of([12345.6])) == "12,346"


def test_the_best_is_told_only_beyond_the_error_and_in_the_right_direction():
    def estimates(**tests):
        return {
            name: {"goal, %": MeanOverSets(100, 0, 3), "test": test, "seconds": test} for name, test in tests.items()
        }

    clear = estimates(a=MeanOverSets(90, 0.5, 3), b=MeanOverSets(88, 0.5, 3), c=MeanOverSets(89.5, 0.2, 3))
    assert find_best("test", clear) == {"a", "c"}
    assert find_best("seconds", clear) == {"b"}
    assert find_best("goal, %", clear) == set()
    assert find_best("test", estimates(a=MeanOverSets(90, 1, 3), b=MeanOverSets(89, 1, 3))) == set()


def test_who_missed_the_goal_or_ran_once_does_not_compete():
    goals = {
        "a": MeanOverSets(100, 0, 3),
        "lazy": MeanOverSets(50, 9, 3),
        "b": MeanOverSets(100, 0, 3),
        "once": MeanOverSets(100, None, 1),
    }
    tests = {
        "a": MeanOverSets(80, 1, 3),
        "lazy": MeanOverSets(91, 0, 3),
        "b": MeanOverSets(70, 1, 3),
        "once": MeanOverSets(91, None, 1),
    }
    assert find_best("test", {name: {"goal, %": goals[name], "test": tests[name]} for name in goals}) == {"a"}


def test_tables_show_only_the_keys_that_differ():
    rows = [record(label, seed=seed, test=90 - 5 * (label == "b") + seed) for label in "ab" for seed in range(3)]
    table = summarise(rows)
    assert table.key_names == ("k", "method")
    lines = to_markdown(table)
    assert lines[0].startswith("| k | method | forget sets | goal, % |")
    assert "**91.00 ± 2.48**" in lines[2]
    assert "| 16 | b | 3 |" in lines[3]
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
    assert "| 81.00 ± 12.71 (of 2) |" in lines[3]
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
