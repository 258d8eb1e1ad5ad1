import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from safetensors.torch import load_file, save_file
from small_job import QUICK

METHODS = [
    {"label": "negative gradient", "method": "negative-gradient", "settings": {"descent": {"learning_rate": 0.02}}},
    {
        "label": "stable",
        "method": "l2ul",
        "settings": QUICK,
    },
]
HEEDS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run in the background
runpy.run_module("expunge", run_name="__main__", alter_sys=True)
"""
DARKER = """
import traceback

def darker(x, bounds, generator):
    with open("callers", "a") as stream:
        stream.writelines(frame.name + "\\n" for frame in traceback.extract_stack())
    return 0.9 * x
"""


@pytest.fixture
def grid(job):
    """Return a function that writes grid.toml: two methods on the small job, one count, one seed, unless changed."""

    def write(**changes):
        model = {"architecture": "tiny_networks:build", "weights": "weights.safetensors", "mean": [0.5], "std": [0.25]}
        base = {"title": "A small grid", "counts": [4], "seeds": [0], "methods": METHODS}
        base["job"] = {"device": "cpu", "max_steps": 400, "model": model, "data": {"source": "npz:images.npz"}}
        (job.folder / "grid.toml").write_text(tomli_w.dumps({**base, **changes}))
        return job.folder

    return write


def read_table(folder):
    """Return the grid's table without what depends on the clock."""
    with (folder / "grid.csv").open() as stream:
        return [{name: value for name, value in line.items() if name != "seconds"} for line in csv.DictReader(stream)]


def test_a_grid_is_run_once_and_makes_its_tables(grid, expunge):
    folder = grid(seeds=[0, 1], counts=[2, 4], methods=METHODS[:1])
    said = expunge("bench", "--allow-code", "grid.toml", "--csv", "grid.csv")
    assert said.code == 0, said.err
    assert "4/4 negative gradient, k = 4, seed 1: done" in said.err
    written = {path.name for path in (folder / "results" / "grid").iterdir()}
    assert written == {"README.md", "results.jsonl", "accuracy.svg", "trade-off.svg"}
    assert "| 4 | negative gradient | 2 |" in said.out
    assert len(read_table(folder)) == 4
    before = (folder / "results" / "grid" / "README.md").read_text()
    again = expunge("bench", "--allow-code", "grid.toml")
    assert (again.code, again.err) == (0, "")
    assert (folder / "results" / "grid" / "README.md").read_text() == before
    (folder / "images.npz").unlink()
    assert expunge("bench", "--allow-code", "grid.toml", "--table").out == again.out


def test_what_is_stored_is_not_run_again(grid, expunge):
    folder = grid(methods=METHODS[:1])
    first = expunge("bench", "--allow-code", "grid.toml")
    shutil.rmtree(folder / "runs")
    elsewhere = expunge("bench", "--allow-code", "grid.toml")
    assert (elsewhere.code, elsewhere.out) == (0, first.out)
    assert "has the results of 1 of 1 cells; --again measures them anew" in elsewhere.err
    assert not (folder / "runs").exists()
    grid(methods=METHODS[:1], seeds=[0, 1])
    more = expunge("bench", "--allow-code", "grid.toml", "--csv", "grid.csv")
    assert more.code == 0, more.err
    assert [path.name for path in (folder / "runs" / "grid").iterdir()] == ["negative-gradient-k4-s1"]
    assert "1 of 2 cells are done already" in more.err
    assert len(read_table(folder)) == 2
    assert expunge("bench", "--allow-code", "grid.toml", "--again").code == 0
    assert len(list((folder / "runs" / "grid").iterdir())) == 2


@pytest.mark.parametrize("flags", [[], ["--again"], ["--table"]], ids=["run", "again", "table"])
def test_a_result_of_another_goal_does_not_pass_for_that_of_the_grid(grid, expunge, flags):
    folder = grid(methods=METHODS[:1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    before = (folder / "results" / "grid" / "results.jsonl").read_text()
    grid(methods=[{**METHODS[0], "goal": "misclassify"}])
    said = expunge("bench", "--allow-code", "grid.toml", *flags)
    assert said.code == 2
    assert "negative-gradient-k4-s0`: expected a result of the job that the grid describes" in said.err
    assert (folder / "results" / "grid" / "results.jsonl").read_text() == before


def overwrite_weights(folder):
    weights = load_file(folder / "weights.safetensors")
    save_file({name: 1.001 * each for name, each in weights.items()}, folder / "weights.safetensors")


def overwrite_labels(folder):
    """Swap the labels of two training images, neither of which is forgotten by seed 0."""
    arrays = dict(np.load(folder / "images.npz"))
    name = next(each for each in arrays if arrays[each].ndim == 1 and "train" in each)
    arrays[name][-2:] = (arrays[name][-2:] + 1) % 3
    np.savez(folder / "images.npz", **arrays)


def overwrite_pixels(folder):
    arrays = dict(np.load(folder / "images.npz"))
    changed = {name: (0.98 * each).astype(each.dtype) if each.ndim > 1 else each for name, each in arrays.items()}
    np.savez(folder / "images.npz", **changed)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (overwrite_weights, "results of the classifier that the grid names now"),
        (overwrite_labels, "results of the images and labels that the grid names now"),
        (overwrite_pixels, "results of the images to forget that the grid names now"),
    ],
)
@pytest.mark.parametrize("kept", ["folders", "store"])
def test_results_of_another_classifier_or_other_images_are_refused_and_stay(grid, expunge, change, what, kept):
    folder = grid(methods=METHODS[:1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    before = (folder / "results" / "grid" / "results.jsonl").read_text()
    if kept == "store":
        shutil.rmtree(folder / "runs")
    change(folder)
    grid(methods=METHODS[:1], seeds=[0, 1])
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 2
    assert f"`negative gradient, k = 4, seed 0`: expected {what}" in said.err
    assert ("--again measures them anew" if kept == "store" else "delete their folders") in said.err
    assert (folder / "results" / "grid" / "results.jsonl").read_text() == before
    if kept == "store":
        assert expunge("bench", "--allow-code", "grid.toml", "--again").code == 0
        assert len((folder / "results" / "grid" / "results.jsonl").read_text().splitlines()) == 2
        assert expunge("bench", "--allow-code", "grid.toml").code == 0


def test_no_mean_is_taken_over_results_of_two_classifiers(grid, expunge):
    folder = grid(methods=METHODS[:1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    overwrite_weights(folder)
    grid(methods=METHODS[:1], seeds=[1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    for gone in ("images.npz", "weights.safetensors"):
        (folder / gone).unlink()
    grid(methods=METHODS[:1], seeds=[0, 1])
    before = (folder / "results" / "grid" / "README.md").read_text()
    said = expunge("bench", "--allow-code", "grid.toml", "--table")
    assert said.code == 2
    assert (
        "`negative gradient, k = 4, seed 1`: expected results of the same classifier as negative gradient" in said.err
    )
    assert (folder / "results" / "grid" / "README.md").read_text() == before


def test_what_is_done_needs_neither_classifier_nor_images(grid, expunge):
    folder = grid(methods=METHODS[:1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    (folder / "images.npz").unlink()
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 0
    assert "the results of 1 cells could not be compared with classifier and images" in said.err


def test_a_stream_does_not_go_on_with_another_classifier(grid, expunge):
    folder = grid(stream={"requests": 2}, methods=METHODS[:1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    cell = folder / "runs" / "grid" / "negative-gradient-2x4-s0"
    for gone in (cell / "result.json", cell / "request-2" / "request.json", folder / "results/grid/results.jsonl"):
        gone.unlink()
    overwrite_weights(folder)
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 2
    assert "expected results of the classifier that the grid names now" in said.err


def test_tables_are_exported_on_demand_and_the_folder_of_pages_can_be_named(grid, expunge):
    folder = grid(methods=METHODS[:1])
    said = expunge(
        "bench", "--allow-code", "grid.toml", "--results", "pages", "--csv", "grid.csv", "--latex", "grid.tex"
    )
    assert said.code == 0, said.err
    assert (folder / "pages" / "grid" / "README.md").read_text() in said.out
    assert [line["method"] for line in read_table(folder)] == ["negative gradient"]
    assert "negative gradient" in (folder / "grid.tex").read_text()
    assert not (folder / "results").exists()


def test_measuring_anew_loses_nothing_that_is_stored(grid, expunge):
    folder = grid(methods=METHODS[:1], seeds=[0, 1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    before = (folder / "results" / "grid" / "results.jsonl").read_text()
    shutil.rmtree(folder / "runs" / "grid" / "negative-gradient-k4-s1")
    assert expunge("bench", "--allow-code", "grid.toml", "--again", "--table").code == 0
    assert (folder / "results" / "grid" / "results.jsonl").read_text() == before


def test_what_a_grid_does_not_name_for_a_while_stays_stored(grid, expunge):
    folder = grid(seeds=[0, 1])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    shutil.rmtree(folder / "runs" / "grid")
    page, lines = [folder / "results" / "grid" / name for name in ("README.md", "results.jsonl")]
    before = page.read_text(), sorted(lines.read_text().splitlines())
    grid(seeds=[0], methods=METHODS[:1])
    assert expunge("bench", "grid.toml", "--table").code == 0
    assert page.read_text() != before[0]
    assert sorted(lines.read_text().splitlines()) == before[1]
    grid(seeds=[0, 1])
    assert expunge("bench", "grid.toml", "--table").code == 0
    assert (page.read_text(), sorted(lines.read_text().splitlines())) == before


def test_in_small_it_runs_anew_each_time_also_with_another_classifier(grid, expunge):
    folder = grid(methods=METHODS[:1])
    for _ in range(2):
        said = expunge("bench", "grid.toml", "--smoke", "--allow-code", "--results", "pages")
        assert said.code == 0, said.err
        assert "0 of 1 cells are done already" in said.err
        assert (folder / "pages" / "grid-smoke" / "README.md").read_text() in said.out
        overwrite_weights(folder / "runs" / "smoke")
    assert not (folder / "runs" / "smoke" / "results").exists()


def find_measured(folder):
    """Return the results of cells that are done: what an edit saves first is still to be measured."""
    written = (folder / "runs").glob("grid/*/result.json")
    return [path for path in written if "unmeasured" not in json.loads(path.read_text())]


def test_killed_in_the_middle_it_goes_on_to_the_same_table(grid, expunge):
    folder = grid(seeds=[0, 1, 2], methods=METHODS[:1])
    assert expunge("bench", "--allow-code", "grid.toml", "--csv", "grid.csv", "--runs", "whole").code == 0
    whole = read_table(folder)
    (folder / "grid.csv").unlink()
    start = [sys.executable, "-m", "expunge", "bench", "--allow-code", "grid.toml", "--again", "--jobs", "2"]
    process = subprocess.Popen(start, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    done = wait_for(lambda: find_measured(folder))
    children = find_children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in done}
    assert 0 < len(find_measured(folder)) < 3
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    said = expunge("bench", "--allow-code", "grid.toml", "--csv", "grid.csv", "--again")
    assert said.code == 0, said.err
    assert read_table(folder) == whole
    assert {path: path.stat().st_mtime_ns for path in done} == kept


def test_a_cell_that_fails_or_dies_does_not_stop_the_others(grid, expunge):
    deadly = "from tiny_networks import build as whole\nimport multiprocessing, os, signal\n\ndef build():\n"
    deadly += (
        "    if multiprocessing.parent_process():\n        os.kill(os.getpid(), signal.SIGKILL)\n    return whole()\n"
    )
    sources = {"good": "tiny_networks:build", "deadly": "deadly_networks:build"}
    classifiers = [{"label": label, "model": {"architecture": source}} for label, source in sources.items()]
    folder = grid(classifiers=classifiers, methods=METHODS[:1])
    (folder / "deadly_networks.py").write_text(deadly)
    said = expunge("bench", "--allow-code", "grid.toml", "--jobs", "2")
    assert said.code == 4
    assert "failed: deadly, negative gradient, k = 4, seed 0: its process ended: killed by signal 9" in said.err
    assert "**Not complete**: 1 of 2 cells are missing, 1 of them failed." in said.out
    (folder / "deadly_networks.py").write_text("from tiny_networks import build")
    sys.modules.pop("deadly_networks", None)
    again = expunge("bench", "--allow-code", "grid.toml")
    assert again.code == 0, again.err
    assert "Not complete" not in again.out


def test_ctrl_c_leaves_no_half_result(grid, expunge):
    slow = [{"label": "slow", "method": "negative-gradient", "settings": {"descent": {"learning_rate": 1e-9}}}]
    folder = grid(methods=slow)
    text = (folder / "grid.toml").read_text()
    (folder / "grid.toml").write_text(text.replace("max_steps = 400", "max_steps = 100000000"))
    start = [sys.executable, "-c", HEEDS_CTRL_C, "bench", "--allow-code", "grid.toml"]
    process = subprocess.Popen(start, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    cell = folder / "runs" / "grid" / "slow-k4-s0"
    wait_for((cell / "cell.json").exists)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert "the same command goes on" in process.communicate(timeout=300)[1]
    assert process.returncode in (130, -signal.SIGINT)  # a shell says 130 to both
    assert not (cell / "result.json").exists()


def test_a_cell_that_trains_goes_on_after_the_last_epoch_before_ctrl_c(grid, expunge, interrupt_at):
    training = {"training": {"epochs": 6, "batch_size": 8}}
    folder = grid(methods=[{"label": "train", "method": "retrain", "settings": training}])
    start = ["bench", "--allow-code", "grid.toml", "--csv", "grid.csv", "--again"]
    assert expunge(*start, "--runs", "whole").code == 0
    whole = read_table(folder)
    (folder / "grid.csv").unlink()
    looked = interrupt_at(3)
    assert expunge(*start).code == 130
    cell = folder / "runs" / "grid" / "train-k4-s0"
    assert (cell / "checkpoint.safetensors").exists()
    assert not (cell / "result.json").exists()
    assert expunge(*start).code == 0
    assert next(looked) == 4 + 1 + 4  # one at the start, and one after each epoch that the checkpoint lacks
    assert read_table(folder) == whole
    assert not (cell / "checkpoint.safetensors").exists()


def test_an_error_in_one_cell_is_recorded(grid, expunge):
    folder = grid(methods=[{"label": "none wrong", "method": "l2ul", "goal": "correct"}, METHODS[0]])
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 4
    failure = json.loads((folder / "runs" / "grid" / "none-wrong-k4-s0" / "failure.json").read_text())
    assert failure["cell"] == "none wrong, k = 4, seed 0"
    assert failure["error"] in said.err
    assert "negative gradient, k = 4, seed 0: done" in said.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": [61]}, "`counts`: expected at most 60 rows"),
        ({"counts": [4], "forget_class": "1"}, "`counts`: expected [20], the training images of the class 1, got [4]"),
        ({"counts": [60], "methods": [{"label": "o", "method": "oracle"}]}, "training images besides those to forget"),
        ({"classifiers": [{"label": "a", "model": {"num_classes": 2}}]}, "in 0..1, the classifier's classes"),
        ({"classifiers": [{"label": "a", "model": {"weights": "none.safetensors"}}]}, "none.safetensors"),
        ({"classifiers": [{"label": "a", "data": {"source": "npz:none.npz"}}]}, "none.npz"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(grid, expunge, changes, words):
    folder = grid(**changes)
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 2
    assert words in said.err
    assert not (folder / "runs").exists()


def test_a_data_set_with_other_class_names_than_classes_is_refused(grid, job, expunge):
    arrays = dict(np.load(job.folder / "images.npz"))
    np.savez(job.folder / "images.npz", **arrays, classes=np.array(["a", "b", "c", "d"]))
    grid()
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 2
    assert "expected images of the classifier's 3 classes, got 4 classes" in said.err


NO_CODE = {"model": {"architecture": "cifar:resnet20"}, "data": {"source": "npz:images.npz"}}
CODE = "own_code:load"


@pytest.mark.parametrize(
    "changes",
    [
        {"job": {**NO_CODE, "model": {"architecture": CODE}}},
        {"job": {**NO_CODE, "data": {"source": CODE}}},
        {"job": {**NO_CODE, "transforms": ["flip", CODE]}},
        {"classifiers": [{"label": "a"}, {"label": "b", "model": {"architecture": CODE}}]},
        {"classifiers": [{"label": "a"}, {"label": "b", "data": {"source": CODE}}]},
    ],
    ids=["job model", "job data", "job transforms", "row model", "row data"],
)
def test_a_grid_that_names_code_is_refused_wherever_it_does(grid, expunge, changes):
    folder = grid(**{"job": NO_CODE, **changes})
    (folder / "own_code.py").write_text("import pathlib\npathlib.Path('ran').touch()\ndef load(): pass\n")
    said = expunge("bench", "grid.toml")
    assert said.code == 2
    assert f"expected a file that names no code, got {CODE}, which would be run" in said.err
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(("flag", "value"), [("--jobs", "0"), ("--memory-gigabytes", "0")])
def test_budgets_are_checked(grid, expunge, flag, value):
    grid()
    said = expunge("bench", "--allow-code", "grid.toml", flag, value)
    assert said.code == 2
    assert f"`{flag}`" in said.err


def test_a_table_of_nothing_is_an_error(grid, expunge):
    grid()
    assert "at least one cell that is done" in expunge("bench", "--allow-code", "grid.toml", "--table").err


@pytest.mark.parametrize("earlier", ["left", "repaired"])
def test_a_stream_tells_of_every_request_and_goes_on_where_it_stopped(grid, expunge, earlier):
    folder = grid(stream={"requests": 3, "earlier": earlier}, methods=METHODS[1:])
    assert expunge("bench", "--allow-code", "grid.toml", "--csv", "grid.csv").code == 0
    lines = read_table(folder)
    assert [line["request"] for line in lines] == ["1", "2", "3"]
    assert all(float(line["this request, %"]) == 100 for line in lines)
    cell = folder / "runs" / "grid" / "stable-3x4-s0"
    result = json.loads((cell / "result.json").read_text())
    last = result["requests"][-1]
    assert len(last["held_by_request"]) == 3
    assert last["held"] == pytest.approx(sum(last["held_by_request"]) / 3)
    for gone in (cell / "result.json", cell / "request-3" / "request.json"):
        gone.unlink()
    assert expunge("bench", "--allow-code", "grid.toml", "--again").code == 0
    again = json.loads((cell / "result.json").read_text())
    assert [line["weights_sha256"] for line in again["requests"]] == [
        line["weights_sha256"] for line in result["requests"]
    ]
    assert again["requests"][:2] == result["requests"][:2]
    assert (folder / "results" / "grid" / "stream.svg").exists()


def test_a_stream_makes_copies_by_the_transforms_that_are_named(grid, expunge):
    settings = {"surrogates": {"inverted": 0, "procedural": 30, "mixes": 30}, "robust": {"steps": 2}}
    row = {"label": "least change", "method": "least-change", "strength": "robust", "settings": settings}
    folder = grid(stream={"requests": 2, "earlier": "kept"}, methods=[row])
    text = (folder / "grid.toml").read_text()
    (folder / "grid.toml").write_text(text.replace("[job]", '[job]\ntransforms = ["dark_copies:darker"]'))
    (folder / "dark_copies.py").write_text(DARKER)
    sys.modules.pop("dark_copies", None)
    said = expunge("bench", "--allow-code", "grid.toml")
    assert said.code == 0, said.err
    callers = set((folder / "callers").read_text().split())
    assert {"unlearn", "make_keeper", "measure_robust_goal"} <= callers


@pytest.mark.parametrize("earlier", ["held", "kept"])
def test_a_stream_that_holds_earlier_rows_has_all_of_them_forgotten_at_the_end(grid, expunge, earlier):
    settings = {"surrogates": {"inverted": 0, "procedural": 60, "mixes": 60}, "exact": {"steps": 6}}
    row = {"label": "least change", "method": "least-change", "strength": "exact", "settings": settings}
    folder = grid(stream={"requests": 3}, methods=[{**row, "earlier": earlier}])
    assert expunge("bench", "--allow-code", "grid.toml").code == 0
    result = json.loads((folder / "runs" / "grid" / "least-change-3x4-s0" / "result.json").read_text())
    assert result["earlier"] == earlier
    assert [line["held"] for line in result["requests"]] == [1.0, 1.0, 1.0]


def test_a_ray_cluster_gives_the_same_table(grid, expunge):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    folder = grid()
    assert expunge("bench", "--allow-code", "grid.toml", "--csv", "grid.csv", "--runs", "whole").code == 0
    whole = read_table(folder)
    said = expunge(
        "bench", "--allow-code", "grid.toml", "--csv", "grid.csv", "--again", "--ray", "local", "--jobs", "2"
    )
    assert said.code == 0, said.err
    assert read_table(folder) == whole


def test_a_ray_cluster_that_is_not_there_is_named(grid, expunge):
    grid()
    said = expunge("bench", "--allow-code", "grid.toml", "--ray", "127.0.0.1:1")
    assert said.code == 2
    assert "HOST:PORT of a Ray cluster" in said.err


def wait_for(look, seconds=300):
    """Return what `look` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def find_children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text().split() if path.exists() else []
