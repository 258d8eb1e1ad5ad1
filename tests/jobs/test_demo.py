"""The demo over several seeds; `make demo-seeds` takes ten.

Over seeds 0 to 9 `l2ul` loses 2.9 points of test accuracy in the mean and 5.1 at worst (float32, AVX-512). The
bounds below leave room for the trajectories of other processors.
"""

import json
import os
import sys
from pathlib import Path
from statistics import mean
from unittest import mock

import pytest

from expunge.cli import main
from expunge.compute.runtime import SILENT
from expunge.jobs.demo import Way, load_digit_images, run_demo, train_digit_classifier
from expunge.task.evaluation import predict

SEEDS = range(int(os.environ.get("EXPUNGE_DEMO_SEEDS", "3")))
LARGEST_MEAN_LOSS, LARGEST_LOSS = 4.5, 9.0


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Return folder, edit and result of each seed."""
    folders = [tmp_path_factory.mktemp(f"demo{seed}") for seed in SEEDS]
    ways = (Way("l2ul", "l2ul"),)
    done = [run_demo(out, ways=ways, seed=seed, progress=SILENT) for seed, out in enumerate(folders)]
    return [(out / "l2ul", one.edit, one.result) for out, (one,) in zip(folders, done, strict=True)]


@pytest.mark.processor
def test_digit_classifiers_are_over_96_percent_right_on_unseen_digits(demos):
    assert min(result["before"]["test"]["accuracy"] for _, _, result in demos) > 96


@pytest.mark.processor
def test_the_demo_forgets_its_sixteen_digits_with_every_seed(demos):
    changed = {"churn": 100.0, "right_kept": 0.0, "wrong_righted": None}
    for out, edit, result in demos:
        assert edit.goal_achieved == 1.0
        assert result["after"]["forget"] == {"accuracy": 0.0, "n": 16, **changed}
        assert json.loads((out / "result.json").read_text()) == result


@pytest.mark.processor
def test_the_demo_keeps_the_other_digits(demos):
    losses = [result["before"]["test"]["accuracy"] - result["after"]["test"]["accuracy"] for _, _, result in demos]
    assert mean(losses) < LARGEST_MEAN_LOSS
    assert max(losses) < LARGEST_LOSS


def test_training_with_the_same_seed_gives_the_same_classifier():
    images = load_digit_images().train
    small = type(images)(images.ids[:64], images.labels[:64], images.pixels[:64])
    first, second = (train_digit_classifier(small, seed=1, progress=SILENT) for _ in range(2))
    assert first.sha256() == second.sha256()
    assert predict(first, small).accuracy == predict(second, small).accuracy


@pytest.mark.slow
def test_three_ways_side_by_side_whose_folders_other_commands_take(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("demo") == 0
    said = capsys.readouterr().out
    lines = [line.split("\t") for line in said.splitlines()]
    assert [line[0] for line in lines[:4]] == ["way", "exact", "robust", "l2ul"]
    assert [line[2] for line in lines[1:4]] == ["100.0"] * 3
    copies = {line[0]: float(line[3]) for line in lines[1:4]}
    assert copies["robust"] > 90 > copies["exact"]
    assert "Digits are hard to forget" in said
    assert "page: expunge-demo/compare.html" in said
    assert Path("expunge-demo/compare.html").exists()
    assert call("audit", "expunge-demo/exact", "--level", "quick") == 0
    assert call("report", "expunge-demo/exact") == 0
    assert call("run", "--config", "expunge-demo/l2ul/job.toml", "--out", "again") == 0
    both = (json.loads(Path(name, "result.json").read_text()) for name in ("expunge-demo/l2ul", "again"))
    first, second = ({key: one[key] for key in ("inputs", "after", "steps")} for one in both)
    assert first == second


def call(*arguments):
    """Return the exit code of the command line."""
    with pytest.raises(SystemExit) as stopped, mock.patch.object(sys, "argv", ["expunge", *arguments]):
        main()
    return stopped.value.code
