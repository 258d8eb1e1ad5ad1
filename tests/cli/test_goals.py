"""What every surface says of each goal, of right and of wrong outcomes; what is said of one goal fits no other."""

import csv
import html
import io
import json
import re
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_job import write_job

from expunge.audit.audit_json import read_audit
from expunge.cli import main

GOALS = ("misclassify", "relabel", "correct", "class")
FORGETTING = re.compile(r"forg[eo]t|hidden|unlearned", re.IGNORECASE)
WRONG = {
    "misclassify": re.compile(r"corrected|relabelled|new label|true label", re.IGNORECASE),
    "class": re.compile(r"corrected|relabelled|new label|true label", re.IGNORECASE),
    "relabel": re.compile(r"corrected|true label|hidden|unlearned|forgotten", re.IGNORECASE),
    "correct": FORGETTING,
}
MET = {
    "misclassify": "every forgotten image is answered with another label than its own",
    "relabel": "every relabelled image is answered with its new label",
    "correct": "every corrected image is answered with its true label",
    "class": "no training image of the class green is answered with it any more",
}
LINE = {"misclassify": "forget", "relabel": "relabel", "correct": "correct", "class": "forget class green"}
SHARES = {"misclassify": (100, 0), "relabel": (0, 100), "correct": (0, 100), "class": (100, 0)}
CHOICE = {
    "misclassify": ["--forget-indices", "4,9"],
    "relabel": ["--forget", "rows.csv"],
    "correct": ["--goal", "correct", "--forget-indices", "4,9"],
    "class": ["--forget-class", "green"],
}


NONE = ["--test-rows", 0, "--retain-rows", 0]


@pytest.fixture(scope="module", params=GOALS)
def goal(request):
    """Return the goal that is looked at."""
    return request.param


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return a folder with a small job, names of its classes, two mistakes in its data, and a table of new labels."""
    folder = tmp_path_factory.mktemp("goals")
    write_job(folder)
    arrays = dict(np.load(folder / "images.npz"))
    wrong = arrays["y_train"].copy()
    wrong[[4, 9]] = (wrong[[4, 9]] + 1) % 3
    names = {"classes": ["red", "green", "blue"]}
    np.savez(folder / "images.npz", **arrays, **names)
    np.savez(folder / "mistakes.npz", **{**arrays, "y_train": wrong}, **names)
    rows = [f"{row},{(arrays['y_train'][row] + 1) % 3}" for row in (4, 9)]
    (folder / "rows.csv").write_text("\n".join(["id,new_label", *rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delitem(sys.modules, "tiny_networks", raising=False)
        yield SimpleNamespace(folder=folder, labels=arrays["y_train"], mistaken=wrong)


def call(*arguments):
    """Run the command line and return exit code and all that was said."""
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as said:
        patch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as stopped:
            main()
        return SimpleNamespace(code=stopped.value.code, out=said.getvalue())


def edit(world, goal, out, *extra):
    """Run the goal's edit and return what the command said and wrote."""
    flags = ["run", "--model", "tiny_networks:build", "--weights", "weights.safetensors", "--mean", "0.5"]
    flags += ["--std", "0.25", "--device", "cpu", "--audit", "quick", "--out", out, *CHOICE[goal], *extra]
    flags += ["--data", "npz:mistakes.npz" if goal == "correct" else "npz:images.npz", "--method", "relabel-only"]
    done, folder = call(*flags), world.folder / out
    result = json.loads((folder / "result.json").read_text())
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    card = (folder / "README.md").read_text().split("# An edited image classifier")[1]
    return SimpleNamespace(done=done, result=result, rows=rows, audit=read_audit(folder / "audit"), card=card)


@pytest.fixture(scope="module")
def right(world, goal):
    """Return an edit that reached its goal."""
    return edit(world, goal, f"{goal}-right", "--set", "descent.learning_rate=0.01", "--set", "descent.passes=500")


@pytest.fixture(scope="module")
def wrong(world, goal):
    """Return an edit that was ended before it could change anything."""
    return edit(world, goal, f"{goal}-wrong", "--set", "descent.learning_rate=1e-9", "--max-steps", 1)


def check_words(goal, text):
    """Check that a text says nothing of another goal."""
    found = WRONG[goal].search(text)
    assert found is None, f"{goal}: {found.group()} in {text[max(0, found.start() - 60) : found.end() + 60]!r}"


def page_text(path):
    """Return what a page says, but for names of settings and what is said of any edit: what audits do not show."""
    shown = re.sub(r"<(style|script|pre)[^>]*>.*?</\1>", "", path.read_text("utf-8"), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", shown)).split("do not show")[0]


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("correct", "forget │ 5 │ 100.0 │ 0.0"),
        ("correct", "so the images are hidden rather than forgotten"),
        ("relabel", "every forgotten image is answered with another label"),
        ("misclassify", "every corrected image is answered with its true label"),
    ],
)
def test_wording_of_another_goal_is_found(goal, said):
    with pytest.raises(AssertionError):
        check_words(goal, said)


def test_a_right_outcome_is_called_so_on_every_surface(right, goal):
    got = right
    before, after = SHARES[goal]
    assert got.done.code in (0, 5), got.done.out
    # the terminal
    assert MET[goal] in got.done.out
    assert re.search(rf"{LINE[goal]}\t.*\t{before}\.0\t{after}\.0\t", got.done.out)
    check_words(goal, got.done.out)
    # JSON
    assert got.result["verdict"][0] == f"The goal was met: {MET[goal]}."
    assert got.result["goal"] == ("misclassify" if goal == "class" else goal)
    assert (got.result["before"]["forget"]["accuracy"], got.result["after"]["forget"]["accuracy"]) == (before, after)
    # the audit, its figures and verdict
    shares = [got.audit.figures[f"accuracy.forget_{when}"] for when in ("before", "after")]
    assert [figure.value for figure in shares] == [before, after]
    assert all(figure.interval is None for figure in (*shares, got.audit.figures["goal.exact"])), "all were asked"
    assert MET[goal] in got.audit.verdict[0]
    check_words(goal, " ".join([*got.audit.verdict, *(figure.title for figure in got.audit.figures.values())]))
    # the page
    page = page_text(got.audit.folder / "report.html")
    assert page.count(MET[goal]) >= 1
    check_words(goal, page)
    # the model card
    assert MET[goal] in got.card
    check_words(goal, got.card)


def test_a_wrong_outcome_is_called_so_on_every_surface(wrong, goal):
    got = wrong
    assert got.done.code == 3, got.done.out
    assert got.result["outcome"] == got.audit.outcome == "missed"
    for surface in (got.done.out, got.result["verdict"][0], got.audit.verdict[0], got.card):
        assert "The goal was not met: it holds for" in surface
        assert MET[goal] not in surface
        check_words(goal, surface)
    assert {row["goal_met"] for row in got.rows} == {"no"}
    page = page_text(got.audit.folder / "report.html")
    assert "Not done" in page
    assert MET[goal] not in page
    check_words(goal, page)


def test_tables_have_the_label_in_the_data_and_what_was_wanted(right, goal, world):
    got = right
    labels = world.mistaken if goal == "correct" else world.labels
    for table in (got.rows, got.audit.table("rows")):
        assert [int(row["label"]) for row in table] == [labels[int(row["id"])] for row in table]
        assert all(row["goal_met"] == "yes" for row in table)
        given = [row["new_label"] for row in table]
        if goal == "relabel":
            assert given == [row["predicted_after"] for row in table]
        else:
            assert set(given) == {""}
        if goal == "correct":
            assert [row["predicted_after"] for row in table] == [row["label"] for row in table]
    assert {row["goal"] for row in got.rows} == {got.result["goal"]}


def test_the_test_images_of_a_forgotten_class_are_its_own_part(right, goal):
    got = right
    if goal != "class":
        assert "class" not in got.result["before"]
        assert "accuracy.class_after" not in got.audit.figures
        return
    assert got.result["forgotten_class"] == got.audit.subject.forgotten_class == "green"
    assert (got.result["before"]["class"]["n"], got.result["before"]["test"]["n"]) == (10, 20)
    assert {"test: green", "test: others"} <= {line.split("\t")[0] for line in got.done.out.splitlines()}
    figure = got.audit.figures["accuracy.class_after"]
    assert (figure.target, figure.direction) == (0, "lower")
    assert figure.value == got.result["after"]["class"]["accuracy"]
    assert got.audit.figures["accuracy.test_drop"].measured_on == "20 test images of the other classes"
    assert "test images of the class green" in got.audit.figures["membership.loss_after"].measured_on
    written = tomllib.loads((got.audit.folder.parent / "job.toml").read_text())
    assert written["forget"] == {"class_name": "green"}


def test_the_comparison_says_how_often_an_outsider_picks_them_out(right, wrong, goal):
    done = call("compare", f"{goal}-right", f"{goal}-wrong", "-o", "compare.html")
    assert done.code == 0, done.out
    text = page_text(Path("compare.html"))
    for got in (right, wrong):
        figure = got.audit.figures["outsider.after"]
        assert figure.value >= 50
        assert figure.target > 50
        assert "by chance" in figure.measured_on
        assert figure.title in text
        check_words(goal, figure.title + figure.measured_on)
    check_words(goal, text)


def test_a_ruined_classifier_has_an_exit_code_of_its_own_whatever_was_measured(expunge, job):
    flags = [*job.plain]
    flags[flags.index("l2ul")] = "negative-gradient"
    hard = ["--set", "descent.learning_rate=1", "--set", "descent.passes=3", "--forget-random", 12, "--max-steps", 9]
    for measured, where in (([], "test images"), (NONE, "surrogates")):
        done = expunge(*flags, *hard, *measured, "--out", "ruined", "--overwrite")
        result = json.loads((job.folder / "ruined/result.json").read_text())
        assert done.code == 5, (where, result["health"])
        assert result["outcome"] == "ruined"
        assert result["health"]["largest_share"]["after"] > 60
        assert re.search(rf"The classifier is ruined: on \d+ {where}", done.out), done.out


def test_what_the_library_chose_is_in_job_and_result(expunge, job):
    flags = [*job.plain]
    flags[flags.index("l2ul")] = "least-change"
    small = ["surrogates.mixes=40", "surrogates.procedural=20", "robust.steps=2", "exact.steps=2"]
    sets = [part for name in small for part in ("--set", name)]
    done = expunge(*flags, *sets, "--forget-random", 2, "--reference", "file 7", "--out", "out")
    assert done.code in (0, 3, 5), done.err
    result = json.loads((job.folder / "out/result.json").read_text())
    written = tomllib.loads((job.folder / "out/job.toml").read_text())
    assert result["chosen"]["shape"] == [3, 6, 5]
    assert (result["chosen"]["mean"], result["chosen"]["std"]) == ([0.5], [0.25])
    assert written["model"]["mean"] == [0.5]
    for settings in (result["settings"], written["settings"]):
        assert settings["surrogates"]["inverted"] == 0
        assert settings["robust"]["copies"] == 96
        assert settings["exact"]["surrogate_batch"] == 160
    assert result["reference"] == written["reference"] == "file 7"
    assert result["finished"]
