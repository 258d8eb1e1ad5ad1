import csv
import tomllib

import numpy as np
import pytest

from expunge.base.errors import SettingsError
from expunge.base.settings import describe_settings
from expunge.jobs import tune
from expunge.jobs.search import Search, SearchRange, find_ranges
from expunge.methods import METHODS
from expunge.methods.descent import Descent
from expunge.methods.protocol import revision_of

RANGE = SearchRange("rate", 1e-4, 1.0)


@pytest.fixture
def flags(job):
    """Return the flags of a small search, in the folder of the job."""
    kept = [flag for flag in job.plain[1:] if flag not in ("--method", "l2ul")]
    small = ["--forget-rows", 3, "--retain-rows", 20, "--test-rows", 20, "--set", "descent.passes=20"]
    return ["tune", "negative-gradient", *kept, *small]


def read_trials(folder):
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


def without_time(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_the_recipe_says_what_was_reached_and_runs(expunge, job, flags):
    done = expunge(*flags, "--trials", 4, "--out", "tuned")
    assert done.code == 0, done.err
    rows = read_trials(job.folder / "tuned")
    assert len(rows) == 4
    assert float(rows[0]["descent.learning_rate"]) == pytest.approx(1e-3)
    text = (job.folder / "tuned/recipe.toml").read_text()
    recipe = tomllib.loads(text)
    best = min(rows, key=lambda row: float(row["score"]))
    assert recipe["settings"]["descent"]["learning_rate"] == pytest.approx(float(best["descent.learning_rate"]))
    assert recipe["settings"]["descent"]["passes"] == 20
    assert "# Command:   expunge tune negative-gradient" in text
    assert f"# Reached:   score {float(best['score']):.2f}" in text
    assert f"# At first:  score {float(rows[0]['score']):.2f}" in text
    assert float(best["score"]) <= float(rows[0]["score"])
    source = flags[2 : flags.index("--forget-rows")]
    again = expunge("run", "--config", "tuned/recipe.toml", *source, "--forget-random", 2, "--out", "edited")
    assert again.reached or again.code == 3, again.err
    written = tomllib.loads((job.folder / "edited/job.toml").read_text())
    assert written["settings"] == recipe["settings"]


def test_a_stopped_search_goes_on_to_the_same_trials(expunge, job, flags, monkeypatch):
    expunge(*flags, "--trials", 5, "--out", "whole")
    judge, calls = tune._judge, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr(tune, "_judge", interrupted)
    stopped = expunge(*flags, "--trials", 5, "--out", "parts")
    assert stopped.code == 130
    assert len(read_trials(job.folder / "parts")) == 2
    assert expunge(*flags, "--trials", 5, "--out", "parts").code == 0
    assert len(calls) == 6
    whole, parts = (without_time(read_trials(job.folder / name)) for name in ("whole", "parts"))
    assert whole == parts


def test_a_finished_search_takes_no_more_trials(expunge, job, flags):
    for _ in range(2):
        assert expunge(*flags, "--trials", 1, "--out", "tuned").code == 0
    assert len(read_trials(job.folder / "tuned")) == 1


def test_another_search_in_the_folder_is_refused(expunge, job, flags):
    expunge(*flags, "--trials", 1, "--out", "tuned")
    done = expunge(*flags, "--trials", 1, "--seed", 1, "--out", "tuned")
    assert done.code == 2
    assert "expected the search of this command, got another one" in done.err
    assert expunge(*flags, "--trials", 1, "--seed", 1, "--out", "tuned", "--overwrite").code == 0


def test_a_search_from_before_a_default_changed_is_refused(expunge, job, flags, monkeypatch):
    expunge(*flags, "--trials", 1, "--out", "tuned")
    changed = METHODS["negative-gradient"](descent=Descent(momentum=0.5))
    monkeypatch.setattr(tune, "make_method", lambda *_: changed)
    done = expunge(*flags, "--trials", 1, "--out", "tuned")
    assert "expected the search of this command, got another one" in done.err


def test_a_search_from_before_the_methods_code_changed_is_refused(expunge, job, flags, monkeypatch):
    expunge(*flags, "--trials", 1, "--out", "tuned")
    method = METHODS["negative-gradient"]
    monkeypatch.setattr(method, "revision", revision_of(method) + 1, raising=False)
    done = expunge(*flags, "--trials", 1, "--out", "tuned")
    assert "expected the search of this command, got another one" in done.err


def test_the_time_is_a_limit(expunge, job, flags):
    assert expunge(*flags, "--trials", 50, "--seconds", "0.01", "--out", "tuned").code == 0
    assert len(read_trials(job.folder / "tuned")) == 1


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--range", "descent.speed=1..2"], "an unknown setting"),
        (["--range", "descent.learning_rate=1"], "LOW..HIGH"),
        (["--range", "descent.learning_rate=fast..slow"], "LOW..HIGH, such as"),
        (["--range", "descent.learning_rate=2..1"], "0 < LOW < HIGH"),
        (
            ["--range", "descent.passes=2.5..5"],
            "`range of descent.passes`: expected LOW..HIGH in whole numbers, got 2.5",
        ),
        (["--range", "descent.momentum=0.5..2"], "at most 1"),
        (["--range", "descent.batchnorm=1..2"], "a setting that is a number"),
        (["--set", "descent.learning_rate=0.1"], "at least one setting to search"),
        (["--trials", "0"], "at least 1"),
        (["--forget-rows", "1000"], "1..60"),
    ],
)
def test_bad_input(expunge, job, flags, extra, words):
    done = expunge(*flags, *extra, "--out", "tuned")
    assert done.code == 2
    assert words in done.err
    assert not (job.folder / "tuned" / "recipe.toml").exists()


def test_images_to_judge_on_are_needed(expunge, job, flags):
    with np.load("images.npz") as arrays:
        np.savez("images.npz", x=arrays["x_train"], y=arrays["y_train"])
    done = expunge(*flags, "--out", "tuned")
    assert done.code == 2
    assert "a source with test images" in done.err


@pytest.mark.parametrize("name", METHODS)
def test_ranges_lie_within_what_settings_allow(name):
    settings = describe_settings(METHODS[name]())
    allowed = {item.name: item for item in settings}
    for each in find_ranges(settings, {}, ()):
        assert each.low in allowed[each.name].range
        assert each.high in allowed[each.name].range
        assert each.low <= allowed[each.name].default <= each.high


def test_the_search_finds_the_lowest_score(tmp_path):
    search = Search(tmp_path / "search.log", [RANGE], purpose="a test", seed=0)
    for _ in range(16):
        search.try_next({"rate": 0.9}, lambda values: (abs(np.log10(values["rate"]) + 2), {"seconds": 0.0}))
    best = min(search.trials, key=lambda trial: trial.score)
    assert search.trials[0].values == {"rate": 0.9}
    assert best.score < 0.3
    assert len({trial.values["rate"] for trial in search.trials}) > 12


def test_without_optuna(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(
        SettingsError, match=r"`optuna`: expected an installed package, got none; pip install expunge\["
    ):
        Search(tmp_path / "search.log", [RANGE], purpose="a test", seed=0)
