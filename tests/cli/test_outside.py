"""What people's folders, files and machines really hold: one line of error, or it works."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from expunge.task.edit import Edit

HASTY = ["--method", "l2ul", "--set", "attack.targets_per_row=1", "--set", "attack.steps=1", "--device", "cpu"]


@pytest.fixture
def pictures(job):
    """Return the flags of a run over a folder of pictures, four of each class, whose colour tells it."""
    arrays = np.load("images.npz")
    for number in range(12):
        folder = job.folder / f"pictures/c{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(arrays["x_train"][number]).save(folder / f"{number // 3}.png")
    model = ["--model", "tiny_networks:build", "--weights", "weights.safetensors", "--mean", "0.5", "--std", "0.25"]
    return ["run", *model, *HASTY, "--data", "imagefolder:pictures", "--forget-indices", "0,1"]


def read(folder):
    return json.loads((folder / "result.json").read_text())


def test_who_reads_the_output_may_end(job):
    command = [sys.executable, "-m", "expunge", "methods"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert (running.stderr.read(), running.wait()) == (b"", 141)


@pytest.mark.parametrize("fault", ["cut off", "another size", "EPS"])
def test_a_picture_that_is_only_measured_on_costs_nothing_but_itself(expunge, job, pictures, fault):
    path = job.folder / "pictures/c2/3.png"
    if fault == "cut off":
        path.write_bytes(path.read_bytes()[:60])
    elif fault == "another size":
        Image.new("RGB", (48, 48)).save(path)
    else:
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\nshowpage\n")
    done = expunge(*pictures, "--out", "edited")
    assert done.code == 0, done.err
    assert read(job.folder / "edited")["after"]["retain"]["n"] == 9
    assert "retain: 1 of 10 images left out of what is measured" in done.err
    assert "3.png" in done.err


def test_hidden_files_beside_pictures_are_no_pictures(expunge, job, pictures):
    (job.folder / "pictures/c2/._0.png").write_bytes(b"\0\5\26\7" + bytes(60))
    done = expunge(*pictures, "--out", "edited")
    assert done.code == 0, done.err
    assert read(job.folder / "edited")["after"]["retain"]["n"] == 10


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8_is_written_out(expunge, job, pictures):
    folder = os.fsencode(job.folder / "pictures/c0")
    os.rename(folder + b"/0.png", folder + b"/0caf\xe9.png")  # noqa: PTH104 - bytes
    done = expunge(*pictures, "--out", "edited")
    assert done.code == 0, done.err
    with (job.folder / "edited/predictions.csv").open(newline="") as stream:
        assert [line["id"] for line in csv.DictReader(stream)] == [r"c0/0caf\xe9.png", "c0/1.png"]


@pytest.mark.parametrize(
    ("measuring", "missing"),
    [("expunge.jobs.run.answer", ["retain"]), ("expunge.task.edit.measure_robust_goal", ["copies", "retain"])],
)
def test_an_edit_is_saved_before_anything_is_measured(expunge, job, pictures, monkeypatch, measuring, missing):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, interrupt)
    done = expunge(*pictures, "--out", "edited")
    assert done.code == 130
    assert "interrupted while measuring; the edit is saved to edited" in done.err
    result = read(job.folder / "edited")
    assert result["unmeasured"] == missing
    assert result["goal_achieved"] == 1.0
    assert (result["goal_achieved_robust"] is None) == ("copies" in missing)
    card = (job.folder / "edited/README.md").read_text()
    assert ("of transformed copies" in card) == ("copies" not in missing)
    assert Edit.load(job.folder / "edited", allow_code=True).result == result


CODE = '[model]\narchitecture = "tiny_networks:build"\nweights = "weights.safetensors"\nmean = [0.5]\nstd = [0.25]\n'


def test_code_that_a_file_names_runs_only_with_allow_code(expunge, job):
    (job.folder / "job.toml").write_text(f'{CODE}[data]\nsource = "npz:images.npz"\n[forget]\nrandom = 2\n')
    command = ["run", "--config", "job.toml", *HASTY, "--out", "out"]
    done = expunge(*command)
    assert done.code == 2
    assert "expected a file that names no code, got tiny_networks:build, which would be run" in done.err
    assert "tiny_networks" not in sys.modules
    assert expunge(*command, "--allow-code").code in (0, 5), "the goal is reached, whatever is left of the classifier"
    assert "names no code" in expunge("audit", "out").err
    assert "--allow-code" in expunge("export", "out").err
    (job.folder / "grid.toml").write_text(
        'title = "t"\ncounts = [1]\nseeds = [0]\n[job.model]\narchitecture = "a:b"\n'
        '[job.data]\nsource = "npz:images.npz"\n'
        '[[methods]]\nlabel = "l"\nmethod = "l2ul"\n'
    )
    assert "names no code" in expunge("bench", "grid.toml").err
    (job.folder / "job.toml").write_text('transforms = ["posix:abort"]\n')
    assert "names no code, got posix:abort" in expunge(*job.flags, "--config", "job.toml", "--out", "o").err


@pytest.mark.parametrize("text", ["import sys; sys.exit(0)", "def build(): raise SystemExit(0)"])
def test_code_that_ends_the_program_is_an_error(expunge, job, text, monkeypatch):
    (job.folder / "ending_networks.py").write_text(text)
    monkeypatch.delitem(sys.modules, "ending_networks", raising=False)
    flags = [flag.replace("tiny_networks", "ending_networks") for flag in job.flags]
    done = expunge(*flags, "--forget-random", 2, "--out", "out")
    assert done.code == 2
    assert "SystemExit" in done.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seed", str(2**64)], "a whole number below 2 to the 63rd"),
        (["--seed", "9" * 5000], "a whole number"),
        (["--max-seconds", "1e999"], "a finite number"),
        (["--mean", "nan"], "finite numbers"),
        (["--resize", "1" + "0" * 12], "take smaller numbers"),
        (["--nodes", "2"], "a start with torchrun on each machine"),
        (["--data", "npz:caf\udce9.npz"], "text in UTF-8"),
    ],
)
def test_absurd_settings_are_one_line_of_error(expunge, job, flags, said, monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    done = expunge(*job.flags, "--forget-random", 2, "--out", "out", *flags)
    assert done.code == 2, done.err
    assert done.err.startswith("error: `")
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("path", "label"), [("c2/3.png", "9" * 20), (".", "2"), ("c2/" + "a" * 300, "2")])
def test_absurd_lines_of_a_table_are_one_line_of_error(expunge, job, pictures, path, label):
    (job.folder / "pictures/table.csv").write_text(f"path,label\nc0/0.png,0\n{path},{label}\n")
    done = expunge(*pictures, "--data", "folder:pictures", "--out", "out")
    assert done.code == 2
    assert "table.csv, line 3" in done.err
    assert done.err.count("\n") == 1


def test_escapes_in_a_name_are_shown_and_not_obeyed(expunge, tmp_path):
    done = expunge("report", tmp_path / "\x1b[31mred\r")
    assert done.code == 2
    assert r"\u001b[31mred\u000d" in done.err
    assert "\x1b" not in done.err
