"""The twelve situations of docs/exit_codes.md: code and words."""

import re
from pathlib import Path

import numpy as np
import pytest

from expunge.cli import bench
from expunge.methods import engine

PAGE = Path(__file__).parents[2] / "docs" / "exit_codes.md"
SITUATION = re.compile(r"^\| ([^|]+) \| (\d+) \| `([^`|]+)` \|$", re.MULTILINE)
TABLE = {words: (int(code), said) for words, code, said in SITUATION.findall(PAGE.read_text("utf-8"))}
SLOW = ["--method", "relabel-only", "--set", "descent.learning_rate=1e-7", "--max-steps", 1]
HARD = ["--method", "negative-gradient", "--set", "descent.learning_rate=1", "--max-steps", 9]
GRID = """
title = "t"
counts = [2]
seeds = [0]
[job.model]
architecture = "tiny_networks:build"
weights = "weights.safetensors"
mean = [0.5]
std = [0.25]
[job.data]
source = "npz:images.npz"
[[methods]]
label = "l2ul"
method = "l2ul"
"""
FLAGS = {
    "the goal holds for every image": ["--data", "npz:mistakes.npz", "--forget-indices", "4,9", "--minimum-right", 0],
    "a limit ends the edit before the goal holds": ["--forget-random", 8, *SLOW],
    "most other answers are wrong afterwards": ["--forget-random", 12, *HARD],
    "Ctrl-C during the edit": ["--forget-random", 8],
    "a method that there is not": ["--forget-random", 2, "--method", "magic"],
    "a setting that the method does not have": ["--forget-random", 2, "--set", "radius=2"],
    "the output folder holds other files": ["--forget-random", 2, "--out", "full"],
    "a file of weights that is not there": ["--forget-random", 2, "--weights", "absent.safetensors"],
    "two ways of choosing the images": ["--forget-random", 2, "--forget-class", "1"],
    "a class that there is not": ["--forget-class", "purple"],
}
OTHERS = {
    "no classifier is named": ["run", "--forget-random", "2", "--out", "out"],
    "a cell of a grid fails": ["bench", "grid.toml", "--allow-code"],
}


def interrupt_second_look(monkeypatch):
    looked, look = iter(range(100)), engine._Judge.look

    def interrupted(*arguments, **options):
        if next(looked) == 1:
            raise KeyboardInterrupt
        return look(*arguments, **options)

    monkeypatch.setattr(engine._Judge, "look", interrupted)


def test_the_page_has_twelve_situations():
    assert len(TABLE) == 12
    assert TABLE.keys() == FLAGS.keys() | OTHERS.keys()


@pytest.mark.filterwarnings("always::expunge.base.errors.ExpungeWarning")
@pytest.mark.parametrize("situation", TABLE)
def test_each_situation_has_its_code_and_its_words(expunge, job, monkeypatch, situation):
    code, said = TABLE[situation]
    (job.folder / "full").mkdir()
    (job.folder / "full/thesis.txt").write_text("all of it")
    (job.folder / "grid.toml").write_text(GRID)
    arrays = dict(np.load("images.npz"))
    arrays["y_train"][[4, 9]] = (arrays["y_train"][[4, 9]] + 1) % 3
    np.savez("mistakes.npz", **arrays)
    monkeypatch.setattr(bench, "run_missing", lambda *_: {"l2ul, k = 2": "out of luck"})
    if code == 130:
        interrupt_second_look(monkeypatch)
    out = [] if "--out" in FLAGS.get(situation, []) else ["--out", "out"]
    done = expunge(*OTHERS.get(situation) or [*job.plain, *FLAGS[situation], *out])
    assert done.code == code, done.out + done.err
    assert said in done.out + done.err
